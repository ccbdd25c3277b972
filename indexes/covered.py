"""What each FAISS structure covers, and which of its vectors a filter leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from indexes.faiss_index import FaissIndex, Flags, Selection
from indexes.layout import Layout
from indexes.manifest import GenerationRecord
from indexes.stored_rows import Positions
from indexes.structures import read_structure


class Covered:
    """One generation, and where its vectors are among the passages.

    Args:
        layout: the index.
        record: the generation.
        numbers: number of each segment of the index by its id.
        firsts: first passage of each segment.
        width: components of a vector.
    """

    def __init__(
        self,
        layout: Layout,
        record: GenerationRecord,
        numbers: Mapping[str, int],
        firsts: Positions,
        width: int,
    ) -> None:
        self.record, self._folder = record, layout.generation(record.id)
        self.structure = read_structure(record.structure, record.n_lists, width)
        self._numbers = [numbers.get(segment, -1) for segment in record.segments]
        sizes = np.array(record.sizes, dtype=np.int64)
        self._firsts = np.cumsum(sizes) - sizes
        self._places = np.array(
            [firsts[n] if n >= 0 else -1 for n in self._numbers], dtype=np.int64
        )
        shifts = np.unique((self._places - self._firsts)[sizes > 0])
        self._shift = int(shifts[0]) if len(shifts) == 1 and min(self._numbers) >= 0 else None

    @property
    def segments(self) -> list[int]:
        """Numbers of its segments that are still there."""
        return [number for number in self._numbers if number >= 0]

    @cached_property
    def index(self) -> FaissIndex:
        """The structure, opened at its first use."""
        record = self.record
        return FaissIndex(self._folder, self.structure, record.n_vectors, record.files)

    def count(self, flags: Flags | None) -> int:
        """How many of its vectors may be returned."""
        return sum(
            size if flags is None else int(np.count_nonzero(flags[place : place + size]))
            for place, size in zip(self._places.tolist(), self.record.sizes, strict=True)
            if place >= 0
        )

    def local(self, flags: Flags | None) -> Flags:
        """Flags of its vectors, False for those of segments that are gone."""
        own = np.zeros(self.record.n_vectors, dtype=np.bool_)
        places = zip(self._places.tolist(), self._firsts.tolist(), self.record.sizes, strict=True)
        for place, first, size in places:
            if place >= 0:
                own[first : first + size] = True if flags is None else flags[place : place + size]
        return own

    def positions(self, vectors: Positions) -> Positions:
        """Passages of some of its vectors; -1 stays -1."""
        if self._shift == 0:
            return vectors
        if self._shift is not None:
            return np.where(vectors >= 0, vectors + self._shift, -1)
        segment = np.searchsorted(self._firsts, vectors, side="right") - 1
        moved = vectors - self._firsts[segment] + self._places[segment]
        return np.where((vectors >= 0) & (self._places[segment] >= 0), moved, -1)


class Allowed:
    """Which passages a search may return; made once for a filter and used for many queries.

    Args:
        flags: one flag a passage, dead ones excluded; None for all.
        parts: the generations.
        n_passages: all passages.
    """

    def __init__(self, flags: Flags | None, parts: Sequence[Covered], n_passages: int) -> None:
        self.flags, self._parts = flags, parts
        self.n = n_passages if flags is None else int(np.count_nonzero(flags))
        self.n_in = [part.count(flags) for part in parts]
        self._selections: dict[int, Selection] = {}
        self.plans: dict[tuple[int, bool], Any] = {}
        """What a search for some k does, as it was planned the first time."""

    def selection(self, number: int) -> Selection | None:
        """What the structure of a generation needs; None where all its vectors are allowed."""
        part = self._parts[number]
        if self.n_in[number] == part.record.n_vectors:
            return None
        if number not in self._selections:
            self._selections[number] = part.index.select(part.local(self.flags))
        return self._selections[number]
