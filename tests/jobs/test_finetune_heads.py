"""Heads for labels and tags: they memorise, answer as they were measured, and refuse bad data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import assert_refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import Here
from tiny_heads import make_head

from embedder.errors import LabelError
from embedder.heads.protocol import HeadOptions, HeadTask, open_head, read_head_file
from embedder.training.options import Schedule, TrainingOptions, TrainPrecision
from jobs import FinetuneOptions, TrainingSummary, finetune
from jobs.evaluate_heads import evaluate_classifier

Rows = dict[str, list[Any]]

TEXTS = [
    "the river bank",
    "the bank raised rates",
    "a crane lifted steel",
    "green energy",
    "the river was green",
    "interest rates",
    "the beam of steel",
    "a crane over the river",
]
LABELS = ["place", "money", "thing", "money", "place", "money", "thing", "place"]
WORDS = [text.split() for text in TEXTS]
SPANS = {
    "the": "O", "a": "O", "of": "O", "was": "O", "over": "O", "raised": "O", "lifted": "O",
    "river": "B-LOC", "bank": "I-LOC", "rates": "I-SUM", "interest": "B-SUM", "crane": "B-OBJ",
    "steel": "B-OBJ", "beam": "B-OBJ", "green": "B-COL", "energy": "I-COL",
}  # fmt: skip


def spans(words: Sequence[str]) -> list[str]:
    """Tags of words; one that continues nothing begins a span."""
    tags: list[str] = []
    for word in words:
        tag = SPANS[word]
        follows = tags and tags[-1][2:] == tag[2:]
        tags.append(tag if not tag.startswith("I-") or follows else f"B{tag[1:]}")
    return tags


ALL_WORDS = [word for words in WORDS for word in words]
ALL_SPANS = [tag for words in WORDS for tag in spans(words)]
DATA: dict[str, Rows] = {
    "classify": {"text": TEXTS, "label": LABELS},
    "classify-pairs": {
        "text1": TEXTS,
        "text2": TEXTS[1:] + TEXTS[:1],
        "label": [i % 3 == 0 for i in range(8)],
    },
    "tag": {"tokens": WORDS, "ner_tags": [spans(words) for words in WORDS]},
    "tag-plain": {"tokens": WORDS, "tags": [[len(word) for word in words] for words in WORDS]},
}
ANSWERS = {"classify": "label", "classify-pairs": "label", "tag": "tags", "tag-plain": "tags"}
CASES = sorted(DATA)


def write(path: Path, rows: Mapping[str, Any]) -> Path:
    """A Parquet file."""
    pq.write_table(pa.table(dict(rows)), path)
    return path


def options(case: str, train: Path, model: Path, out: Path) -> FinetuneOptions:
    """Sixty steps on eight rows."""
    return FinetuneOptions(
        task=case.removesuffix("-plain"),
        train=(train,),
        dev=train,
        out=out,
        model=str(model),
        training=TrainingOptions(
            max_steps=60,
            batch=8,
            learning_rate=1e-2,
            warmup=0.1,
            schedule=Schedule.CONSTANT,
            evaluate_every=30,
            device="cpu",
            precision=TrainPrecision.FP32,
        ),
    )


Trained = Mapping[str, tuple[TrainingSummary, Path]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Trained:
    """A head of each task that was trained on its eight rows."""
    folder, found = tmp_path_factory.mktemp("heads"), {}
    for case in CASES:
        train = write(folder / f"{case}.parquet", DATA[case])
        found[case] = finetune(options(case, train, tiny_model, folder / case)), folder / case
    return found


@pytest.mark.parametrize("case", CASES)
def test_eight_rows_are_memorised(trained: Trained, case: str) -> None:
    """The loss falls to next to nothing, and the labels that were learnt are predicted, with
    their type and their probability."""
    summary, folder = trained[case]
    losses = [point.loss for point in summary.record.curve if point.loss is not None]
    assert losses[-1] < 0.05 < losses[0]
    assert summary.record.measures[summary.record.goal] == 1
    head = open_head(folder)
    rows = {role: DATA[case][role] for role in head.inputs}
    answers = head.predict(rows)
    assert answers.schema == head.schema
    expected = DATA[case].get(ANSWERS[case]) or DATA[case]["ner_tags"]
    assert answers[ANSWERS[case]].to_pylist() == expected
    scores = answers[1].flatten() if case.startswith("tag") else answers[1]
    assert all(0.9 < score <= 1 for score in scores.to_pylist())


@pytest.mark.parametrize("case", CASES)
def test_answers_do_not_depend_on_other_rows(trained: Trained, case: str) -> None:
    """Alone, in any order, in any company and any size of batch a row has one answer, to the
    last bit."""
    _, folder = trained[case]
    roles = open_head(folder).inputs
    long = {
        "text": " ".join(TEXTS) * 3,
        "text1": " ".join(TEXTS) * 3,
        "text2": "No!",
        "tokens": ALL_WORDS * 4,
    }
    rows = {role: [*DATA[case][role], long[role]] for role in roles}
    n_rows = len(rows[roles[0]])
    heads = [open_head(folder, HeadOptions(max_batch_tokens=size)) for size in (1, 100, 4096)]
    alone = [heads[0].predict({r: [rows[r][i]] for r in roles}) for i in range(n_rows)]

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.integers(0, n_rows - 1), min_size=1, max_size=30), st.integers(0, 2))
    def check(chosen: list[int], size: int) -> None:
        found = heads[size].predict({role: [rows[role][i] for i in chosen] for role in roles})
        assert found.to_pylist() == [alone[i].to_pylist()[0] for i in chosen]

    check()


@pytest.mark.parametrize("case", ["classify-pairs", "tag"])
def test_a_folder_measures_as_it_was_trained(tmp_path: Path, tiny_model: Path, case: str) -> None:
    """Half learnt, the folder has the measures that its training ended with, and a second run
    with the same seed gives the same folder."""
    from jobs.evaluate_heads import evaluate_classifier, evaluate_tagger

    train = write(tmp_path / "train.parquet", DATA[case])
    asked = options(case, train, tiny_model, tmp_path / "out")
    asked = replace(asked, training=replace(asked.training, max_steps=4, learning_rate=1e-3))
    measures = finetune(asked).record.measures
    if case == "tag":
        report = evaluate_tagger(asked.out, train)
    else:
        report = evaluate_classifier(asked.out, train, HeadTask(case))
    assert report.summary == pytest.approx(measures) and measures["accuracy"] < 1
    finetune(replace(asked, out=tmp_path / "again"))
    names = ("head.json", "head.safetensors", "model.safetensors")
    again = [(tmp_path / "again" / name).read_bytes() for name in names]
    assert again == [(tmp_path / "out" / name).read_bytes() for name in names]


def test_probabilities_of_all_labels(trained: Trained) -> None:
    """They add up to one, the label has the largest, and they agree with the layer's softmax
    over the model's vectors of the texts."""
    from embedder import EncoderOptions, open_encoder
    from embedder.heads.linear import load_linear
    from embedder.specs import Engine

    _, folder = trained["classify"]
    head = open_head(folder, HeadOptions(settings={"probabilities": True}))
    rows = head.predict({"text": TEXTS}).to_pylist()
    encoder = open_encoder(EncoderOptions(model=str(folder), engine=Engine.TORCH, device="cpu"))
    labels = read_head_file(folder).labels
    layer = load_linear(folder, n_labels=len(labels), width=32)
    expected = np.exp(layer.log_probabilities(encoder.encode(TEXTS)))
    for row, values in zip(rows, expected, strict=True):
        assert list(row["probabilities"]) == list(labels) == ["money", "place", "thing"]
        assert np.allclose(list(row["probabilities"].values()), values, atol=1e-6)
        assert (
            row["probabilities"][row["label"]] == row["score"] == max(row["probabilities"].values())
        )
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_long_sentence_is_tagged_whole(trained: Trained) -> None:
    """A sentence of many windows has a tag for each word, and they are those that the words have
    in short ones; odd words have one too unless they are blank, and BIO tags are well formed."""
    from embedder.bio import first_break

    head = open_head(trained["tag"][1])
    words = ALL_WORDS * 20
    odd = ["the", "", "\u0001", "bank", "\u00a0", "x" * 400, "river", "\U0001f600"]
    tags, none, strange = head.predict({"tokens": [words, [], odd]})["tags"].to_pylist()
    assert len(words) == 560 and len(tags) == 560 and none == [] and len(strange) == len(odd)
    assert np.mean(np.array(tags) == np.array(ALL_SPANS * 20)) > 0.8
    assert [tag is None for tag in strange] == [not word.strip() for word in odd]
    assert first_break(tags) is None
    assert first_break([tag for tag in strange if tag is not None]) is None


