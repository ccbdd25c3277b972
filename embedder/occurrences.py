"""Occurrences: uses of words in passages, each with a vector of its own.

The vector comes from the states that the encoder computes anyway, with some of its middle layer in
them. Those of the pieces around the word are averaged with weights that fall off with the distance,
and the word's own are added: the neighbourhood says what the word means here, its own states which
word it is. Other layers, other weights and whitening were tried, and bring nothing or little beside
this (`tests/benchmarks/senses.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embedder.encoders import TextEncoder
from embedder.errors import RequestError
from embedder.tokens import Pieces, PieceSpans, Tokenizer
from embedder.vectors import Rows, States, normalise

Offsets = npt.NDArray[np.int32]
"""Offsets of characters or numbers of pieces, int32, shape (n,)."""

SIGMA = 6.0
"""Width of the neighbourhood: standard deviation of its Gaussian weights, in pieces."""

OWN_WEIGHT = 0.8
"""Weight of the word's own states against its neighbourhood's, both of unit length."""


@dataclass(frozen=True)
class PieceRanges:
    """The pieces of some words of one text.

    Args:
        first: number of each word's first piece, int32, shape (n_words,).
        last: one past its last piece; equal to `first` where no piece belongs to the word.
    """

    first: Offsets
    last: Offsets


def find_pieces(spans: PieceSpans, starts: Offsets, ends: Offsets) -> PieceRanges:
    """The pieces of words that are given by their characters, in order of the text.

    Args:
        spans: where the pieces of the text stand.
        starts: first character of each word, shape (n_words,).
        ends: one past its last.
    """
    inside = np.flatnonzero(spans.ends > spans.starts)
    if not len(inside):
        nothing = np.zeros(len(starts), dtype=np.int32)
        return PieceRanges(nothing, nothing)
    first = np.searchsorted(spans.ends[inside], starts, side="right")
    last = np.searchsorted(spans.starts[inside], ends, side="left")
    is_found = first < last
    padded = np.append(inside, inside[-1] + 1)
    found_first = np.where(is_found, padded[first], 0)
    found_last = np.where(is_found, padded[np.maximum(last, 1) - 1] + 1, 0)
    return PieceRanges(found_first.astype(np.int32), found_last.astype(np.int32))


class WordPieces(Protocol):
    """Words of one text in its pieces."""

    @property
    def ranges(self) -> PieceRanges:
        """The pieces of each word; none may be empty."""
        ...

    @property
    def is_text(self) -> npt.NDArray[np.bool_]:
        """Which pieces are not special tokens or prompt, shape (n_pieces,)."""
        ...


def pool_occurrences(states: States, texts: Sequence[WordPieces]) -> list[Rows]:
    """Unit vectors of the uses of words in each of some texts, float32, shape (n_words, width).

    Those of a text are the same to the last bit whatever texts it is together with: what BLAS does
    is done text by text, the rest for all at once.

    Args:
        states: of the texts' pieces, shape (n_texts, length, width).
        texts: the words of each.
    """
    counts = [len(text.ranges.first) for text in texts]
    ends = np.cumsum(counts).tolist()
    ranges = PieceRanges(
        np.concatenate([text.ranges.first for text in texts]),
        np.concatenate([text.ranges.last for text in texts]),
    )
    length, width = states.shape[1:]
    places = np.arange(length, dtype=np.float32)
    centres = (ranges.first + ranges.last - 1)[:, None] * np.float32(0.5)
    weights = np.exp((places - centres) ** 2 * np.float32(-0.5 / SIGMA**2))
    weights[(places >= ranges.first[:, None]) & (places < ranges.last[:, None])] = 0
    around = np.empty((len(weights), width), dtype=np.float32)
    for number, (text, n_words, end) in enumerate(zip(texts, counts, ends, strict=True)):
        own = slice(end - n_words, end)
        n_pieces = len(text.is_text)
        np.matmul(
            weights[own, :n_pieces] * text.is_text, states[number, :n_pieces], out=around[own]
        )
    starts = np.repeat(np.arange(len(texts), dtype=np.int64) * length, counts)
    rows = normalise(_sums(states.reshape(-1, width), starts + ranges.first, starts + ranges.last))
    rows *= np.float32(OWN_WEIGHT)
    rows += normalise(around)  # zero where the word is all the text
    return np.split(normalise(rows), ends[:-1])


def _sums(states: Rows, first: npt.NDArray[Any], last: npt.NDArray[Any]) -> Rows:
    """The sums of stretches of states, shape (n_words, width)."""
    sums: Rows = states[first]
    longer = np.flatnonzero(last > first + 1)
    while len(longer):
        first = first + 1
        sums[longer] += states[first[longer]]
        longer = longer[last[longer] > first[longer] + 1]
    return sums


@dataclass(frozen=True)
class Use:
    """One use of a word.

    Args:
        text: the text.
        start: first character of the word.
        end: one past its last.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class UsePieces:
    """One use of a word in pieces that fit an encoder.

    Args:
        ids: piece ids with special tokens, shape (n_pieces,).
        ranges: the word's own pieces, of one word.
        is_text: which pieces are not special tokens, shape (n_pieces,).
    """

    ids: Pieces
    ranges: PieceRanges
    is_text: npt.NDArray[np.bool_]


