"""`embedder finetune senses` and `senses-unsupervised`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from corpora import assert_refused, write_corpus
from in_process import Here

from embedder import EncoderOptions, open_encoder
from embedder.errors import EmbedderError, LabelError, ModelError, RequestError
from embedder.labelled import LabelColumns, draw_pairs, read_matches, read_uses
from embedder.occurrences import Use, cut_uses, encode_uses
from embedder.specs import Engine
from embedder.training.encoder import open_trainable
from embedder.training.options import TrainingOptions, TrainPrecision
from embedder.training.sense_pairs import pair_cosines, read_sense_pairs
from embedder.training.tasks.senses import hold_out_words
from embedder.training.tasks.senses_unsupervised import NumberedUse, ViewModel, collate_uses
from jobs import FinetuneOptions, finetune

RIVER = ("the bank of the river was green", "the green bank of a river")
MONEY = ("the bank raised its interest rates again", "again its interest rates are of the bank")
LIFT = ("a crane lifted the steel beam", "the steel crane lifted a beam")
BIRD = ("a crane is over the green river", "over the river a green crane was rising")


def rows() -> list[dict[str, Any]]:
    """Eight pairs of uses of two words, half of them of one sense."""
    pairs = [(*RIVER, True), (*MONEY, True), (RIVER[0], MONEY[0], False)]
    pairs += [(RIVER[1], MONEY[1], False), (*LIFT, True), (*BIRD, True)]
    pairs += [(LIFT[0], BIRD[0], False), (LIFT[1], BIRD[1], False)]
    return [row(*pair) for pair in pairs]


def row(text1: str, text2: str, label: bool) -> dict[str, Any]:
    """A pair of uses of the word that both texts have."""
    word = "bank" if "bank" in text1 else "crane"
    found: dict[str, Any] = {"text1": text1, "text2": text2, "label": label}
    for number, text in enumerate((text1, text2), 1):
        start = text.index(word)
        found |= {f"start{number}": start, f"end{number}": start + len(word)}
    return found


def write(path: Path, found: Sequence[dict[str, Any]]) -> Path:
    """A Parquet file of rows."""
    pq.write_table(pa.Table.from_pylist(list(found)), path)
    return path


def training(**changes: Any) -> TrainingOptions:
    """A few large steps."""
    asked = TrainingOptions(
        max_steps=4,
        batch=8,
        learning_rate=5e-3,
        seed=3,
        device="cpu",
        precision=TrainPrecision.FP32,
    )
    return replace(asked, **changes)


@pytest.fixture
def options(tmp_path: Path, tiny_model: Path) -> FinetuneOptions:
    """A few steps on the eight pairs."""
    path = write(tmp_path / "pairs.parquet", rows())
    return FinetuneOptions(
        task="senses",
        train=(path,),
        dev=path,
        out=tmp_path / "out",
        model=str(tiny_model),
        training=training(),
    )


def test_eight_pairs_are_memorised(options: FinetuneOptions) -> None:
    """The loss falls, a threshold tells all pairs of one sense, and so it does with the vectors
    that an index of the model has of these words."""
    summary = finetune(replace(options, training=training(max_steps=40)))
    losses = [point.loss for point in summary.record.curve if point.loss is not None]
    assert losses[-1] < 0.3 * losses[0]
    assert summary.record.measures["accuracy"] == 1 > summary.before["accuracy"]
    encoder = open_encoder(EncoderOptions(model=str(options.out), engine=Engine.TORCH))
    pairs = read_matches(options.train[0], LabelColumns())
    found = encode_uses(encoder, [use for pair in pairs for use in (pair.first, pair.second)])
    cosines = (found[::2] * found[1::2]).sum(1)
    is_match = cosines >= summary.record.measures["threshold"]
    assert is_match.tolist() == [pair.score > 0 for pair in pairs]


def uses() -> list[dict[str, Any]]:
    """Eight uses of two words with their senses."""
    senses = {"river": RIVER, "money": MONEY, "lift": LIFT, "bird": BIRD}
    return [
        {"word": "bank" if "bank" in text else "crane", "text": text, "sense": sense}
        for sense, texts in senses.items()
        for text in texts
    ]


def test_labelled_uses_are_learnt_from(options: FinetuneOptions, tmp_path: Path) -> None:
    """Where rows are uses with their sense, pairs of them are drawn, and after a few steps a
    threshold tells all pairs of one sense that people made."""
    path = write(tmp_path / "uses.parquet", uses())
    asked = replace(options, train=(path,), training=training(max_steps=40))
    summary = finetune(asked)
    assert summary.facts["training pairs"] > 8 > summary.facts["of one sense"] > 3
    assert summary.record.measures["accuracy"] == 1 > summary.before["accuracy"]


@pytest.mark.parametrize("seed", [1, 2])
def test_pairs_of_uses_are_drawn(tmp_path: Path, seed: int) -> None:
    """Frequent words are compared no more often than others, rare senses as often as frequent ones;
    nothing is compared across words, with itself, or twice."""
    senses = ["a"] * 900 + ["b"] * 90 + ["c"] * 30
    found = [{"word": "bank", "text": f"bank {i}", "sense": s} for i, s in enumerate(senses)]
    found += [{"word": "tree", "text": f"tree {i}", "sense": "a"} for i in range(9)]
    found += [{"word": "once", "text": "once", "sense": "a"}]
    labelled = read_uses([write(tmp_path / "uses.parquet", found)], LabelColumns())
    pairs = draw_pairs(labelled, seed)
    assert pairs == draw_pairs(labelled, seed) != draw_pairs(labelled, seed + 7)
    assert len({frozenset(pair[:2]) for pair in pairs}) == len(pairs)
    counts = {True: Counter[str](), False: Counter[str]()}
    for first, second, is_match in pairs:
        one, other = labelled[first], labelled[second]
        assert first != second and one.word == other.word
        assert is_match == (one.label == other.label)
        counts[is_match].update([f"{one.word}/{one.label}", f"{other.word}/{other.label}"])
    assert counts[False].keys() == {"bank/a", "bank/b", "bank/c"}
    assert counts[True].keys() == {*counts[False], "tree/a"}
    for found_counts in counts.values():
        assert sum(found_counts[f"bank/{s}"] for s in "abc") in range(380, 401)
        assert all(found_counts[f"bank/{s}"] > 90 for s in "abc")
    assert 6 <= counts[True]["tree/a"] / 2 <= 9


def test_cosines_are_those_of_an_index(options: FinetuneOptions, tiny_model: Path) -> None:
    """What is measured in training are the cosines of `encode_uses`, also of texts that are longer
    than the window, whatever the batches."""
    long = "green river " * 60 + "bank " + "the interest rates " * 40
    start = long.index("bank")
    extra = {"text1": long, "start1": start, "end1": start + 4}
    path = write(Path(options.out).parent / "long.parquet", [*rows(), {**rows()[0], **extra}])
    trainable = open_trainable(str(tiny_model)).eval()
    pairs = read_sense_pairs(path, trainable.tokenizer, trainable.spec.max_tokens)
    how = EncoderOptions(model=str(tiny_model), engine=Engine.TORCH, device="cpu")
    wanted = read_matches(path, LabelColumns())
    uses = [use for pair in wanted for use in (pair.first, pair.second)]
    found = encode_uses(open_encoder(how), uses)
    cosines = (found[::2] * found[1::2]).sum(1)
    np.testing.assert_allclose(pair_cosines(trainable, pairs), cosines, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end1": 99}, r"Row 3 of .*bad\.parquet has a word at characters 4 to 99"),
        ({"start2": 3, "end2": 4}, r"Row 3 of .*bad\.parquet: No word stands at characters 3 to 4"),
        ({"label": None}, r"Row 3 of .*bad\.parquet has nothing in the column 'label'"),
        ({"text1": None}, r"Row 3 of .*bad\.parquet has nothing in the column 'text1'"),
    ],
)
def test_bad_rows_are_named(
    options: FinetuneOptions, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """A row that points where there is no word, or has no label, is named by file and number."""
    found = rows()
    found[2] |= changes
    bad = write(tmp_path / "bad.parquet", found)
    with pytest.raises(LabelError, match=message):
        finetune(replace(options, train=(bad,)))
    assert not (tmp_path / "out").exists()


def test_bad_uses_are_named(options: FinetuneOptions, tmp_path: Path) -> None:
    """A use without a sense or without its word is named by file and number; uses of different
    words cannot be compared."""
    lacking, other = uses(), uses()
    lacking[3]["sense"] = None
    other[5]["word"] = "river"
    one = [{**use, "word": use["text"].split()[-1]} for use in uses()[::3]]
    for found, message in (
        (lacking, r"Row 4 of .*'sense'"),
        (other, r"Row 6 of .*'river' is not in"),
        (one, "No two rows"),
    ):
        bad = write(tmp_path / "bad.parquet", found)
        with pytest.raises(LabelError, match=message):
            finetune(replace(options, train=(bad,)))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve short texts, two of them empty."""
    texts = [*RIVER, *MONEY, *LIFT, *BIRD, "interest in green energy is rising", "steel rates"]
    return write_corpus(tmp_path / "corpus.parquet", [*texts, None, " "])


