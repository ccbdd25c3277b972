"""`embedder finetune retrieval`: what it learns, what it hides, and how it finds hard negatives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from corpora import assert_refused
from in_process import Here

from embedder import EncoderOptions, open_encoder
from embedder.errors import LabelError
from embedder.retrieval_pairs import RetrievalPair
from embedder.specs import Engine
from embedder.training.encoder import open_trainable
from embedder.training.options import TrainingOptions, TrainPrecision
from embedder.training.tasks.retrieval import (
    PairNumbers,
    RetrievalModel,
    collate_pairs,
    hold_out_pairs,
)
from jobs import FinetuneOptions, finetune
from jobs.finetune_retrieval import NEGATIVES_FILE
from jobs.finetuning import estimate_finetune
from jobs.hard_negatives import find_hard_negatives, with_negatives

PAIRS = [
    RetrievalPair("who lends money", "the bank raised its interest rates again"),
    RetrievalPair("where is water", "the bank of the river was green"),
    RetrievalPair("what lifts steel", "a crane lifted the steel beam over the river"),
    RetrievalPair("what is rising", "interest in green energy is rising"),
    RetrievalPair("how much is a loan", "rates of interest"),
    RetrievalPair("what is inviolable", "Die Würde des Menschen ist unantastbar"),
    RetrievalPair("which animal flies", "the crane is over the green river"),
    RetrievalPair("what is of steel", "its beam was lifted again"),
]


def write(path: Path, pairs: list[RetrievalPair]) -> Path:
    """A Parquet file of pairs."""
    rows = [pair._asdict() | {"negatives": list(pair.negatives)} for pair in pairs]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def options(tmp_path: Path, tiny_model: Path) -> FinetuneOptions:
    """A few steps on the eight pairs."""
    path = write(tmp_path / "pairs.parquet", PAIRS)
    return FinetuneOptions(
        task="retrieval",
        train=(path,),
        dev=path,
        out=tmp_path / "out",
        model=str(tiny_model),
        training=TrainingOptions(
            max_steps=6,
            batch=8,
            learning_rate=5e-3,
            seed=3,
            device="cpu",
            precision=TrainPrecision.FP32,
        ),
    )


def metrics(folder: str | Path) -> dict[str, Any]:
    """What metrics.json of a model folder says."""
    found: dict[str, Any] = json.loads((Path(folder) / "metrics.json").read_text())
    return found


def test_eight_pairs_are_memorised(options: FinetuneOptions) -> None:
    """Each query finds its text, the loss falls, and the folder is a model that finds them too;
    here by chunks, and in both directions."""
    training = replace(options.training, max_steps=40)
    settings = {"chunk": 3, "symmetric": True}
    summary = finetune(replace(options, training=training, settings=settings))
    losses = [point.loss for point in summary.record.curve if point.loss is not None]
    assert losses[-1] < 0.2 * losses[0]
    assert summary.record.measures == {"ndcg@10": 1, "mrr@10": 1, "recall@10": 1}
    assert summary.before["ndcg@10"] < 1
    encoder = open_encoder(EncoderOptions(model=str(options.out), engine=Engine.TORCH))
    queries = encoder.encode([pair.query for pair in PAIRS])
    found = queries @ encoder.encode([pair.positive for pair in PAIRS]).T
    assert found.argmax(1).tolist() == list(range(8))


def loss_of(model: Path, pairs: list[RetrievalPair], known: list[RetrievalPair]) -> float:
    """The loss of a batch, of a model that knows which positives some pairs have."""
    encoder = open_trainable(str(model))
    numbers = PairNumbers(known)
    found = RetrievalModel(encoder, numbers, scale=20, is_symmetric=False, chunk=0).eval()
    with torch.no_grad():
        return float(found(**collate_pairs(encoder, numbers, pairs))["loss"])


def test_texts_that_answer_the_query_too_are_no_negatives(tiny_model: Path) -> None:
    """A query that comes twice with other texts, a text that comes twice, and a negative of one
    row that answers the query of another: none of them is compared with."""
    [a, b, c, *_] = PAIRS
    twice = a._replace(positive=b.positive)
    alone = loss_of(tiny_model, [a], [a])
    assert alone == pytest.approx(0, abs=1e-6)
    assert loss_of(tiny_model, [a, twice], [a, twice]) == pytest.approx(0, abs=1e-6)
    assert loss_of(tiny_model, [a, a], [a]) == pytest.approx(0, abs=1e-6)
    dirty = a._replace(negatives=(b.positive,))
    assert loss_of(tiny_model, [dirty], [dirty, twice]) == pytest.approx(0, abs=1e-6)
    assert loss_of(tiny_model, [dirty], [dirty, b]) > 1e-3
    with_c = loss_of(tiny_model, [a, c], [a, c])
    assert loss_of(tiny_model, [a, c, a], [a, c]) != with_c > 1e-3


@pytest.mark.parametrize("symmetric", [False, True])
def test_chunks_change_no_gradient(tiny_model: Path, symmetric: bool) -> None:
    """With --chunk a whole batch has the gradients that it has without, negatives included."""
    pairs = [pair._replace(negatives=(PAIRS[i - 1].positive,)) for i, pair in enumerate(PAIRS)]
    numbers = PairNumbers(pairs)

    def gradients(chunk: int) -> dict[str, torch.Tensor]:
        encoder = open_trainable(str(tiny_model)).eval()
        model = RetrievalModel(encoder, numbers, scale=20, is_symmetric=symmetric, chunk=chunk)
        model(**collate_pairs(encoder, numbers, pairs))["loss"].backward()
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    plain = gradients(0)
    for name, gradient in gradients(3).items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-3, atol=1e-5)
    assert len(plain) > 20


def test_no_text_is_on_both_sides() -> None:
    """Rows that are held out have no query or positive in common with those that are trained on,
    also where a text is a query here and a positive there."""
    answers = [RetrievalPair(f"q{i}", f"p{i % 20}") for i in range(60)]
    several = [RetrievalPair(f"q{i // 3}", f"p{i}") for i in range(60)]
    both_ways = [pair for i in range(30) for pair in (_pair(i, i + 30), _pair(i + 30, i))]
    for pairs in (answers, several, both_ways):
        train, dev = hold_out_pairs(pairs, 1)
        assert sorted(train + dev) == sorted(pairs)
        assert len(dev) == 6
        sides = ({text for pair in side for text in pair[:2]} for side in (train, dev))
        assert not set.intersection(*sides)


def _pair(query: int, positive: int) -> RetrievalPair:
    return RetrievalPair(f"t{query}", f"t{positive}")


def test_hard_negatives_are_the_nearest_that_are_farther_than_the_positive(
    tiny_model: Path,
) -> None:
    """Of each pair they are what is nearest by brute force, but no positive of its query and
    nothing nearer than its own positive less the margin."""
    rng = np.random.default_rng(0)
    words = np.array(["bank", "river", "green", "raised", "rates", "crane", "lifted", "steel"])
    texts = [" ".join(rng.choice(words, 5)) for _ in range(40)]
    pairs = [RetrievalPair(f"query {i % 25} {words[i % 8]}", texts[i]) for i in range(40)]
    encoder = open_encoder(EncoderOptions(model=str(tiny_model), engine=Engine.TORCH))
    texts = list(dict.fromkeys(pair.positive for pair in pairs))
    rows = encoder.encode(texts)
    found = find_hard_negatives(pairs, encoder, 3, margin=0.01)
    assert found.shape == (40, 3)
    for pair, own in zip(pairs, found, strict=True):
        known = {p.positive for p in pairs if p.query == pair.query}
        [query] = encoder.encode([pair.query])
        scores = rows @ query
        most = scores[texts.index(pair.positive)] - 0.01
        good = [i for i in np.argsort(-scores, kind="stable") if texts[i] not in known]
        wanted = [int(i) for i in good if scores[i] <= most][:3]
        assert own[own >= 0].tolist() == wanted
    assert (found < 0).any() and (found >= 0).any()
    [first, *_] = with_negatives(pairs, found)
    assert first.negatives == tuple(texts[i] for i in found[0] if i >= 0)


def test_hard_negatives_are_found_once_in_a_run(
    options: FinetuneOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are in the facts, a run that goes on takes those that it had, and a dry run finds
    none."""
    asked = replace(options, settings={"hard_negatives": 2, "margin": 0.0}, dev=None)
    _, facts = estimate_finetune(asked)
    assert facts["negatives"] == 2 * facts["training pairs"] and facts["training pairs"] == 7
    assert not (tmp_path / "out.training").exists()
    kept = tmp_path / "kept.npy"

    def keep(*_: Any) -> None:
        kept.write_bytes((tmp_path / "out.training" / NEGATIVES_FILE).read_bytes())
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("jobs.training_folder.train", keep)
        with pytest.raises(KeyboardInterrupt):
            finetune(asked)
    monkeypatch.setattr("jobs.finetune_retrieval.find_hard_negatives", None)
    summary = finetune(asked)
    assert 0 < summary.facts["negatives"] == int((np.load(kept) >= 0).sum()) <= 14