def cut_uses(tokenizer: Tokenizer, uses: Sequence[Use], max_tokens: int) -> list[UsePieces]:
    """The pieces of uses; of a longer text a stretch around the word.

    Args:
        tokenizer: the encoder's.
        uses: the uses.
        max_tokens: most pieces of a use, special tokens included.

    Raises:
        RequestError: a use is empty, or lies outside its text.
    """
    found = []
    encoded = tokenizer.encode_with_spans([use.text for use in uses])
    n_after = tokenizer.n_after
    n_before = tokenizer.n_special - n_after
    for use, (ids, spans) in zip(uses, encoded, strict=True):
        start, end = np.array([use.start], np.int32), np.array([use.end], np.int32)
        ranges = find_pieces(spans, start, end)
        if ranges.first[0] >= ranges.last[0]:
            raise RequestError(
                f"No word stands at characters {use.start} to {use.end} of {use.text[:80]!r}."
            )
        kept, shifted = _window(ids, ranges, n_before, n_after, max_tokens)
        is_text = np.zeros(len(kept), dtype=np.bool_)
        is_text[n_before : len(kept) - n_after] = True
        found.append(UsePieces(kept, shifted, is_text))
    return found


def encode_uses(encoder: TextEncoder, uses: Sequence[Use]) -> Rows:
    """Vectors of uses of words, as the occurrences of an index have them.

    A text longer than the encoder's window is cut to a stretch around the word.

    Raises:
        RequestError: a use is empty, or lies outside its text.
    """
    cut = cut_uses(encoder.tokenizer, uses, encoder.encoder.spec.max_tokens)
    rows: list[Rows] = []
    width = 0
    order: list[int] = []
    for indices, _, encoded in encoder.encode_batches([c.ids for c in cut], with_states=True):
        assert encoded.states is not None
        width = encoded.states.shape[2]
        rows += pool_occurrences(encoded.states, [cut[number] for number in indices])
        order += indices
    found_rows = np.empty((len(uses), width), dtype=np.float32)
    if order:
        found_rows[order] = np.concatenate(rows)
    return found_rows


def _window(
    ids: Pieces, ranges: PieceRanges, n_before: int, n_after: int, most: int
) -> tuple[Pieces, PieceRanges]:
    """A text's pieces that fit the encoder, with the word in their middle, and the word's pieces
    in them.

    Args:
        ids: all pieces of the text.
        ranges: the word's.
        n_before: special tokens before the text.
        n_after: and after it.
        most: pieces that fit.
    """
    if len(ids) <= most:
        return ids, ranges
    room = most - n_before - n_after
    middle = int(ranges.first[0] + ranges.last[0]) // 2
    start = min(max(middle - room // 2, n_before), len(ids) - n_after - room)
    kept = np.concatenate([ids[:n_before], ids[start : start + room], ids[len(ids) - n_after :]])
    shift = np.int32(n_before - start)
    clipped = PieceRanges(
        np.maximum(ranges.first + shift, n_before).astype(np.int32),
        np.minimum(ranges.last + shift, n_before + room).astype(np.int32),
    )
    return kept, clipped