def test_one_pair_is_not_enough_to_evaluate_on(options: FinetuneOptions, tmp_path: Path) -> None:
    """A threshold needs pairs to be tried on beside those that it is fitted on, named or held
    out."""
    one = write(tmp_path / "one.parquet", rows()[:1])
    few = write(tmp_path / "few.parquet", [rows()[0], rows()[4]])
    for changes in ({"dev": one}, {"dev": None, "train": (few,)}):
        with pytest.raises(RequestError, match=r"only one pair .*--eval"):
            finetune(replace(options, **changes))


def test_views_of_uses_are_learned(options: FinetuneOptions, corpus: Path) -> None:
    """The loss on uses that are held out falls, and their other views are found more often."""
    asked = replace(
        options,
        task="senses-unsupervised",
        train=(corpus,),
        dev=None,
        settings={"masked": 2, "dropout": 0.05},
        training=training(max_steps=40, batch=32),
    )
    summary = finetune(asked)
    assert summary.facts["texts"] == 10
    assert summary.facts["training uses"] > 8 * summary.facts["evaluation uses"] > 0
    losses = [point.loss for point in summary.record.curve if point.loss is not None]
    assert losses[-1] < 0.7 * losses[0]
    assert summary.record.measures["loss"] < summary.before["loss"]
    assert summary.record.measures["found"] >= summary.before["found"]


