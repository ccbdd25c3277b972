"""`embedder distil --layers`: the folder that it writes, what takes it, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import transformers
from corpora import assert_refused, write_corpus
from in_process import Here
from models import SENTENCES, make_model
from safetensors.numpy import load_file

from embedder import EncoderOptions, open_encoder
from embedder.checkpoint import open_checkpoint
from embedder.errors import RequestError
from embedder.specs import Engine
from embedder.static_table import StaticTable, write_static_model
from embedder.tokens import Tokenizer
from embedder.training import loop
from embedder.training.distillation.options import DistillationOptions, Objective
from embedder.training.options import TrainingOptions, TrainPrecision
from jobs import DistilLayersOptions, distil_layers
from jobs.corpus_texts import CorpusTexts

TEXTS = [*SENTENCES, "the bank of the river", "interest rates. The crane is rising.", "green steel"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight texts, and a row without any."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "c.parquet", [*TEXTS, None])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scored pairs."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    first = ["the bank", "a crane", "green energy", "the river"]
    second = ["the river bank", "interest rates", "energy", "the steel beam"]
    pq.write_table(pa.table({"text1": first, "text2": second, "score": [4.0, 0, 5, 1]}), path)
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of four layers."""
    return make_model(tmp_path_factory.mktemp("teacher") / "m", num_hidden_layers=4)


@pytest.fixture
def options(corpus: Path, teacher: Path, tmp_path: Path) -> DistilLayersOptions:
    """Two of four layers, few steps."""
    return DistilLayersOptions(
        sources=(str(corpus),),
        out=tmp_path / "out",
        distillation=DistillationOptions(layers=2, model=str(teacher), held_out=0.2),
        training=TrainingOptions(
            max_steps=8,
            batch=8,
            learning_rate=2e-3,
            evaluate_every=4,
            seed=3,
            device="cpu",
            precision=TrainPrecision.FP32,
        ),
    )


def test_a_student_comes_near_its_teacher(options: DistilLayersOptions, pairs: Path) -> None:
    """On eight texts the loss falls by half and the held-out cosine rises; the folder opens with
    the student's layers and gives texts about the teacher's vectors."""
    training = replace(options.training, max_steps=40, evaluate_every=20)
    summary = distil_layers(replace(options, training=training, dev=pairs))
    losses = [point.loss for point in summary.record.curve if point.loss is not None]
    assert losses[-1] < 0.5 * losses[0]
    assert summary.record.measures["cosine"] > summary.before["cosine"]
    assert {"spearman", "teacher_spearman"} <= set(summary.record.measures)
    folder = Path(options.out)
    assert open_checkpoint(str(folder)).n_layers == 2
    student, taught = (
        open_encoder(EncoderOptions(model=str(f), engine=Engine.TORCH, device="cpu"))
        for f in (folder, options.distillation.model)
    )
    cosines = (student.encode(TEXTS) * taught.encode(TEXTS)).sum(1)
    assert cosines.mean() > summary.before["cosine"]
    assert summary.facts["rows left out: null text"] == 1
    assert (folder / "README.md").is_file() and (folder / "learning-curve.png").is_file()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["out"]


def test_a_student_with_all_layers_starts_at_its_teacher(options: DistilLayersOptions) -> None:
    """With as many layers as the teacher, the cosine is one before the first step."""
    asked = replace(options.distillation, layers=4)
    training = replace(options.training, max_steps=1, evaluate_every=1)
    summary = distil_layers(replace(options, distillation=asked, training=training))
    assert summary.before["cosine"] == pytest.approx(1, abs=1e-5)
    assert summary.before["least_cosine"] == pytest.approx(1, abs=1e-5)


def test_equal_runs_are_equal(options: DistilLayersOptions, tmp_path: Path) -> None:
    """Two runs with one seed give the same weights; an unfinished one of another request is
    refused."""
    distil_layers(options)
    distil_layers(replace(options, out=tmp_path / "again"))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "again"))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    room = tmp_path / "new.training"
    room.mkdir()
    (room / "request.json").write_text(json.dumps({"sources": ["other"]}))
    with pytest.raises(RequestError, match=r"unfinished.*--restart"):
        distil_layers(replace(options, out=tmp_path / "new"))