def test_long_sentences_are_learnt_whole(tmp_path: Path, tiny_model: Path) -> None:
    """Every word of a sentence longer than the window is learnt once, and is measured."""
    from embedder.training.task import TaskRequest
    from embedder.training.tasks.tag import prepare_tag

    words = ALL_WORDS * 20
    path = write(
        tmp_path / "long.parquet",
        {"tokens": [words, ["the"]], "tags": [[i % 7 for i in range(len(words))], [1]]},
    )
    run = prepare_tag(
        TaskRequest(model=str(tiny_model), train=(path,), dev=path, options=TrainingOptions())
    )
    labels = run.collate(list(run.examples))["labels"]  # type: ignore[call-overload]
    assert sorted(labels[labels >= 0].tolist()) == sorted([*(i % 7 for i in range(560)), 1])
    assert run.facts["sentences longer than the window"] == 1
    run.model.eval()
    assert 0 <= run.evaluate()["accuracy"] <= 1


def test_long_texts_are_cut_and_counted(tmp_path: Path, tiny_model: Path) -> None:
    """A text beyond the window is cut, and the facts say how many were."""
    from embedder.training.task import TaskRequest
    from embedder.training.tasks.classify import prepare_classify

    path = write(tmp_path / "c.parquet", {"text": ["the bank " * 40, "a crane"], "label": [1, 0]})
    request = TaskRequest(
        model=str(tiny_model), train=(path,), dev=path, options=TrainingOptions(),
        settings={"window": 16},
    )  # fmt: skip
    run = prepare_classify(request)
    batch = run.collate(list(run.examples))  # type: ignore[call-overload]
    assert batch["piece_ids"].shape == (2, 16)
    assert run.facts["texts cut off at the window"] == 2  # once in each file


