"""Questions about texts: what was learnt is answered, also in long texts, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import assert_refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import Here
from models import make_model

from embedder.answered_questions import read_answered_questions
from embedder.errors import LabelError, RequestError
from embedder.heads.protocol import HeadOptions, open_head, read_head_file
from embedder.training.options import Schedule, TrainingOptions, TrainPrecision
from embedder.training.task import TaskRequest
from embedder.training.tasks.answer import prepare_answer
from jobs import FinetuneOptions, TrainingSummary, finetune

CONTEXTS = [
    "the bank of the river was green",
    "the bank raised its interest rates again",
    "a crane lifted the steel beam over the river",
    "interest in green energy is rising",
]
QUESTIONS = [
    ("was the bank green", 0, "river"),
    ("of the bank", 0, "green"),
    ("the bank raised", 1, "interest rates"),
    ("its rates", 1, "again"),
    ("a crane lifted", 2, "the steel beam"),
    ("over the beam", 2, "river"),
    ("interest in energy", 3, "rising"),
    ("is energy rising", 3, "green"),
]
UNANSWERABLE = [("is steel rising", 3), ("a green crane", 1)]
FILLER = " ".join(CONTEXTS[2].split()[:5]) + " "


def rows(*, with_unanswerable: bool = False) -> dict[str, list[Any]]:
    """The eight questions, in the columns of SQuAD, and perhaps two without an answer."""
    found: list[tuple[str, str, list[str], list[int]]] = [
        (question, CONTEXTS[i], [answer], [CONTEXTS[i].index(answer)])
        for question, i, answer in QUESTIONS
    ]
    if with_unanswerable:
        found += [(question, CONTEXTS[i], [], []) for question, i in UNANSWERABLE]
    names = ("question", "context", "answer_texts", "answer_starts")
    return {name: list(v) for name, v in zip(names, zip(*found, strict=True), strict=True)}


def write(path: Path, columns: Mapping[str, Any]) -> Path:
    """A Parquet file."""
    pq.write_table(pa.table(dict(columns)), path)
    return path


def options(train: Path, model: Path, out: Path, **changes: Any) -> FinetuneOptions:
    """Eighty steps on the questions."""
    return FinetuneOptions(
        task="answer",
        train=(train,),
        dev=train,
        out=out,
        model=str(model),
        training=TrainingOptions(
            max_steps=80,
            batch=10,
            learning_rate=5e-3,
            schedule=Schedule.LINEAR,
            evaluate_every=40,
            device="cpu",
            precision=TrainPrecision.FP32,
        ),
        **changes,
    )


Trained = tuple[TrainingSummary, Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT without dropout, so that few steps are enough."""
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return make_model(tmp_path_factory.mktemp("model") / "m", **none)


@pytest.fixture(scope="module", params=[False, True], ids=["answerable", "some-unanswerable"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: Path
) -> Trained:
    """A head that was trained on the questions."""
    folder = tmp_path_factory.mktemp("answer")
    train = write(folder / "train.parquet", rows(with_unanswerable=request.param))
    return finetune(options(train, model, folder / "out")), folder / "out"


def test_what_was_learnt_is_answered(trained: Trained) -> None:
    """The questions are answered as they were in training, with the characters of the answer;
    those without an answer get none; the measures say so."""
    summary, folder = trained
    n_questions = summary.facts["training questions"]
    data = rows(with_unanswerable=n_questions == 10)
    found = open_head(folder).predict(data).to_pylist()
    for row, context, texts in zip(found, data["context"], data["answer_texts"], strict=True):
        assert [row["answer"]] == (texts or [None])
        if texts:
            assert context[row["start"] : row["end"]] == row["answer"]
        else:
            assert row["start"] is None and row["end"] is None
    measures = summary.record.measures
    assert measures["f1"] == measures["exact_match"] == 1 > summary.before["f1"]
    file = read_head_file(folder)
    threshold = file.settings["null_threshold"]
    if n_questions == 10:
        assert measures["no_answer_f1"] == measures["has_answer_f1"] == 1
        margins = [row["score"] for row in found]
        assert max(margins[8:]) < threshold < min(margins[:8])
    else:
        assert threshold is None
    assert file.columns["answer_texts"] == "answer_texts"


def test_answers_do_not_depend_on_other_rows(trained: Trained) -> None:
    """Alone, in any order, in any company and any size of batch a row has one answer, to the
    last bit."""
    _, folder = trained
    data = rows(with_unanswerable=True)
    data["question"] += ["over the beam", "No!"]
    data["context"] += [FILLER * 20 + CONTEXTS[2], "\u200b"]
    heads = [open_head(folder, HeadOptions(max_batch_tokens=size)) for size in (1, 200, 4096)]
    pairs = list(zip(data["question"], data["context"], strict=True))
    alone = [heads[0].predict({"question": [q], "context": [c]}).to_pylist()[0] for q, c in pairs]
    assert alone[-1] == {"answer": None, "start": None, "end": None, "score": None}

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.integers(0, len(pairs) - 1), min_size=1, max_size=30), st.integers(0, 2))
    def check(chosen: list[int], size: int) -> None:
        asked = {
            "question": [pairs[i][0] for i in chosen],
            "context": [pairs[i][1] for i in chosen],
        }
        assert heads[size].predict(asked).to_pylist() == [alone[i] for i in chosen]

    check()


def test_settings_can_be_changed(trained: Trained) -> None:
    """With a threshold that no score reaches nothing is answered; answers get no longer than is
    asked for."""
    _, folder = trained
    data = rows()
    strict = open_head(folder, HeadOptions(settings={"null_threshold": 1e9}))
    assert strict.predict(data)["answer"].null_count == 8
    short = open_head(
        folder, HeadOptions(settings={"max_answer_tokens": 1, "null_threshold": None})
    )
    assert all(" " not in row["answer"] for row in short.predict(data).to_pylist())


