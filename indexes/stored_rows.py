"""The stored float16 rows of all segments, by passage: fetched, checked, scored exactly."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFormatError
from embedder.vectors import HalfRows, Rows, check_unit_rows
from indexes.layout import Layout
from indexes.manifest import SegmentRecord
from indexes.segments import open_vectors

MAPPED_SEGMENTS = 256
"""Segments whose vectors are mapped at a time; each holds a file of the process's open ones."""

SCORED_ROWS = 1024
"""Rows scored at once, few enough to stay in the processor's cache."""

Positions = npt.NDArray[np.int64]
"""Numbers of passages, counted over all segments in the manifest's order."""

_EXPONENT_GAP = np.float32(2.0**112)  # float32 counts exponents from -127, float16 from -15
_KEPT_BITS = np.int32(0x8FFFE000 - (1 << 32))  # the sign, five bits of exponent, ten of fraction


def widened(half: HalfRows, out: Rows | None = None) -> Rows:
    """Rows in float32; seven times as fast as `astype`, which NumPy does one value at a time.

    The bits of a finite float16 move to where float32 has them, and the product corrects the
    exponent, exactly, subnormal numbers included. NaN and infinity become numbers above 65,000,
    which no unit row has.
    """
    rows = np.empty(half.shape, dtype=np.float32) if out is None else out
    bits = rows.view(np.int32)
    bits[...] = half.view(np.int16)
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _KEPT_BITS, out=bits)
    np.multiply(rows, _EXPONENT_GAP, out=rows)
    return rows


def check_stored(rows: Rows) -> None:
    """Raise IndexFormatError unless all rows are finite unit vectors."""
    try:
        check_unit_rows(rows)
    except ValueError as error:
        raise IndexFormatError(
            f"Stored vectors are damaged: {error}.", "Run embedder index again to restore them."
        ) from error


class StoredRows:
    """Rows of passages, counted over all segments.

    Args:
        layout: the index.
        segments: its segments.
        width: components of a row.
    """

    def __init__(self, layout: Layout, segments: Sequence[SegmentRecord], width: int) -> None:
        self._layout, self._segments, self.width = layout, segments, width
        sizes = [segment.n_passages for segment in segments]
        self.firsts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        self._mapped: OrderedDict[int, HalfRows] = OrderedDict()
        self._lock = threading.Lock()  # threads may search together

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def segment(self, number: int) -> HalfRows:
        """All rows of one segment, mapped, shape (n_passages, width)."""
        with self._lock:
            rows = self._mapped.get(number)
            if rows is None:
                opened = open_vectors(self._layout, self._segments[number], self.width)
                rows = self._mapped[number] = np.asarray(opened)
                if len(self._mapped) > MAPPED_SEGMENTS:
                    self._mapped.popitem(last=False)
            else:
                self._mapped.move_to_end(number)
            return rows

    def take(self, positions: Positions) -> HalfRows:
        """Rows of some passages, shape (len(positions), width)."""
        if len(self._segments) == 1:
            return self.segment(0)[positions]
        segments = self.segments_of(positions)
        order = np.argsort(segments, kind="stable")
        ordered = segments[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        rows = np.empty((len(positions), self.width), dtype=np.float16)
        ends = [*starts[1:].tolist(), len(order)]
        for start, end in zip(starts.tolist(), ends, strict=True):
            number = int(ordered[start])
            chosen = order[start:end]
            rows[chosen] = self.segment(number)[positions[chosen] - self.firsts[number]]
        return rows

    def segments_of(self, positions: Positions) -> Positions:
        """Number of the segment of each passage."""
        found: Positions = np.searchsorted(self.firsts, positions, side="right") - 1
        return found

    def scores(self, queries: Rows, positions: Positions) -> Rows:
        """Cosines of each query and its passages.

        One sum a row, by the same instructions for any number of rows: a score depends on nothing
        but its query and its passage.

        Args:
            queries: shape (n, width).
            positions: passages of each query, shape (n, m), all valid.

        Raises:
            IndexFormatError: a row is not a finite unit vector.
        """
        n, m = positions.shape
        found = np.empty((n, m), dtype=np.float32)
        if not m:
            return found
        step = max(1, SCORED_ROWS // m)
        for i in range(0, n, step):
            part = positions[i : i + step]
            rows = widened(self.take(part.ravel()))
            check_stored(rows)
            shaped = rows.reshape(*part.shape, self.width)
            np.einsum("qmd,qd->qm", shaped, queries[i : i + step], out=found[i : i + step])
        return found
