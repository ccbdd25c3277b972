"""Windows of a sentence: each fits, and every word is kept by one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, trainers

from embedder.checkpoint import open_checkpoint
from embedder.heads.windows import cut_spans, make_windows
from embedder.tokens import Tokenizer

WORDS = [
    "the",
    "bank",
    "of",
    "unantastbar",
    "",
    "\u0001",
    "a b",
    "İ",
    "x" * 90,
    "river,",
    "\u00a0",
    "é",
]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    """The tiny model's, which makes many pieces of a word that it does not know."""
    return Tokenizer(open_checkpoint(str(tiny_model)))


@given(budget=st.integers(1, 40), data=st.data())
def test_spans_keep_every_word_once(budget: int, data: st.DataObject) -> None:
    """Spans fit the budget, reach further each, and what they keep lies in them and is all."""
    lengths = data.draw(st.lists(st.integers(1, budget), max_size=60))
    spans = cut_spans(lengths, budget)
    kept = [word for span in spans for word in range(span.keep_start, span.keep_end)]
    assert kept == list(range(len(lengths)))
    for span in spans:
        assert sum(lengths[span.start : span.end]) <= budget
        assert span.start <= span.keep_start < span.keep_end <= span.end
    assert len(spans) <= max(1, len(lengths))


def test_neighbouring_windows_share_words() -> None:
    """A word near the edge of a window is kept by the one that shows more around it."""
    first, second, *_ = cut_spans([1] * 30, 16)
    assert (first.start, first.end, first.keep_end) == (0, 16, 14)
    assert (second.start, second.keep_start) == (12, 14)


def test_a_short_sentence_is_one_window(tokenizer: Tokenizer) -> None:
    """It has the pieces that the text has, and the first ones of its words are known."""
    words = ["the", "bank", "unantastbares", "river"]
    [window] = make_windows(tokenizer, [words], 64)
    assert window.pieces.tolist() == tokenizer.encode([" ".join(words)])[0].tolist()
    alone = [int(tokenizer.encode([word])[0][1]) for word in words]
    assert window.pieces[window.firsts].tolist() == alone


def test_a_word_without_pieces_is_an_unknown_one(tokenizer: Tokenizer) -> None:
    """Empty words and control characters have one piece, the unknown one."""
    [words] = tokenizer.encode_words([["the", "", "\u0001", "bank", "\u00a0"]])
    assert [len(pieces) for pieces in words] == [1, 1, 1, 1, 1]
    assert [pieces[0] == tokenizer.unknown_id for pieces in words] == [
        False,
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("add_prefix_space", [True, False])
def test_words_of_byte_level_pieces(
    tmp_path: Path, tiny_model: Path, add_prefix_space: bool
) -> None:
    """A piece that begins with the space before a word is of that word, as RoBERTa has them."""
    folder = shutil.copytree(tiny_model, tmp_path / "bytes")
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["the river was green", "the bank"] * 9, trainer)
    backend.save(str(folder / "tokenizer.json"))
    words = ["the", "river", "a b", "", "é"]
    [found] = Tokenizer(open_checkpoint(str(folder))).encode_words([words])
    spelt = ["".join(backend.id_to_token(int(i)) for i in pieces) for pieces in found]
    first = "Ġthe" if add_prefix_space else "the"
    assert spelt == [first, "Ġriver", "ĠaĠb", "Ġ", "ĠÃ©"]


@given(
    sentences=st.lists(st.lists(st.sampled_from(WORDS), max_size=40), max_size=4),
    max_tokens=st.integers(8, 64),
)
def test_windows_keep_every_word_once(
    tokenizer: Tokenizer, sentences: list[list[str]], max_tokens: int
) -> None:
    """Windows fit, begin and end as texts do, and keep each word of each sentence once."""
    found: list[list[int]] = [[] for _ in sentences]
    before, after = tokenizer.surroundings
    for window in make_windows(tokenizer, sentences, max_tokens):
        assert len(window.pieces) <= max_tokens
        assert np.array_equal(window.pieces[: len(before)], before)
        assert np.array_equal(window.pieces[-len(after) :], after)
        found[window.sentence] += range(window.keep_start, window.keep_start + len(window.firsts))
        for number, first in enumerate(window.firsts, window.keep_start):
            [[alone, *_]] = tokenizer.encode_words([[sentences[window.sentence][number]]])
            assert window.pieces[first] == alone[0]
    assert found == [list(range(len(words))) for words in sentences]
