"""Texts for texts: what was learnt is written, reopened the same, whatever stands beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from corpora import assert_refused
from hypothesis import given
from hypothesis import strategies as st
from in_process import Here
from models import make_model

from embedder.checkpoint import open_checkpoint
from embedder.errors import LabelError, ModelError, RequestError
from embedder.heads.copying import CopyLayer
from embedder.heads.protocol import HeadOptions, open_head, read_head_file
from embedder.training.generate_model import warm_start
from embedder.training.options import TrainingOptions, TrainPrecision
from jobs import FinetuneOptions, TrainingSummary, finetune

PAIRS = [
    ("the bank of the river was green", "green river"),
    ("the bank raised its interest rates again", "rates again"),
    ("a crane lifted the steel beam over the river", "crane over river"),
    ("interest in green energy is rising", "green energy"),
    ("the steel of the crane was green", "green steel"),
    ("energy rates", "energy is rising"),
    ("the beam was over the bank", "beam over bank"),
    ("interest of the bank in energy", "bank energy interest"),
]
SOURCES = [source for source, _ in PAIRS]
TARGETS = [target for _, target in PAIRS]


def write(path: Path, columns: Mapping[str, Any]) -> Path:
    """A Parquet file."""
    pq.write_table(pa.table(dict(columns)), path)
    return path


def options(train: Path, model: Path, out: Path, **settings: Any) -> FinetuneOptions:
    """Eighty steps on the eight pairs."""
    return FinetuneOptions(
        task="generate",
        train=(train,),
        dev=train,
        out=out,
        model=str(model),
        settings={"target_tokens": 12, **settings},
        training=TrainingOptions(
            max_steps=80,
            batch=8,
            learning_rate=1e-2,
            evaluate_every=40,
            device="cpu",
            precision=TrainPrecision.FP32,
        ),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT without dropout, so that few steps are enough."""
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return make_model(tmp_path_factory.mktemp("model") / "m", **none)


Trained = tuple[TrainingSummary, Path]


WAYS: dict[str, dict[str, Any]] = {
    "tied": {"tie_embeddings": True, "copy": False},
    "untied": {"tie_embeddings": False, "copy": False},
    "copying": {},
}


@pytest.fixture(scope="module", params=WAYS.values(), ids=WAYS.keys())
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: Path
) -> Trained:
    """A head that was trained on the pairs."""
    folder = tmp_path_factory.mktemp("generate")
    train = write(folder / "train.parquet", {"source": SOURCES, "target": TARGETS})
    return finetune(options(train, model, folder / "out", **request.param)), folder / "out"


def test_what_was_learnt_is_written(trained: Trained) -> None:
    """The targets of the pairs are written, with beams and without; the measures say so, and
    what the first sentences would get stands beside them."""
    summary, folder = trained
    assert summary.record.measures == pytest.approx({"rouge1": 1, "rouge2": 1, "rougeL": 1})
    for beams in (1, 4):
        head = open_head(folder, HeadOptions(settings={"beams": beams}))
        assert head.predict({"text": SOURCES})["generated"].to_pylist() == TARGETS
        assert f", {beams} beam" in head.description
    assert 0 < summary.facts["rougeL of the first sentence"] < 1
    file = read_head_file(folder)
    assert file.columns == {"source": "source", "target": "target", "text": "source"}
    assert file.settings["beams"] == 4


def test_texts_do_not_depend_on_other_rows(trained: Trained) -> None:
    """Alone, in company and in other batches a text gets the same text."""
    _, folder = trained
    texts = [*SOURCES, "No!", "the bank " * 40, "crane", "z " * 9, *SOURCES[::-1]]
    heads = [open_head(folder, HeadOptions(max_batch_tokens=size)) for size in (1, 300, 4096)]
    alone = [heads[0].predict({"text": [text]})["generated"][0].as_py() for text in texts]
    for head in heads:
        assert head.predict({"text": texts})["generated"].to_pylist() == alone


def test_transformers_opens_the_folder(trained: Trained) -> None:
    """Hugging Face's own class opens the folder, and writes the same with what it finds there,
    unless it copies, which that class does not."""
    import transformers

    _, folder = trained
    if read_head_file(folder).settings["copy"]:
        assert open_head(folder, HeadOptions(settings={"copy": False})).inputs == ("text",)
        return
    network = transformers.EncoderDecoderModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    read = tokenizer(SOURCES[:1], return_tensors="pt", return_token_type_ids=False)
    written = network.generate(**read)
    assert tokenizer.decode(written[0], skip_special_tokens=True) == TARGETS[0]