def test_a_bad_row_is_named(options: FinetuneOptions, tmp_path: Path) -> None:
    """A row without a query is named by file and number, and nothing is left."""
    bad = write(tmp_path / "bad.parquet", [PAIRS[0], PAIRS[1]._replace(query=" ")])
    with pytest.raises(LabelError, match=r"Row 2 of .*bad\.parquet has an empty text"):
        finetune(replace(options, train=(bad,)))
    assert not list(tmp_path.glob("out*"))


def test_the_command(tmp_path: Path, tiny_model: Path, here: Here) -> None:
    """Columns of SQuAD are found, others can be named; what came out indexes a corpus."""
    rows = [{"question": p.query, "context": p.positive, "id": str(i)} for i, p in enumerate(PAIRS)]
    path = tmp_path / "squad.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    base = ("finetune", "retrieval", path, "--model", tiny_model, "--device", "cpu", "-q")
    assert_refused(here(*base, "--out", tmp_path / "o", "--query", "q"), "no column 'q'")
    done = here(*base, "--out", tmp_path / "o", "--max-steps", 2, "--chunk", 2, "--batch", 4)
    assert done.returncode == 0, done.stderr
    facts = metrics(tmp_path / "o")["facts"]
    assert facts == {"training pairs": 7, "negatives": 0, "evaluation pairs": 1}
    index = tmp_path / "i.index"
    how = ("--text", "context", "--engine", "torch", "--device", "cpu", "--no-senses", "-q")
    done = here("index", path, "--out", index, "--model", tmp_path / "o", *how)
    assert done.returncode == 0, done.stderr
