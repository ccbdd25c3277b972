"""Which document each passage belongs to, counted over all segments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from indexes.documents import passage_documents
from indexes.layout import Layout
from indexes.manifest import SegmentRecord
from indexes.stored_rows import Positions

Flags = npt.NDArray[np.bool_]


class PassageDocuments:
    """The documents of passages; read only where documents have several.

    Args:
        layout: the index.
        segments: its segments.
    """

    def __init__(self, layout: Layout, segments: Sequence[SegmentRecord]) -> None:
        self._layout, self._segments = layout, segments
        self.is_one_each = all(map(_is_one_each, segments))
        """Whether every document is one passage, which then has its number."""

    @cached_property
    def _numbers(self) -> npt.NDArray[np.int32]:
        """Document of each passage, shape (n_passages,)."""
        n_passages = sum(segment.n_passages for segment in self._segments)
        numbers = np.empty(n_passages, dtype=np.int32)
        first = first_document = 0
        for segment in self._segments:
            own = numbers[first : first + segment.n_passages]
            if _is_one_each(segment):
                own[:] = np.arange(segment.n_passages, dtype=np.int32)
            else:
                own[:] = passage_documents(self._layout, segment)
            own += np.int32(first_document)
            first += segment.n_passages
            first_document += segment.n_documents
        return numbers

    def warm_up(self) -> None:
        """Read now rather than at a query."""
        _ = self.is_one_each or self._numbers

    def of(self, positions: Positions) -> Positions:
        """Documents of some passages, in any shape; -1 stays -1."""
        if self.is_one_each:
            return positions
        return np.where(positions >= 0, self._numbers[positions], -1).astype(np.int64)

    def first(self, documents: Positions) -> Positions:
        """The first passage of some documents, in any shape."""
        return documents if self.is_one_each else np.searchsorted(self._numbers, documents)

    def passages(self, documents: Flags) -> Flags:
        """Flags of the passages of flagged documents, shape (n_passages,)."""
        return documents if self.is_one_each else documents[self._numbers]


def _is_one_each(segment: SegmentRecord) -> bool:
    return segment.n_documents == segment.n_passages  # and every document has a passage
