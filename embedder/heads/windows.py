"""Sentences of words to windows of pieces, and back: every word is kept by one window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.tokens import Pieces, Tokenizer

CONTEXT_SHARE = 4
"""Two neighbouring windows share up to one in so many of their pieces, so that words at their
edges are seen with words on both sides."""


class Span(NamedTuple):
    """Words of one window, half-open numbers from 0.

    Args:
        start: first word in it.
        end: one past the last word in it.
        keep_start: first word whose tag is taken from this window.
        keep_end: one past the last.
    """

    start: int
    end: int
    keep_start: int
    keep_end: int


class Window(NamedTuple):
    """A stretch of a sentence as the encoder reads it.

    Args:
        sentence: number of the sentence.
        keep_start: first word whose tag is taken from this window.
        pieces: piece ids, special tokens included.
        firsts: where in them the first piece of each kept word stands, int64, shape (n_kept,).
    """

    sentence: int
    keep_start: int
    pieces: Pieces
    firsts: npt.NDArray[np.int64]


def cut_spans(lengths: Sequence[int], budget: int) -> list[Span]:
    """Cut a sentence into windows at word boundaries.

    Args:
        lengths: pieces of each word, each from 1 to `budget`.
        budget: most pieces of a window.

    Returns:
        Windows in order. The words that they keep are all the words, once each.
    """
    spans: list[Span] = []
    start = 0
    while start < len(lengths):
        end, n_pieces = start, 0
        while end < len(lengths) and n_pieces + lengths[end] <= budget:
            n_pieces += lengths[end]
            end += 1
        if spans:  # what two windows share is kept half by one and half by the other
            before = spans[-1]
            middle = (start + before.end + 1) // 2
            spans[-1] = before._replace(keep_end=middle)
            spans.append(Span(start, end, middle, end))
        else:
            spans.append(Span(start, end, start, end))
        if end == len(lengths):
            break
        start = _next_start(lengths, start, end, budget)
    return spans


def _next_start(lengths: Sequence[int], start: int, end: int, budget: int) -> int:
    """First word of the next window: a few words back from the end of this one.

    The word at `end` has to fit after them, so that every window reaches further.
    """
    room = min(budget // CONTEXT_SHARE, budget - lengths[end])
    first = end
    while first - 1 > start and lengths[first - 1] <= room:
        first -= 1
        room -= lengths[first]
    return first


def make_windows(
    tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], max_tokens: int
) -> list[Window]:
    """Windows of some sentences, in order; none for a sentence without words.

    A word that the tokenizer makes no pieces of is an unknown piece, and one of more pieces than
    a window holds loses its last ones: neither loses its tag.

    Args:
        tokenizer: of the model.
        sentences: their words.
        max_tokens: pieces of a window, special tokens included.
    """
    before, after = tokenizer.surroundings
    budget = max_tokens - len(before) - len(after)
    windows = []
    for number, words in enumerate(tokenizer.encode_words(sentences)):
        cut = [pieces[:budget] for pieces in words]
        for span in cut_spans([len(pieces) for pieces in cut], budget):
            inside = cut[span.start : span.end]
            starts = len(before) + np.cumsum([0, *(len(pieces) for pieces in inside)])
            kept = starts[span.keep_start - span.start : span.keep_end - span.start]
            pieces = np.concatenate([before, *inside, after])
            windows.append(Window(number, span.keep_start, pieces, kept.astype(np.int64)))
    return windows
