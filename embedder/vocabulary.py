"""The words that get a vector, with how often they occur."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
"""Numbers of uses, int64, shape (n_words,)."""


@dataclass(frozen=True)
class Vocabulary:
    """Words by number, the most frequent first, words of one count in order of their forms.

    Args:
        forms: what each word is looked up by, none twice.
        counts: uses of each, shape (n_words,).

    Raises:
        ValueError: the two differ in length, a form is there twice, or the order is another.
    """

    forms: tuple[str, ...]
    counts: Counts

    def __post_init__(self) -> None:
        if self.counts.dtype != np.int64 or self.counts.shape != (len(self.forms),):
            raise ValueError(
                f"counts are {self.counts.dtype} {self.counts.shape} for {len(self.forms)} forms"
            )
        if len(set(self.forms)) < len(self.forms):
            raise ValueError("a form is there twice")
        if (np.diff(self.counts) > 0).any():
            raise ValueError("the words are not ordered by count")

    @classmethod
    def of(cls, counts: Iterable[tuple[str, int]]) -> Vocabulary:
        """The vocabulary of some words with their counts, in any order."""
        ordered = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
        forms = tuple(form for form, _ in ordered)
        return cls(forms, np.array([count for _, count in ordered], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.forms)

    @property
    def n_uses(self) -> int:
        """Uses of all words together."""
        return int(self.counts.sum())