BAD: list[tuple[str, Callable[[Rows], None], str]] = [
    ("classify", lambda r: r["text"].__setitem__(2, " "), "Row 3 of .*: no text in .*'text'"),
    ("classify", lambda r: r["text"].__setitem__(2, None), "Row 3 of .*: no text"),
    ("classify", lambda r: r["label"].__setitem__(4, None), "Row 5 of .*: no label in .*'label'"),
    ("classify", lambda r: r["label"].__setitem__(4, " "), "Row 5 of .*: no label in .*'label'"),
    ("classify", lambda r: r["label"].__setitem__(4, " place"),
     "Row 5 of .*: ' place' in .*'label' differs from 'place' in blanks"),
    ("classify", lambda r: r.update(label=["a"] * 8), "All rows of .* have 'a'"),
    ("classify-pairs", lambda r: r["text2"].__setitem__(0, ""), "Row 1 of .*: no text in .*text2"),
    ("tag", lambda r: r["tokens"].__setitem__(1, []), "Row 2 of .*: no words"),
    ("tag", lambda r: r["tokens"].__setitem__(1, ["a", None]), "Row 2 of .*: no words, or one"),
    ("tag", lambda r: r["tokens"].__setitem__(1, ["a", " ", "b", "c"]), "Row 2 .* or blank"),
    ("tag", lambda r: r["ner_tags"].__setitem__(0, ["O", "B_PER", "O"]),
     "Row 1 of .*: 'B_PER' in .*'ner_tags' is no BIO tag, and others are"),
    ("tag", lambda r: r["ner_tags"].__setitem__(0, ["O", "", "O"]), "Row 1 of .*: no tags, or"),
    ("tag", lambda r: r["ner_tags"].__setitem__(1, None), "Row 2 of .*: no tags"),
    ("tag", lambda r: r["ner_tags"].__setitem__(0, ["O", None, "O"]), "Row 1 of .*: no tags, or"),
    ("tag", lambda r: r["ner_tags"].__setitem__(0, ["O"]), "Row 1 of .* has 3 words and 1 tags"),
    ("tag", lambda r: r["ner_tags"].__setitem__(0, ["O", "O", "I-LOC"]),
     "Row 1 of .*: .* no BIO; .*'I-LOC' of word 3 follows 'O'"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "spoil", "message"), BAD)