@pytest.mark.parametrize("kind", ["options", "language_options"])
def test_an_interrupted_run_ends_with_the_same_weights(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after its first checkpoint, the same call goes on from it, without reading the
    corpus again, and ends with the weights of a run that was left alone."""
    asked: DistilLayersOptions = request.getfixturevalue(kind)
    finish = loop.finish_checkpoint

    def interrupt(*arguments: Any, **rest: Any) -> None:
        finish(*arguments, **rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "finish_checkpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            distil_layers(asked)
    assert not Path(asked.out).exists() and (tmp_path / "out.training").is_dir()
    with monkeypatch.context() as patched:
        patched.setattr(CorpusTexts, "__call__", lambda _: pytest.fail("read again"))
        summary = distil_layers(asked)
    left_out = [n for name, n in summary.facts.items() if name == "rows left out: null text"]
    assert left_out == ([1] if kind == "options" else [])
    distil_layers(replace(asked, out=tmp_path / "alone"))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "alone"))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not (tmp_path / "out.training").exists()


def test_columns_of_pairs_are_texts(options: DistilLayersOptions, pairs: Path) -> None:
    """Of a file of pairs both columns are read when both are named."""
    asked = replace(options, sources=(str(pairs),), text=("text1", "text2"))
    training = replace(options.training, max_steps=1, evaluate_every=1)
    summary = distil_layers(replace(asked, training=training))
    assert summary.facts["texts"] + summary.facts["texts held out"] == 8


def test_the_command_and_what_takes_its_folder(
    corpus: Path, teacher: Path, pairs: Path, tmp_path: Path, here: Here
) -> None:
    """The command writes a folder that finetune goes on with; a dry run writes nothing."""
    asked = ["distil", corpus, "--layers", 2, "--model", teacher, "--device", "cpu"]
    asked += ["--max-steps", 2, "--evaluate-every", 1, "--batch", 4, "--out", tmp_path / "a"]
    found = json.loads(here(*asked, "--dry-run", "--format", "json", "-q").stdout)
    assert found["n_steps"] == 2 and found["facts"]["layers"] == 2
    assert list(tmp_path.iterdir()) == []
    done = here(*asked, "--eval", pairs)
    assert done.returncode == 0, done.stderr
    assert "cosine: " in done.stdout and f"--model {tmp_path / 'a'}" in done.stdout
    done = here(
        *("finetune", "similarity", pairs, "--eval", pairs, "--model", tmp_path / "a"),
        *("--out", tmp_path / "b", "--max-steps", 1, "--device", "cpu", "-q"),
    )
    assert done.returncode == 0, done.stderr
    assert open_checkpoint(str(tmp_path / "b")).n_layers == 2


def test_refusals(corpus: Path, teacher: Path, tmp_path: Path, here: Here) -> None:
    """Both kinds of student, none, options of the other kind, too many layers, a static teacher,
    missing files: one line each, and nothing is written."""
    base = ["distil", corpus, "--model", teacher, "--out", tmp_path / "new", "-q"]
    assert_refused(here(*base), "neither", "--static or --layers")
    assert_refused(here(*base, "--static", "--layers", 2), "both")
    assert_refused(here(*base, "--layers", 2, "--width", 8), "--width", "for --static")
    assert_refused(here(*base, "--static", "--epochs", 2), "--epochs", "for --layers")
    assert_refused(here(*base, "--layers", 5), "5 layers", "has 4", "1 to 4")
    assert_refused(here(*base, "--layers", 2, "--length", 500), "500 pieces", "64 at most")
    assert_refused(here(*base, "--layers", 2, "--eval", tmp_path / "no.parquet"), "no.parquet")
    assert_refused(here(*base, "--layers", 2, "--text", "body"), "no column 'body'")
    empty = write_corpus(tmp_path / "empty.parquet", [None, " "])
    asked = ["distil", empty, "--model", teacher, "--out", tmp_path / "new", "-q", "--layers", 2]
    assert_refused(here(*asked), "holds no text")
    one = write_corpus(tmp_path / "one.parquet", ["the bank"] * 3)
    assert_refused(here("distil", one, *asked[2:]), "1 different documents")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.parquet", "one.parquet"]


def test_a_static_model_has_no_layers_to_give(
    corpus: Path, teacher: Path, tmp_path: Path, here: Here
) -> None:
    """A static model as the teacher of a network is refused."""
    checkpoint, out = open_checkpoint(str(teacher)), tmp_path / "static"
    out.mkdir()
    vectors = np.eye(Tokenizer(checkpoint).n_pieces, 8, dtype=np.float32)
    table = StaticTable(vectors, np.ones(len(vectors), np.float32), vectors[0])
    write_static_model(out, table, checkpoint, {})
    asked = ("distil", corpus, "--model", out, "--layers", 1, "--out", tmp_path / "new", "-q")
    assert_refused(here(*asked), "static model", "no layers")
    assert [path.name for path in tmp_path.iterdir()] == ["static"]


# Masked language models


@pytest.fixture(scope="module")
def language_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of four layers with random weights and a head that finds masked pieces."""
    folder = make_model(tmp_path_factory.mktemp("language") / "m", num_hidden_layers=4)
    transformers.BertForMaskedLM.from_pretrained(folder).save_pretrained(folder)
    return folder


@pytest.fixture
def language_options(
    options: DistilLayersOptions, language_teacher: Path, sample_corpus: Path
) -> DistilLayersOptions:
    """Two of four layers, which are to find masked pieces of 40 paragraphs."""
    asked = DistillationOptions(
        layers=2, model=str(language_teacher), objective=Objective.MLM, length=32, held_out=0.1
    )
    return replace(options, sources=(str(sample_corpus),), limit=40, distillation=asked)


def test_a_language_student_comes_near_its_teacher(language_options: DistilLayersOptions) -> None:
    """The loss falls and states come nearer to the teacher's on held-out text; the folder has the
    student's layers with their head, and is an encoder too."""
    training = replace(language_options.training, max_steps=30, evaluate_every=10)
    summary = distil_layers(replace(language_options, training=training))
    after = summary.record.measures
    assert after["loss"] < summary.before["loss"]
    assert after["state_cosine"] > summary.before["state_cosine"]
    assert after["teacher_mlm_loss"] == pytest.approx(summary.before["teacher_mlm_loss"])
    folder = Path(language_options.out)
    names = set(load_file(folder / "model.safetensors"))
    assert any("cls.predictions" in name for name in names)
    assert not any(".layer.2." in name for name in names)
    assert open_checkpoint(str(folder)).n_layers == 2
    encoder = open_encoder(EncoderOptions(model=str(folder), engine=Engine.TORCH, device="cpu"))
    assert encoder.encode(["the bank"]).shape == (1, 32)


def test_a_language_student_with_all_layers_starts_at_its_teacher(
    language_options: DistilLayersOptions,
) -> None:
    """With all layers, before the first step, nothing diverges and both find the same."""
    asked = replace(language_options.distillation, layers=4)
    training = replace(language_options.training, max_steps=1, evaluate_every=1)
    before = distil_layers(replace(language_options, distillation=asked, training=training)).before
    assert before["divergence"] == pytest.approx(0, abs=1e-5)
    assert before["state_cosine"] == pytest.approx(1, abs=1e-5)
    assert before["mlm_loss"] == pytest.approx(before["teacher_mlm_loss"], rel=1e-5)
    assert before["masked_accuracy"] == before["teacher_masked_accuracy"]


def test_language_refusals(
    corpus: Path, teacher: Path, language_teacher: Path, pairs: Path, tmp_path: Path, here: Here
) -> None:
    """A teacher without a head, and scored pairs, are refused by one line."""
    base = ["distil", corpus, "--layers", 2, "--objective", "mlm", "--out", tmp_path / "new", "-q"]
    assert_refused(here(*base, "--model", teacher), "no weights that find masked pieces")
    assert_refused(here(*base, "--model", language_teacher, "--eval", pairs), "--eval")
    assert list(tmp_path.iterdir()) == []
