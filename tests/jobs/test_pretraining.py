"""Pre-training learns, resumes, goes on, adds up over processes, and ends as a model folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from corpora import assert_refused, run_in_two_processes, weights, write_corpus
from in_process import Here
from models import CONFIGS, SENTENCES, add_pooling, make_model

from embedder import EncoderOptions, open_encoder
from embedder.checkpoint import open_checkpoint
from embedder.encoders.network import load_network
from embedder.specs import Engine, Pooling
from embedder.training.options import TrainingOptions, TrainPrecision
from embedder.training.pretraining.language_model import (
    bert_config,
    load_language_model,
    piece_scores,
    transformer_of,
)
from embedder.training.pretraining.network import PretrainingNetwork
from embedder.training.pretraining.options import Objective, PretrainingOptions
from embedder.training.pretraining.preparation import prepare_text
from embedder.training.pretraining.shapes import Size
from embedder.training.run import IGNORED
from jobs import PretrainOptions, pretrain


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 documents of two to four sentences, and rows without text."""
    texts: list[str | None] = [
        " ".join(f"{SENTENCES[(i + j) % 4].capitalize()}." for j in range(2 + i % 3)) + f" {i}"
        for i in range(120)
    ]
    return write_corpus(tmp_path_factory.mktemp("text") / "c.parquet", [*texts, None, ""], rows=50)


@pytest.fixture(scope="module")
def steady_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT without dropout, whose training is the same however batches are cut."""
    changes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return make_model(tmp_path_factory.mktemp("models") / "steady", **changes)


def options(corpus: Path, out: Path, **changes: Any) -> PretrainOptions:
    """Twelve steps, all of the first epoch, and four evaluations, on a CPU in fp32."""
    training = TrainingOptions(
        max_steps=12,
        batch=8,
        learning_rate=2e-3,
        evaluate_every=4,
        seed=3,
        device="cpu",
        precision=TrainPrecision.FP32,
    )
    return PretrainOptions(
        sources=(str(corpus),),
        out=out,
        pretraining=PretrainingOptions(length=32, held_out=0.1, **changes),
        training=training,
    )


def difference(one: Path, other: Path) -> float:
    """The largest difference of a weight."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


def curve(folder: Path) -> Any:
    """The learning curve of a model folder."""
    return json.loads((folder / "metrics.json").read_text())["curve"]


@pytest.mark.parametrize(
    ("size", "n_millions"),
    [
        ("tiny", 4.4),
        ("mini", 11.2),
        ("small", 28.8),
        ("medium", 41.4),
        ("base", 110),
        ("large", 335),
    ],
)
def test_sizes_are_the_published_ones(size: str, n_millions: float) -> None:
    """With BERT's vocabulary each size has as many parameters as was published."""
    with torch.device("meta"):
        model = transformers.BertForPreTraining(bert_config(Size(size), 30_522))
    n_parameters = sum(weight.numel() for weight in model.parameters())
    assert n_parameters / 1e6 == pytest.approx(n_millions, rel=0.02)


@pytest.mark.parametrize("objective", list(Objective))
def test_eight_documents_are_memorised(
    tmp_path: Path, tiny_model: Path, objective: Objective
) -> None:
    """The loss on eight documents falls far below where it began, masked or one-sided."""
    path = write_corpus(tmp_path / "c.parquet", [f"{SENTENCES[i % 4]} {i}" for i in range(8)])
    asked = options(path, tmp_path / "out", objective=objective, model=str(tiny_model))
    training = replace(asked.training, max_steps=60, evaluate_every=60, learning_rate=1e-2)
    summary = pretrain(replace(asked, training=training))
    losses = [point.loss for point in summary.record.curve if point.loss is not None]
    assert losses[-1] < 0.4 * losses[0]
    assert summary.facts["documents"] == 8 and summary.facts["documents held out"] >= 1