def test_evaluate(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written has the measures of training, and the first sentences stand beside it."""
    summary, folder = trained
    here = Here(capsys)
    path = write(tmp_path / "d.parquet", {"source": SOURCES, "target": TARGETS})
    done = here("evaluate", "generate", folder, path, "--format", "json", "-q", "--beams", 2)
    assert done.returncode == 0, done.stderr
    generated, lead = json.loads(done.stdout)
    assert generated == {"texts": "generated", "n": 8, "rouge1": 1, "rouge2": 1, "rougeL": 1}
    assert lead["rougeL"] == pytest.approx(summary.facts["rougeL of the first sentence"], abs=1e-4)
    done = here("evaluate", "generate", folder, path, "-q", "--limit", 3)
    assert "first sentence  3" in done.stdout and "4 beams" in done.stdout


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_both_start_from_the_model(tmp_path: Path, kind: str) -> None:
    """Encoder and decoder begin with the model's weights to the bit; only the attention between
    them and the output layer are new, and the seed decides them."""
    folder = make_model(tmp_path / kind, kind)
    checkpoint = open_checkpoint(str(folder))
    from safetensors.torch import load_file

    known = {k: v for k, v in load_file(folder / "model.safetensors").items() if "pooler" not in k}
    networks = [warm_start(checkpoint, seed=seed, tie=True) for seed in (1, 1, 2)]
    for side in ("encoder", "decoder"):
        part = networks[0].get_submodule(side)
        found = (part if side == "encoder" else part.base_model).state_dict()
        assert all(torch.equal(found[name], value) for name, value in known.items())
    one, same, other = (dict(network.decoder.state_dict()) for network in networks)
    assert all(torch.equal(one[name], same[name]) for name in one)
    changed = {name for name in one if not torch.equal(one[name], other[name])}
    assert changed and all("crossattention" in n or not n.startswith(kind) for n in changed)


@pytest.mark.parametrize("kind", ["distilbert", "mpnet", "modernbert"])
def test_kinds_without_a_decoder_are_refused(tmp_path: Path, kind: str) -> None:
    """A model that cannot decode is refused by its kind."""
    checkpoint = open_checkpoint(str(make_model(tmp_path / kind, kind)))
    with pytest.raises(ModelError, match=f"of the kind {kind}"):
        warm_start(checkpoint, seed=1, tie=True)


@pytest.mark.parametrize(
    "changes",
    [{"lora": 2}, {"freeze": 1}, {"checkpointing": True}, {"precision": TrainPrecision.BF16}],
    ids=lambda changes: next(iter(changes)),
)
def test_ways_of_training(tmp_path: Path, model: Path, changes: dict[str, Any]) -> None:
    """Whatever is trained of the encoder and however, a whole model of the same shape comes out;
    frozen layers of the encoder are those that it started from."""
    from safetensors.torch import load_file

    train = write(tmp_path / "t.parquet", {"source": SOURCES, "target": TARGETS})
    asked = options(train, model, tmp_path / "out")
    training = replace(asked.training, max_steps=2, **changes)
    finetune(replace(asked, training=training))
    assert open_head(tmp_path / "out").predict({"text": SOURCES[:1]}).num_rows == 1
    after = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in load_file(model / "model.safetensors").items():
        found = after[f"encoder.{name}"]
        assert found.shape == value.shape and found.dtype == torch.float32
        if "freeze" in changes and name.startswith(("embeddings.", "encoder.layer.0.")):
            assert torch.equal(found, value)


def test_what_was_never_written_is_copied(tmp_path: Path, model: Path) -> None:
    """A head that copies writes words that are in none of the targets that it was trained on."""
    seen = ["river", "crane", "steel", "energy", "bank", "rates", "beam", "interest"]
    columns = {"source": [f"the {a} of {b}" for a in seen for b in seen]}
    columns["target"] = [source.split()[1] for source in columns["source"]]
    train, new = write(tmp_path / "t.parquet", columns), ["green", "raised", "lifted", "again"]
    found = {}
    for copy in (True, False):
        asked = options(train, model, tmp_path / f"{copy}", copy=copy)
        finetune(replace(asked, training=replace(asked.training, max_steps=160)))
        head = open_head(tmp_path / f"{copy}", HeadOptions(settings={"beams": 1}))
        answers = head.predict({"text": [f"the {word} of bank" for word in new]})
        found[copy] = answers["generated"].to_pylist()
    assert sum(map(str.__eq__, found[True], new)) >= 3
    assert not set(found[False]) & set(new)


@given(seed=st.integers(0, 2**16), length=st.integers(3, 9))
def test_a_copy_is_a_probability(seed: int, length: int) -> None:
    """Copied and written, the probabilities of all pieces add up to one; the loss is the logarithm
    of that of the right ones; and pieces around a text are not copied."""
    torch.manual_seed(seed)
    layer, n_pieces = CopyLayer(4, 20, unread=(0, 1)), 20
    layer.start()
    states, read, logits = torch.randn(2, 5, 4), torch.randn(2, length, 4), torch.randn(2, 5, 20)
    source_ids = torch.randint(0, n_pieces, (2, length))
    source_ids[:, 1] = 7  # one at least can be copied
    outputs = layer(states, read, source_ids)
    found = layer.mix(logits, outputs, source_ids)
    assert torch.allclose(found.exp().sum(-1), torch.ones(2, 5), atol=1e-5)
    absent = sorted({0, 1} | set(range(n_pieces)) - set(source_ids[0].tolist()))
    written = torch.log_softmax(logits, -1) + outputs[2][..., None]
    assert torch.allclose(found[0][:, absent], written[0][:, absent], atol=1e-5)
    labels = torch.randint(0, n_pieces, (2, 5))
    is_next = torch.ones(2, 5, dtype=torch.bool)
    loss = layer.loss(logits[is_next], labels, is_next, outputs, source_ids)
    assert torch.allclose(loss, -found.gather(2, labels[..., None]).mean(), atol=1e-5)


BAD: list[tuple[str, Any, str]] = [
    ("source", " ", r"Row 3 of .* ' ' in the column 'source'"),
    ("source", None, r"Row 3 of .* nothing in the column 'source'"),
    ("targets", None, r"Row 3 of .* nothing in the column 'targets'"),
    ("targets", [], r"Row 3 of .* empty list in the column 'targets'"),
    ("targets", ["a", ""], r"Row 3 of .* '' in the column 'targets'"),
]


@pytest.mark.parametrize(("column", "value", "message"), BAD)
def test_bad_rows_are_named(
    tmp_path: Path, model: Path, column: str, value: Any, message: str
) -> None:
    """A row without a text or a target is named before training."""
    rows: dict[str, list[Any]] = {"source": list(SOURCES), "targets": [[t] for t in TARGETS]}
    rows[column][2] = value
    with pytest.raises(LabelError, match=message):
        finetune(options(write(tmp_path / "b.parquet", rows), model, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of other names and several targets are taken; what was cut is counted; a target
    longer than the network takes and beams of none are refused."""
    here = Here(capsys)
    rows = {"body": SOURCES, "subjects": [[t, "other words"] for t in TARGETS]}
    train = write(tmp_path / "t.parquet", rows)
    base = ["finetune", "generate", train, "--model", model, "--device", "cpu", "-q"]
    names = ["--source", "body", "--target", "subjects"]
    out = ["--out", tmp_path / "out"]
    short = ["--window", 8, "--target-tokens", 3, "--eval-rows", 1]
    done = here(*base, *names, *out, *short, "--max-steps", 2, "--format", "json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)["facts"]
    assert (facts["training texts"], facts["evaluation texts"]) == (7, 1)
    assert facts["texts cut off at the window"] > 0 and facts["targets cut off"] > 0
    assert read_head_file(tmp_path / "out").columns["text"] == "body"
    source = write(tmp_path / "s.parquet", {"body": SOURCES[:2]})
    answers = tmp_path / "a.parquet"
    done = here("predict", tmp_path / "out", source, "--out", answers, "--beams", 2, "-q")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(answers).column_names == ["body", "generated"]
    other = ["--out", tmp_path / "other"]
    assert_refused(here(*base, *names, *other, "--target-tokens", 65), "65 tokens", "--target-tok")
    assert_refused(here(*base, *other, "--source", "body"), "no column 'targets' or 'target'")
    asked = options(train, model, tmp_path / "other", beams=0)
    with pytest.raises(RequestError, match="beams is 0"):
        finetune(replace(asked, columns={"source": "body", "target": "subjects"}))