def test_bad_rows_are_named(
    tmp_path: Path, tiny_model: Path, case: str, spoil: Callable[[Rows], None], message: str
) -> None:
    """What is wrong with the data is said before training, with the file and the row."""
    rows = {name: list(values) for name, values in DATA[case].items()}
    spoil(rows)
    bad = write(tmp_path / "bad.parquet", rows)
    with pytest.raises(LabelError, match=message):
        finetune(options(case, bad, tiny_model, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", ["classify", "tag"])
def test_labels_that_were_not_learnt_are_named(tmp_path: Path, tiny_model: Path, case: str) -> None:
    """A label of the evaluation rows that no training row has is named with its rows."""
    train = write(tmp_path / "train.parquet", DATA[case])
    rows = {name: list(values) for name, values in DATA[case].items()}
    if case == "tag":
        rows["ner_tags"][1] = ["O", "B-NEW", "I-NEW", "I-NEW"]
    else:
        rows["label"][1] = "B-NEW"
    dev = write(tmp_path / "dev.parquet", rows)
    asked = replace(options(case, train, tiny_model, tmp_path / "out"), dev=dev)
    with pytest.raises(LabelError, match=r"Row 2 of .*dev.parquet: 'B-NEW'.* no label in training"):
        finetune(asked)


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    """The command line in this process."""
    return Here(capsys)


def test_the_command_names_columns(here: Here, tmp_path: Path, tiny_model: Path) -> None:
    """Columns of other names are chosen by options, whole numbers stay numbers, and head.json
    remembers the names."""
    rows = {"body": TEXTS, "stars": [3, 1, 3, 2, 3, 2, 1, 1], "label": LABELS}
    train = write(tmp_path / "t.parquet", rows)
    base = ["finetune", "classify", train, "--model", tiny_model, "--device", "cpu", "-q"]
    out = tmp_path / "out"
    done = here(*base, "--text", "body", "--label", "stars", "--max-steps", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    file = read_head_file(out)
    assert file.labels == (1, 2, 3)
    assert file.columns == {"text": "body", "label": "stars"}
    assert open_head(out).schema.field("label").type == pa.int64()
    facts = json.loads((out / "metrics.json").read_text())["facts"]
    assert (facts["training texts"], facts["evaluation texts"], facts["labels"]) == (7, 1, 3)
    other = ["--out", tmp_path / "other"]
    assert_refused(here(*base, *other), "no column 'text'", "body")
    assert_refused(here(*base, *other, "--text", "stars"), "'stars'", "text is wanted")
    tag = ["finetune", "tag", train, "--model", tiny_model, "-q", *other]
    assert_refused(here(*tag), "no column 'tags' or 'ner_tags'", "--tags")
    assert_refused(here(*tag, "--tags", "body", "--tokens", "body"), "lists of texts are wanted")


def test_measures_agree_with_the_libraries(
    here: Here, trained: Trained, tmp_path: Path, tiny_model: Path
) -> None:
    """Evaluated on rows with other labels, the measures are those of scikit-learn and seqeval,
    by label and in all, and each format says the same."""
    from sklearn.metrics import classification_report, matthews_corrcoef

    swapped = ["place", "place", "thing", "money", "new", "money", "thing", "place"]
    data = write(tmp_path / "test.parquet", {"text": TEXTS, "label": swapped})
    base = ["evaluate", "classify", trained["classify"][1], data, "-q"]
    found = json.loads(here(*base, "--format", "json").stdout)
    report = classification_report(swapped, LABELS, output_dict=True, zero_division=0)
    assert found["summary"]["accuracy"] == report["accuracy"] == 0.75
    assert found["summary"]["macro_f1"] == report["macro avg"]["f1-score"]
    assert (found["n_rows"], found["n_unseen"]) == (8, 1)
    for row in found["labels"]:
        values = report[row["label"]]
        assert row["f1"] == values["f1-score"] and row["support"] == values["support"]
    out = tmp_path / "m.csv"
    assert here(*base, "--out", out).returncode == 0
    assert out.read_text().splitlines()[-1].startswith("all,,,,,8,0.75,")
    shown = here(*base).stdout
    assert "accuracy: 0.7500" in shown and "none in training: 1" in shown
    pairs = write(tmp_path / "pairs.parquet", DATA["classify-pairs"])
    command = ["evaluate", "classify-pairs", trained["classify-pairs"][1], pairs, "-q"]
    summary = json.loads(here(*command, "--format", "json").stdout)["summary"]
    assert summary["mcc"] == matthews_corrcoef([0, 1], [0, 1]) == 1


def test_spans_are_counted_as_conll_does(here: Here, trained: Trained, tmp_path: Path) -> None:
    """A span of which one word is missed is no hit: counted by hand."""
    tags = [spans(words) for words in WORDS]
    tags[0] = ["O", "B-LOC", "O"]  # predicted: O B-LOC I-LOC
    data = write(tmp_path / "test.parquet", {"tokens": WORDS, "ner_tags": tags})
    done = here("evaluate", "tag", trained["tag"][1], data, "-q", "--format", "json")
    found = json.loads(done.stdout)
    n_spans = sum(tag.startswith("B-") for row in tags for tag in row)
    n_words = len(ALL_WORDS)
    assert found["summary"]["f1"] == pytest.approx((n_spans - 1) / n_spans)
    assert found["summary"]["accuracy"] == pytest.approx((n_words - 1) / n_words)
    assert [row["label"] for row in found["labels"]] == ["COL", "LOC", "OBJ", "SUM"]
    assert sum(row["support"] for row in found["labels"]) == n_spans


def test_evaluation_refuses(here: Here, trained: Trained, tmp_path: Path, tiny_model: Path) -> None:
    """Another task's head, an encoder, a missing column and a format that there is not."""
    data = write(tmp_path / "test.parquet", {"text": TEXTS, "label": LABELS})
    head = trained["classify"][1]
    assert_refused(here("evaluate", "tag", head, data, "-q"), "for classify, and tag was asked")
    assert_refused(here("evaluate", "classify", tiny_model, data, "-q"), "has no head.json")
    base = ["evaluate", "classify", head, data, "-q"]
    assert_refused(here(*base, "--label", "gold"), "no column 'gold'")
    assert_refused(here(*base, "--out", tmp_path / "x.parquet"), "not written as parquet")


def test_labels_of_another_type_are_counted_as_measured(tmp_path: Path) -> None:
    """Numbers written as texts are the labels of training; true and 1 are not one label."""
    folder = make_head(tmp_path / "head")
    file = replace(read_head_file(folder), labels=(1, 2, 3))
    file.write(folder)
    data = write(tmp_path / "data.parquet", {"text": TEXTS, "label": ["1", "2"] * 4})
    report = evaluate_classifier(folder, data, HeadTask.CLASSIFY)
    assert report.n_unseen == 0 and report.summary["accuracy"] > 0
    data = write(tmp_path / "data.parquet", {"text": TEXTS, "label": [True, False] * 4})
    with pytest.raises(LabelError, match=r"None of .*'label' .*\(True, False\) .* head's: 1, 2, 3"):
        evaluate_classifier(folder, data, HeadTask.CLASSIFY)


def test_two_labels_are_those_of_the_head(here: Here, trained: Trained, tmp_path: Path) -> None:
    """Matthews' correlation is of heads with two labels, whatever labels the rows have."""
    for case, labels, has_it in (
        ("classify", ["place", "money"] * 4, False),
        ("classify-pairs", [True] * 8, True),
    ):
        data = write(tmp_path / "data.parquet", {**DATA[case], "label": labels})
        done = here("evaluate", case, trained[case][1], data, "-q", "--format", "json")
        assert ("mcc" in json.loads(done.stdout)["summary"]) == has_it


def test_tags_that_the_head_has_not(here: Here, trained: Trained, tmp_path: Path) -> None:
    """Where none of the tags is the head's, another column is meant."""
    tags = [["X" for _ in words] for words in WORDS]
    data = write(tmp_path / "data.parquet", {"tokens": WORDS, "upos": tags})
    done = here("evaluate", "tag", trained["tag"][1], data, "-q", "--tags", "upos")
    assert_refused(done, "'upos'", "'X'", "'B-LOC'", "--tags")
