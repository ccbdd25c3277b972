"""Vectors of words: one each, whatever the word means. What came before vectors of uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from embedder.occurrences import Use
from embedder.vectors import Rows, normalise
from embedder.vocabulary import Vocabulary
from embedder.words import find_words


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors as they were trained, of any length.

    Args:
        vocabulary: the words.
        rows: float32, shape (n_words, width), finite.

    Raises:
        ValueError: a shape, type or value is wrong.
    """

    vocabulary: Vocabulary
    rows: Rows

    def __post_init__(self) -> None:
        if self.rows.dtype != np.float32 or self.rows.ndim != 2:
            raise ValueError(f"rows are {self.rows.dtype} {self.rows.shape}, wanted float32 (n, w)")
        if len(self.rows) != len(self.vocabulary):
            raise ValueError(f"{len(self.rows)} rows for {len(self.vocabulary)} words")
        if not np.isfinite(self.rows).all():
            raise ValueError("a row is not finite")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """Number of components of a row."""
        return int(self.rows.shape[1])

    @cached_property
    def units(self) -> Rows:
        """The rows at unit length, shape (n_words, width)."""
        return normalise(self.rows)

    @cached_property
    def places(self) -> dict[str, int]:
        """The number of each form."""
        return {form: place for place, form in enumerate(self.vocabulary.forms)}

    def nearest(self, row: Rows, k: int, *, without: Sequence[int] = ()) -> list[tuple[int, float]]:
        """Numbers of the words nearest to a vector, and their cosines to it, nearest first.

        Args:
            row: a unit row, shape (width,).
            k: how many.
            without: numbers of words that are left out.
        """
        scores = self.units @ row
        scores[list(without)] = -np.inf
        k = min(k, len(scores) - len(set(without)))
        top = np.argpartition(-scores, k - 1)[:k] if k else np.empty(0, dtype=np.int64)
        order = top[np.lexsort((top, -scores[top]))].tolist()
        return [(place, float(scores[place])) for place in order]

    @cached_property
    def _centred(self) -> Rows:
        # What all words share says nothing about any; `StaticVectors` takes it away too.
        return normalise(self.units - self.units.mean(axis=0))

    def encode_uses(self, uses: Sequence[Use]) -> Rows:
        """The vector of each word and the mean of those around it in its text, side by side, unit
        rows of shape (n_uses, 2 * width). The word's own half is the same wherever it stands; a
        word without a vector is passed over, and a half of which nothing is left is zero."""
        rows = np.empty((len(uses), 2 * self.width), dtype=np.float32)
        for number, use in enumerate(uses):
            own: list[int] = []
            around: list[int] = []
            for word in find_words(use.text):
                place = self.places.get(word.form)
                if place is not None:
                    is_own = word.start < use.end and word.end > use.start
                    (own if is_own else around).append(place)
            rows[number] = np.concatenate([self._mean(own), self._mean(around)])
        return normalise(rows)

    def _mean(self, places: Sequence[int]) -> Rows:
        if not places:
            return np.zeros(self.width, dtype=np.float32)
        mean: Rows = normalise(self._centred[list(places)].mean(axis=0, keepdims=True))[0]
        return mean
