"""Texts and pairs of texts to pieces that fit a window, the same in training and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from embedder.tokens import Pieces, Tokenizer


class Inputs(NamedTuple):
    """Tokenised texts.

    Args:
        pieces: piece ids of each text or pair, special tokens included.
        n_cut: how many of them were longer than the window.
    """

    pieces: list[Pieces]
    n_cut: int


def encode_inputs(tokenizer: Tokenizer, sides: Sequence[Sequence[str]], max_tokens: int) -> Inputs:
    """Pieces of texts, or of pairs where there are two sides, cut to a window.

    A long text loses its end; of a long pair the longer side loses its end first. Special tokens
    always stay.

    Args:
        tokenizer: of the model.
        sides: the texts; for pairs the first texts and the second ones, equally many.
        max_tokens: the window, special tokens included.
    """
    if len(sides) == 1:
        return _encode_texts(tokenizer, sides[0], max_tokens)
    first, second = sides
    return Inputs(*tokenizer.encode_pairs(first, second, max_tokens))


def _encode_texts(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> Inputs:
    whole = tokenizer.encode(texts)
    pieces = [tokenizer.cut(ids, max_tokens) for ids in whole]
    return Inputs(pieces, sum(len(ids) > max_tokens for ids in whole))
