"""Texts and pairs as pieces: as the tokenizers library has them, and never longer than a window."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import SENTENCES
from tokenizers import Tokenizer as Reference

from embedder.checkpoint import open_checkpoint
from embedder.heads.inputs import encode_inputs
from embedder.tokens import Tokenizer

texts = st.lists(st.sampled_from(" ".join(SENTENCES).split()), max_size=30).map(" ".join)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    """The tiny model's."""
    return Tokenizer(open_checkpoint(str(tiny_model)))


@pytest.fixture(scope="module")
def reference(tiny_model: Path) -> Reference:
    """The library's own, which can truncate too."""
    return Reference.from_file(str(tiny_model / "tokenizer.json"))


@given(pair=st.tuples(texts, texts), window=st.integers(8, 40))
def test_pairs_agree_with_the_reference(
    tokenizer: Tokenizer, reference: Reference, pair: tuple[str, str], window: int
) -> None:
    """A pair is cut from its longer side first, as `longest_first` does, to the same length."""
    inputs = encode_inputs(tokenizer, [[pair[0]], [pair[1]]], window)
    reference.no_truncation()
    whole = reference.encode(*pair).ids
    [pieces] = inputs.pieces
    assert inputs.n_cut == (len(whole) > window)
    if not inputs.n_cut:
        assert pieces.tolist() == whole
        return
    reference.enable_truncation(window, strategy="longest_first")
    expected = reference.encode(*pair)
    assert len(pieces) == len(expected.ids) == window
    sizes = [list(expected.sequence_ids).count(side) for side in (0, 1)]
    end = reference.token_to_id("[SEP]")
    first = pieces.tolist().index(end) - 1
    assert abs(first - sizes[0]) <= 1  # which side an odd piece falls to is of no matter


def test_a_long_text_loses_its_end(tokenizer: Tokenizer) -> None:
    """It fills the window, its special tokens stay, and it is counted."""
    long, short = " ".join(SENTENCES), "the bank"
    inputs = encode_inputs(tokenizer, [[long, short]], 10)
    whole, _ = tokenizer.encode([long, short])
    assert inputs.pieces[0].tolist() == [*whole[:9].tolist(), int(whole[-1])]
    assert len(inputs.pieces[1]) == 4
    assert inputs.n_cut == 1