def test_the_folder_says_how_it_went_and_goes_on(corpus: Path, tmp_path: Path) -> None:
    """metrics.json has both losses, accuracies and the perplexity of held-out text at each
    evaluation; a run that goes on from the folder begins where it ended, heads and all."""
    asked = options(corpus, tmp_path / "out", n_pieces=100)
    summary = pretrain(asked)
    measures = summary.record.measures
    assert measures["loss"] == pytest.approx(measures["mlm_loss"] + measures["nsp_loss"])
    assert measures["perplexity"] == pytest.approx(np.exp(measures["mlm_loss"]))
    assert {"masked_accuracy", "nsp_accuracy"} < measures.keys()
    points = curve(tmp_path / "out")
    assert [point["step"] for point in points if point["measures"]] == [0, 4, 8, 12]
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())["facts"]
    assert facts["rows left out: null text"] == facts["rows left out: empty text"] == 1
    more = replace(asked.pretraining, model=str(tmp_path / "out"), has_pairs=True, n_pieces=None)
    training = replace(asked.training, max_steps=1)
    again = pretrain(replace(asked, out=tmp_path / "more", pretraining=more, training=training))
    assert again.record.curve[0].measures == pytest.approx(measures, rel=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["more", "out"]


def test_the_folder_is_an_encoder(corpus: Path, tmp_path: Path, here: Here) -> None:
    """Made by the command, it opens in every engine as mean pooling of at most the trained length,
    indexes, and says nothing of heads that an encoder does not use."""
    out = tmp_path / "out"
    done = here(
        *("pretrain", corpus, "--out", out, "--max-steps", 2, "--length", 32, "--batch", 4),
        *("--vocabulary", 100, "--whole-word", "--device", "cpu", "--format", "json"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["facts"]["vocabulary"] == 100
    checkpoint = open_checkpoint(str(out))
    assert (checkpoint.pooling, checkpoint.max_tokens) == (Pooling.MEAN, 32)
    rows = [
        open_encoder(EncoderOptions(model=str(out), engine=engine)).encode(["the river bank"])
        for engine in (Engine.TORCH, Engine.OPENVINO)
    ]
    assert float((rows[0] * rows[1]).sum()) > 0.999
    done = here("index", corpus, "--model", out, "--out", tmp_path / "c.index", "--no-senses")
    assert done.returncode == 0 and "weights not used" not in done.stderr


def test_equal_seeds_give_equal_folders(corpus: Path, tmp_path: Path) -> None:
    """Two runs with one seed have equal vocabularies and weights; another seed gives others."""
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        asked = options(corpus, tmp_path / name, n_pieces=100)
        pretrain(replace(asked, training=replace(asked.training, max_steps=3, seed=seed)))
    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert difference(tmp_path / "one", tmp_path / "other") > 0


def test_validation_is_masked_as_published(steady_model: Path, tmp_path: Path) -> None:
    """Half of the pieces may be asked for in training: perplexity is of 15 % all the same."""
    texts = [f"{SENTENCES[i % 4]} {SENTENCES[(i + 1) % 4]} {i}" for i in range(200)]
    asked = PretrainingOptions(model=str(steady_model), length=64, held_out=0.3, mask_share=0.5)
    text = prepare_text(lambda: iter([texts]), asked, 1, tmp_path)
    for examples, share in ((text.examples, 0.5), (text.held_out, 0.15)):
        taken = [examples[number] for number in range(len(examples))]
        n_asked = sum((example.labels != IGNORED).sum() for example in taken)
        n_plain = sum((~text.special.is_special(e.piece_ids)).sum() for e in taken)
        n_masked = sum((e.piece_ids == text.special.mask).sum() for e in taken)
        assert n_asked / (n_plain + n_masked) == pytest.approx(share, abs=0.01)


def test_accumulation_adds_up(corpus: Path, steady_model: Path, tmp_path: Path) -> None:
    """Batches of four, two a step, their activations computed twice, give the weights of batches
    of eight."""
    asked = options(corpus, tmp_path / "whole", model=str(steady_model), has_pairs=True)
    record = pretrain(asked).record
    assert record.n_examples is not None and record.n_examples > 12 * 8
    training = replace(asked.training, batch=4, accumulate=2, checkpointing=True)
    pretrain(replace(asked, out=tmp_path / "parts", training=training))
    assert difference(tmp_path / "whole", tmp_path / "parts") < 1e-4


@pytest.mark.parametrize("engine", [Engine.TORCH, Engine.OPENVINO])
def test_a_one_sided_network_stays_one_sided(corpus: Path, tmp_path: Path, engine: Engine) -> None:
    """In the saved folder, opened as an encoder, what stands later in a text changes no state of
    what stands before it; a network that reads both ways changes."""
    # Exporting is slow, and says nothing new of a network that reads both ways.
    for objective in Objective if engine is Engine.TORCH else [Objective.CAUSAL]:
        out = tmp_path / objective
        asked = options(corpus, out, objective=objective, has_pairs=False, n_pieces=100)
        pretrain(replace(asked, training=replace(asked.training, max_steps=2)))
        states = _states(out, engine)
        first, second = states(["the bank of the river", "the bank of the crane"])
        is_equal = np.allclose(first[:4], second[:4], atol=1e-5)
        assert is_equal is (objective is Objective.CAUSAL)
        assert not np.allclose(first[4:], second[4:], atol=1e-3)


def _states(folder: Path, engine: Engine) -> Callable[[list[str]], list[Any]]:
    """What gives the states of the pieces of texts."""
    encoder = open_encoder(EncoderOptions(model=str(folder), engine=engine))

    def states(texts: list[str]) -> list[Any]:
        tokenizer = encoder.tokenizer
        pieces = tokenizer.encode(texts)
        batch = tokenizer.batch(pieces, 16)
        _, found = encoder.encoder.encode_states(batch)
        return list(found)

    return states


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_heads_score_as_the_library_does(tmp_path: Path, kind: str) -> None:
    """Scores of chosen places are those that the library's own forward pass gives."""
    folder = make_model(tmp_path / kind, kind)
    checkpoint = open_checkpoint(str(folder))
    model = load_language_model(
        folder, checkpoint.config, Objective.MLM, has_pairs=False, seed=1
    ).eval()
    ids = torch.tensor([[2, 20, 30, 40, 3]])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=mask).logits[0]
        states = transformer_of(model)(input_ids=ids, attention_mask=mask).last_hidden_state[0]
        assert torch.allclose(piece_scores(model, states), wanted, atol=1e-5)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("objective", list(Objective))
def test_losses_are_the_librarys(tmp_path: Path, objective: Objective) -> None:
    """On one batch, in which the mean number of pieces to find is known, the loss is that of the
    library's own model: of masked pieces and of the next sentence, or of each next piece."""
    is_mlm = objective is Objective.MLM
    folder = make_model(tmp_path / "m")
    model = load_language_model(
        folder, open_checkpoint(str(folder)).config, objective, has_pairs=is_mlm, seed=1
    ).eval()
    torch.manual_seed(0)
    ids = torch.randint(5, 90, (4, 12))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    segments = (torch.arange(12) > 6).long().expand(4, 12)
    labels = ids.masked_fill(mask == 0, IGNORED)
    if is_mlm:
        labels = labels.masked_fill(torch.rand(4, 12) > 0.3, IGNORED)
        is_random = torch.tensor([0, 1, 1, 0])
        wanted = model(ids, mask, segments, labels=labels, next_sentence_label=is_random)
        asked = labels
    else:
        is_random = None
        wanted = model(ids, mask, labels=labels)
        asked = torch.cat([labels[:, 1:], torch.full((4, 1), IGNORED)], 1)
    network = PretrainingNetwork(model, float((asked != IGNORED).sum()) / 4)
    found = network(ids, mask, segments, asked, is_random)
    assert found["loss"].item() == pytest.approx(wanted.loss.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_an_adapted_encoder_keeps_its_pooling(
    corpus: Path, tmp_path: Path, here: Here, kind: str
) -> None:
    """Adapting changes the weights of an encoder for its text, and neither its pooling, its window
    nor its vocabulary."""
    model = add_pooling(make_model(tmp_path / "model", kind), "cls_token")
    done = here(
        *("finetune", "adapt", corpus, "--model", model, "--out", tmp_path / "out", "--length", 32),
        *("--max-steps", 12, "--learning-rate", 0.003, "--batch", 8, "--device", "cpu"),
    )
    assert done.returncode == 0, done.stderr
    before, after = (open_checkpoint(str(tmp_path / name)) for name in ("model", "out"))
    assert (after.pooling, after.max_tokens) == (Pooling.CLS, before.max_tokens)
    assert before.tokenizer_files[0].read_bytes() == after.tokenizer_files[0].read_bytes()
    points = [point["measures"] for point in curve(tmp_path / "out") if point["measures"]]
    assert points[-1]["mlm_loss"] < points[0]["mlm_loss"]
    assert load_network(after, after.spec()).pooling is Pooling.CLS


KILL = """
import os, signal, sys
from embedder.training import loop
finish = loop.finish_checkpoint
def kill(folder, step, **rest):
    finish(folder, step, **rest)
    if step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
loop.finish_checkpoint = kill
from jobs.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(corpus: Path, tmp_path: Path, here: Here) -> None:
    """Killed in the middle of an epoch, the same command ends with the vocabulary, the curve and
    the weights of a run that was not: masks and pairs are drawn as if nothing had happened."""
    arguments: list[Any] = ["pretrain", corpus, "--max-steps", 12, "--batch", 16, "--device", "cpu"]
    arguments += ["--evaluate-every", 4, "--length", 32, "--vocabulary", 100]
    arguments += ["--threads", 1, "--out"]  # sums of other numbers of threads are rounded otherwise
    command = [sys.executable, "-c", KILL, *map(str, arguments), str(tmp_path / "killed")]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "killed").exists()
    for name in ("killed", "whole"):
        assert here(*arguments, tmp_path / name).returncode == 0
    assert difference(tmp_path / "killed", tmp_path / "whole") == 0
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    read = [(tmp_path / name / "tokenizer.json").read_bytes() for name in ("killed", "whole")]
    assert read[0] == read[1]


CHECKED = """
import sys
from embedder.training import sharding
gather = sharding.gather_weights
def check(model):
    here = sum(weight.to_local().numel() for weight in model.parameters())
    assert here < 0.6 * sum(weight.numel() for weight in model.parameters())
    gather(model)
sharding.gather_weights = check
from jobs.cli import main
main(sys.argv[1:])
"""


def launch(script: Path, *arguments: str | Path | int) -> None:
    """Run the command line in two processes that train together; with --shard, each of them has
    to hold about half of the weights."""
    script.write_text(CHECKED)
    done = run_in_two_processes(script, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("holds the model") == 1


@pytest.mark.slow
def test_two_processes_match_one(
    corpus: Path, steady_model: Path, tmp_path: Path, here: Here
) -> None:
    """Two processes with batches of four, their weights whole or shared, end with the weights of
    one process with batches of eight; and one of them writes and speaks."""
    base: list[Any] = ["pretrain", corpus, "--from", steady_model, "--next-sentence"]
    base += ["--max-steps", 10, "--evaluate-every", 5, "--length", 32, "--device", "cpu"]
    base += ["--precision", "fp32", "--learning-rate", 0.002]
    assert here(*base, "--batch", 8, "--out", tmp_path / "one").returncode == 0
    script = tmp_path / "checked.py"
    launch(script, *base, "--batch", 4, "--out", tmp_path / "two")
    launch(script, *base, "--batch", 4, "--out", tmp_path / "shared", "--shard")
    script.unlink()
    assert difference(tmp_path / "one", tmp_path / "two") < 1e-3
    assert difference(tmp_path / "one", tmp_path / "shared") < 1e-3
    for name in ("two", "shared"):
        losses = [p["measures"]["loss"] for p in curve(tmp_path / name) if p["measures"]]
        wanted = [p["measures"]["loss"] for p in curve(tmp_path / "one") if p["measures"]]
        assert losses == pytest.approx(wanted, abs=1e-3)
        open_encoder(EncoderOptions(model=str(tmp_path / name), engine=Engine.TORCH))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "shared", "two"]


def test_a_dry_run_writes_nothing(corpus: Path, tmp_path: Path, here: Here) -> None:
    """--dry-run says how much text there is and how long it takes."""
    done = here(
        *("pretrain", corpus, "--out", tmp_path / "out", "--dry-run", "--format", "json"),
        *("--length", 32, "--epochs", 2, "--batch", 16, "--no-next-sentence", "-q"),
    )
    found = json.loads(done.stdout)
    assert found["facts"]["documents"] == 120 and found["n_steps"] > 0 and found["seconds"] > 0
    assert list(tmp_path.iterdir()) == []


def test_refusals(corpus: Path, tmp_path: Path, here: Here, steady_model: Path) -> None:
    """Options that contradict each other, too little text and what cannot be used: one line, and
    nothing is left."""
    base: list[Any] = ["pretrain", corpus, "--out", tmp_path / "out", "-q", "--device", "cpu"]
    one = write_corpus(tmp_path / "one.parquet", ["the only document there is", " "])
    none = write_corpus(tmp_path / "none.parquet", [" ", None])
    electra = make_model(tmp_path / "electra", "electra", max_position_embeddings=128)
    (tmp_path / "empty").mkdir()
    cases: list[tuple[list[Any], tuple[str, ...]]] = [
        (["--from", steady_model, "--size", "mini"], ("--from and --size",)),
        (["--from", steady_model, "--cased"], ("--from and --cased",)),
        (["--tokenizer", steady_model, "--vocabulary", 99], ("--tokenizer and --vocabulary",)),
        (["--objective", "causal", "--next-sentence"], ("--next-sentence is for masks",)),
        (["--objective", "causal", "--whole-word"], ("--whole-word is for masks",)),
        (["--objective", "causal", "--mask-share", 0.5], ("--mask-share is for masks",)),
        (["--from", steady_model, "--length", 128], ("takes 64 at most", "--length")),
        (["--from", electra, "--next-sentence"], ("kind electra", "for BERT alone")),
        (["--tokenizer", tmp_path / "empty"], ("tokenizer.json", "--tokenizer")),
        (["--vocabulary", 20], ("too small", "--vocabulary")),
        (["--text", "body"], ("no column 'body'",)),
        (["--from", steady_model, "--length", 32, "--shard"], ("the only one", "torchrun")),
    ]
    for extra, words in cases:
        assert_refused(here(*base, *extra), *words)
    base[1] = one
    assert_refused(here(*base), "one at least has to be held out")
    base[1] = none
    assert_refused(here(*base), "no text")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("electra", "empty", "none.parquet", "one.parquet")
    ]