def test_every_gold_answer_is_learnt(tmp_path: Path, model: Path) -> None:
    """In a long text the answer is a target in each window that holds all of it, and its pieces
    are those of the answer; other windows have none."""
    context = FILLER * 25 + CONTEXTS[1]
    start = context.index("interest rates")
    data = {
        "question": ["the bank raised", "the bank raised"],
        "context": [context, context],
        "answer_texts": [["interest rates"], []],
        "answer_starts": [[start], []],
    }
    path = write(tmp_path / "long.parquet", data)
    request = TaskRequest(
        model=str(model), train=(path,), dev=path, options=TrainingOptions(),
        settings={"overlap": 12},
    )  # fmt: skip
    run = prepare_answer(request)
    examples = list(run.examples)  # type: ignore[call-overload]
    targets = [e for e in examples if e.first]
    assert targets and all(e.window.row == 0 for e in targets)
    for example in targets:
        inside = (example.first - example.window.first, example.last - example.window.first)
        assert example.window.characters(*inside) == (start, start + len("interest rates"))
    assert run.facts["training windows"] == len(examples) > 4
    assert run.facts["answers that are whole in no window"] == 0
    batch = run.collate(examples)
    assert batch["piece_ids"].shape[1] <= 64
    loss = run.model(**batch)["loss"]
    assert loss.isfinite()


def test_segments_are_read(model: Path, tmp_path: Path) -> None:
    """BERT is told which pieces are the question's: other segments give other scores, and a
    model without segments is trained too."""
    path = write(tmp_path / "t.parquet", rows())
    for folder, kind in ((model, "bert"), (make_model(tmp_path / "d", "distilbert"), "distilbert")):
        request = TaskRequest(model=str(folder), train=(path,), dev=path, options=TrainingOptions())
        run = prepare_answer(request)
        run.model.eval()
        batch = run.collate(list(run.examples))  # type: ignore[call-overload]
        loss = run.model(**batch)["loss"]
        other = run.model(**{**batch, "segment_ids": 1 - batch["segment_ids"]})["loss"]
        assert (loss != other) == (kind == "bert")


def test_evaluate(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The measures are those of training, of questions with and without an answer apart where
    there are both, without places too; the threshold can be another; another head is refused."""
    summary, folder = trained
    here, expected = Here(capsys), summary.record.measures
    has_both = "no_answer_f1" in expected
    data = rows(with_unanswerable=has_both)
    del data["answer_starts"]
    path = write(tmp_path / "d.parquet", data)
    done = here("evaluate", "answer", folder, path, "--format", "json", "-q")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found[0] == {"questions": "all", "n": len(data["question"]), "exact_match": 1, "f1": 1}
    assert [row["n"] for row in found[1:]] == ([8, 2] if has_both else [])
    silent = here("evaluate", "answer", folder, path, "-q", "--null-threshold", 1e9)
    assert silent.stdout.splitlines()[1].split()[-1] == ("0.200" if has_both else "0.000")
    out = tmp_path / "m.csv"
    assert here("evaluate", "answer", folder, path, "-q", "--out", out).returncode == 0
    assert out.read_text().splitlines()[0] == "questions,n,exact_match,f1"
    assert_refused(here("evaluate", "generate", folder, path, "-q"), "a head for answer")


def test_the_command(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of other names and one answer a row are taken; wrong places and windows that are
    too short are refused before training."""
    here = Here(capsys)
    columns = {
        "q": [question for question, *_ in QUESTIONS],
        "text": [CONTEXTS[i] for _, i, _ in QUESTIONS],
        "a": [answer for *_, answer in QUESTIONS],
        "at": [CONTEXTS[i].index(answer) for _, i, answer in QUESTIONS],
    }
    train = write(tmp_path / "t.parquet", columns)
    base = ["finetune", "answer", train, "--model", model, "--device", "cpu"]
    names = ["--question", "q", "--context", "text", "--answer-texts", "a", "--answer-starts", "at"]
    out = ["--out", tmp_path / "out"]
    done = here(*base, *names, *out, "--max-steps", 2, "--format", "json", "-q")
    assert done.returncode == 0, done.stderr
    assert 0 <= json.loads(done.stdout)["record"]["measures"]["f1"] <= 1
    file = read_head_file(tmp_path / "out")
    assert (file.columns["question"], file.columns["answer_starts"]) == ("q", "at")
    assert file.max_tokens == 64
    other = ["--out", tmp_path / "other", "-q"]
    assert_refused(here(*base, *other), "no column 'question'")
    assert_refused(here(*base, *names, *other, "--window", 80), "80 tokens", "--window")
    wrong = write(tmp_path / "w.parquet", {**columns, "at": [0] * 8})
    base[2] = wrong
    assert_refused(here(*base, *names, *other), "Row 1 of", "'river'", "it first stands at 16")
    assert not (tmp_path / "other").exists()


def test_a_question_needs_room(tmp_path: Path, model: Path) -> None:
    """Settings that leave no room for the text are refused."""
    train = write(tmp_path / "t.parquet", rows())
    asked = options(train, model, tmp_path / "out", settings={"window": 8})
    with pytest.raises(RequestError, match="leaves room for"):
        finetune(asked)
    bad = rows()
    bad["answer_texts"][3] = ["nothing"]
    with pytest.raises(LabelError, match="Row 4 of"):
        finetune(replace(asked, train=(write(tmp_path / "b.parquet", bad),)))
    assert len(read_answered_questions(train)) == 8