def test_labelled_pairs_choose_the_best_step(options: FinetuneOptions, corpus: Path) -> None:
    """With --eval the measure is accuracy on the pairs, and all uses are trained on."""
    asked = replace(options, task="senses-unsupervised", train=(corpus,))
    summary = finetune(replace(asked, settings={"uses": 20}))
    assert list(summary.record.measures) == ["accuracy"]
    assert summary.facts == {"texts": 10, "training uses": 20, "evaluation pairs": 8}


def test_uses_in_one_text_are_not_compared(tiny_model: Path) -> None:
    """Two uses in one text have no loss beside each other; in two texts they have."""
    encoder = open_trainable(str(tiny_model)).eval()
    pieces = cut_uses(encoder.tokenizer, [Use(RIVER[0], 4, 8), Use(RIVER[0], 16, 21)], 64)
    model = ViewModel(encoder, n_masked=0, scale=25).eval()

    def loss(*texts: int) -> float:
        uses = [NumberedUse(p, text) for p, text in zip(pieces, texts, strict=True)]
        with torch.no_grad():
            return float(model(**collate_uses(encoder, uses))["loss"])

    assert loss(0, 0) == pytest.approx(0, abs=1e-6)
    assert loss(0, 1) > 1e-3


def test_what_a_corpus_must_have(
    options: FinetuneOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Path
) -> None:
    """Words, a single pair is not enough to measure by, and pieces are hidden by a mask alone."""
    asked = replace(options, task="senses-unsupervised", train=(corpus,))

    def refused(kind: type[EmbedderError], message: str, **changes: Any) -> None:
        with pytest.raises(kind, match=message):
            finetune(replace(asked, **changes))

    empty = write_corpus(tmp_path / "empty.parquet", ["42", "! ?"])
    refused(RequestError, "2 texts of .*empty.parquet have 0 words", train=(empty,), dev=None)
    refused(RequestError, "one pair", dev=write(tmp_path / "one.parquet", rows()[:1]))
    monkeypatch.setattr("embedder.tokens.MASKS", ())
    refused(ModelError, "no mask .* --masked 0")


def test_the_commands(tmp_path: Path, tiny_model: Path, corpus: Path, here: Here) -> None:
    """Tokens with the index of a word are found as evaluate senses finds them, and what came out
    indexes a corpus with its senses."""
    found = []
    for number, pair in enumerate(rows()):
        tokens1, tokens2 = pair["text1"].split(), pair["text2"].split()
        word = "bank" if "bank" in tokens1 else "crane"
        places = {"target_index1": tokens1.index(word), "target_index2": tokens2.index(word)}
        found.append({"tokens1": tokens1, "tokens2": tokens2, "same": number % 2, **places})
    pairs = write(tmp_path / "tokens.parquet", found)
    how = ("--model", tiny_model, "--device", "cpu", "--max-steps", 1, "-q")
    done = here("finetune", "senses", pairs, "--label", "same", "--out", tmp_path / "a", *how)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "a" / "metrics.json").read_text())["facts"]
    assert facts["training pairs"] + facts["evaluation pairs"] == 8
    base = ("finetune", "senses-unsupervised", corpus, "--out", tmp_path / "b", *how)
    assert_refused(here(*base, "--text", "body"), "no column 'body'")
    assert here(*base, "--text", "text", "--uses", 8).returncode == 0
    model = ("--model", tmp_path / "b", "--engine", "torch", "--device", "cpu", "-q")
    done = here("index", corpus, "--out", tmp_path / "i.index", *model)
    assert done.returncode == 0, done.stderr


def test_no_word_is_learnt_and_held_out(tiny_model: Path, tmp_path: Path) -> None:
    """Where pairs are held out, all pairs of a word are on one side."""
    words = ("bank", "river", "crane", "interest", "green")
    many = [
        {"word": w, "text1": f"the {w} was green", "text2": f"a {w} over {i}", "label": i % 2}
        for w in words
        for i in range(4)
    ]
    path = write(tmp_path / "many.parquet", many)
    tokenizer = open_trainable(str(tiny_model)).tokenizer
    pairs = read_sense_pairs(path, tokenizer, 64)
    train, held = hold_out_words(pairs, seed=1)
    assert len(train) + len(held) == len(pairs) and train and held
    assert not {pair.word for pair in train} & {pair.word for pair in held}
