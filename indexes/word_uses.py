"""The live uses of every word of an index, a word at a time, in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.records import Codes, PassageTable
from indexes.deletions import read_deleted
from indexes.documents import read_passages
from indexes.layout import Layout
from indexes.manifest import SegmentRecord
from indexes.occurrences import SegmentOccurrences, limits_of, open_occurrences

PART_USES = 8_000_000
"""Uses that are sorted at once, at some sixty bytes each."""

MAPPED_SEGMENTS = 256
"""Segments whose codes are mapped at the same time."""

Numbers = npt.NDArray[np.int64]

_USE = np.dtype(
    [
        ("word", "<u8"),
        ("segment", "<u4"),
        ("row", "<u4"),
        ("document", "<i8"),
        ("key", "<u8"),
        ("draw", "<u2"),
    ]
)


@dataclass(frozen=True)
class WordUses:
    """The uses of one word, in the order of the index.

    Args:
        word: hash of its form.
        segments: number of each use's segment, shape (n,).
        rows: number of the use in its segment.
        documents: number of its document in the index.
        keys: equal for equal places in equal texts.
        n_found: uses before any sample was drawn from those that the segments hold.
    """

    word: int
    segments: Numbers
    rows: Numbers
    documents: Numbers
    keys: npt.NDArray[np.uint64]
    n_found: int

    def __len__(self) -> int:
        return len(self.rows)


def iterate_words(
    layout: Layout, segments: Sequence[SegmentRecord], *, least: int, cap: int
) -> Iterator[WordUses]:
    """The uses of each word in documents that are not deleted, by the words' hashes.

    A word where two passages overlap is a use of the passage in whose half of the overlap it lies.

    Args:
        layout: the index.
        segments: its segments.
        least: words with fewer uses in different texts are left out.
        cap: most uses of a word; of more a uniform sample is taken.

    Raises:
        IndexFormatError: a file is not as it was written.
    """
    n_parts = max(1, -(-sum(segment.n_occurrences for segment in segments) // PART_USES))
    bounds = [(1 << 64) * number // n_parts for number in range(n_parts + 1)]
    for low, high in itertools.pairwise(bounds):
        uses = _uses(layout, segments, low, high)
        order = np.argsort(uses["word"], kind="stable")
        uses = uses[order]
        cuts = np.flatnonzero(uses["word"][1:] != uses["word"][:-1]) + 1
        edges = np.concatenate([[0], cuts, [len(uses)]])
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if last - first >= least:
                own = uses[first:last]
                if len(np.unique(own["key"])) >= least:
                    yield _drawn(own, cap)


def _drawn(uses: npt.NDArray[np.void], cap: int) -> WordUses:
    n_found = len(uses)
    if n_found > cap:
        histogram = np.bincount(uses["draw"], minlength=1 << 16)
        uses = uses[uses["draw"] < limits_of(histogram[None], cap)[0]]
    return WordUses(
        word=int(uses["word"][0]),
        segments=uses["segment"].astype(np.int64),
        rows=uses["row"].astype(np.int64),
        documents=uses["document"].copy(),
        keys=uses["key"].copy(),
        n_found=n_found,
    )


def _uses(
    layout: Layout, segments: Sequence[SegmentRecord], low: int, high: int
) -> npt.NDArray[np.void]:
    """Live uses of the words whose hash is from `low` to below `high`."""
    parts = [np.empty(0, dtype=_USE)]
    first_document = 0
    for number, segment in enumerate(segments):
        if segment.n_occurrences:
            found = open_occurrences(layout, segment)
            words = np.array(found.records["word"])
            passages = found.passages()
            table = read_passages(layout, segment)
            is_live = live_uses(layout, segment, found, table, passages)
            is_wanted = is_live & (words >= np.uint64(low)) & (words <= np.uint64(high - 1))
            rows = np.flatnonzero(is_wanted)
            records, own = found.records[rows], passages[rows]
            part = np.empty(len(rows), dtype=_USE)
            part["word"], part["segment"], part["row"] = words[rows], number, rows
            part["document"] = table.document[own] + first_document
            part["key"] = table.hashes[own, 0] ^ _spread(records["start"])
            part["draw"] = records["draw"]
            parts.append(part)
        first_document += segment.n_documents
    return np.concatenate(parts)


def _spread(starts: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        return (starts.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)


def live_uses(
    layout: Layout,
    segment: SegmentRecord,
    found: SegmentOccurrences,
    table: PassageTable,
    passages: Numbers,
) -> npt.NDArray[np.bool_]:
    """Which occurrences of a segment count: not deleted, and not those of another passage."""
    low, high = own_ranges(table)
    middles = table.start[passages].astype(np.int64) + found.records["start"]
    middles += found.records["length"] // 2
    is_live: npt.NDArray[np.bool_] = (middles >= low[passages]) & (middles < high[passages])
    if segment.deletion is not None:
        is_deleted = np.zeros(segment.n_documents, dtype=np.bool_)
        is_deleted[read_deleted(layout, segment)] = True
        is_live &= ~is_deleted[table.document[passages]]
    return is_live


def own_ranges(table: PassageTable) -> tuple[Numbers, Numbers]:
    """The stretch of its document that each passage counts the words of, shape (n_passages,)."""
    low, high = table.start.astype(np.int64), table.end.astype(np.int64)
    is_next = table.document[1:] == table.document[:-1]
    overlaps = np.flatnonzero(is_next & (table.start[1:] < table.end[:-1]))
    middle = (low[overlaps + 1] + high[overlaps]) // 2
    high[overlaps], low[overlaps + 1] = middle, middle
    return low, high


class CodeReader:
    """Codes of uses, out of the mapped files of their segments.

    Args:
        layout: the index.
        segments: its segments.
        n_components: of a code.
    """

    def __init__(
        self, layout: Layout, segments: Sequence[SegmentRecord], n_components: int
    ) -> None:
        self._layout, self._segments, self._n_components = layout, segments, n_components
        self._mapped: dict[int, SegmentOccurrences] = {}

    def read(self, segments: Numbers, rows: Numbers) -> Codes:
        """Codes of some uses, int8, shape (n, n_components)."""
        codes = np.empty((len(rows), self._n_components), dtype=np.int8)
        for number in np.unique(segments).tolist():
            chosen = np.flatnonzero(segments == number)
            codes[chosen] = self.open(number).codes[rows[chosen]]
        return codes

    def passages(self, segments: Numbers, rows: Numbers) -> Numbers:
        """Numbers of the passages of some uses in their segments, int64, shape (n,)."""
        found = np.empty(len(rows), dtype=np.int64)
        for number in np.unique(segments).tolist():
            chosen = np.flatnonzero(segments == number)
            found[chosen] = self.open(number).passages_of(rows[chosen])
        return found

    def open(self, number: int) -> SegmentOccurrences:
        """The occurrences of one segment."""
        found = self._mapped.get(number)
        if found is None:
            if len(self._mapped) >= MAPPED_SEGMENTS:
                self._mapped.clear()
            found = self._mapped[number] = open_occurrences(self._layout, self._segments[number])
        return found
