"""Which discourse each passage is of: a document, or a stretch of a long one.

A word has one sense in a discourse (Gale et al. 1992), and its uses there have neighbours and a
topic in common, so that by themselves they would seem a group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexes.layout import Layout
from indexes.manifest import SegmentRecord
from indexes.passage_documents import PassageDocuments

DISCOURSE = 16
"""Consecutive passages of a document that count as one discourse, some thousand words."""

Numbers = npt.NDArray[np.int64]


class Discourses:
    """The discourses of passages.

    Args:
        layout: the index.
        segments: its segments.
    """

    def __init__(self, layout: Layout, segments: Sequence[SegmentRecord]) -> None:
        self._documents = PassageDocuments(layout, segments)
        counts = [segment.n_passages for segment in segments]
        self._starts = np.cumsum([0, *counts], dtype=np.int64)

    def of(self, segments: Numbers, passages: Numbers) -> Numbers:
        """Numbers of discourses, from 0, equal for passages of the same one, shape (n,).

        Args:
            segments: number of each passage's segment, shape (n,).
            passages: its number in the segment, shape (n,).
        """
        positions = self._starts[segments] + passages
        documents = self._documents.of(positions)
        stretches = (positions - self._documents.first(documents)) // DISCOURSE
        places = np.stack([documents, stretches], axis=1)
        numbers: Numbers = np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)
        return numbers
