"""The live uses of every word of an index, a word at a time, in bounded memory."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.records import Codes, OccurrenceRecords, PassageTable
from indexes.deletions import read_deleted
from indexes.documents import read_passages
from indexes.durable import create_file, temporary_beside
from indexes.layout import Layout
from indexes.manifest import SegmentRecord
from indexes.occurrences import (
    BLOCK,
    Counts,
    Hashes,
    SegmentOccurrences,
    find_words_in,
    limits_of,
    open_occurrences,
    read_words,
)

PART_USES = 8_000_000
"""Uses that are sorted at once, at some sixty bytes each."""

MAPPED_SEGMENTS = 256
"""Segments whose codes are mapped at the same time."""

MERGED_WORDS = 1 << 20
"""Words of segments that wait for being merged with those before."""

Numbers = npt.NDArray[np.int64]

_USE = np.dtype(
    [
        ("word", "<u8"),
        ("segment", "<u4"),
        ("row", "<u4"),
        ("passage", "<u4"),
        ("key", "<u8"),
        ("draw", "<u2"),
    ]
)


Uses = npt.NDArray[np.void]
"""Of type `_USE`, shape (n,)."""


@dataclass(frozen=True)
class WordUses:
    """The uses of one word, in the order of the index.

    Args:
        word: hash of its form.
        segments: number of each use's segment, shape (n,).
        rows: number of the use in its segment.
        passages: number of its passage in its segment.
        keys: equal for equal places in equal texts.
        n_found: uses before any sample was drawn from those that the segments hold.
    """

    word: int
    segments: Numbers
    rows: Numbers
    passages: Numbers
    keys: npt.NDArray[np.uint64]
    n_found: int

    def __len__(self) -> int:
        return len(self.rows)


def read_frequent_forms(
    layout: Layout, segments: Sequence[SegmentRecord], *, least: int
) -> dict[int, str]:
    """The form of each word that some segments were written with at least so many uses of.

    Raises:
        IndexFormatError: a file is not as it was written.
    """
    words, counts = _count_words(layout, segments)
    frequent = words[counts >= least]
    forms: dict[int, str] = {}
    for segment in segments:
        table = read_words(layout, segment)
        found = table["word"].to_numpy()
        is_one = find_words_in(found, frequent)[1]
        kept = table["form"].take(np.flatnonzero(is_one)).to_pylist()
        forms.update(zip(found[is_one].tolist(), kept, strict=True))
    return forms


def _count_words(layout: Layout, segments: Sequence[SegmentRecord]) -> tuple[Hashes, Counts]:
    """The different words of some segments, ascending, and the uses that were found of each."""
    waiting = [(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))]
    for segment in segments:
        table = read_words(layout, segment)
        waiting.append((table["word"].to_numpy(), table["n_uses"].to_numpy()))
        if sum(len(words) for words, _ in waiting[1:]) > max(MERGED_WORDS, len(waiting[0][0])):
            waiting = [_merged(waiting)]
    return _merged(waiting)


def _merged(parts: Sequence[tuple[Hashes, Counts]]) -> tuple[Hashes, Counts]:
    every = np.concatenate([words for words, _ in parts])
    different, places = np.unique(every, return_inverse=True)
    sums = np.zeros(len(different), dtype=np.int64)
    np.add.at(sums, places, np.concatenate([counts for _, counts in parts]))
    return different, sums


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
        OSError: the disk takes no more; several parts go through files of 30 bytes a use.
    """
    n_parts = max(1, -(-sum(segment.n_occurrences for segment in segments) // PART_USES))
    for uses in _parts(layout, _blocks(layout, segments), n_parts):
        order = np.argsort(uses["word"], kind="stable")
        uses = uses[order]
        cuts = np.flatnonzero(uses["word"][1:] != uses["word"][:-1]) + 1
        edges = np.concatenate([[0], cuts, [len(uses)]])
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if last - first >= least:
                own = uses[first:last]
                if len(np.unique(own["key"])) >= least:
                    yield _drawn(own, cap)


def _parts(layout: Layout, blocks: Iterable[Uses], n_parts: int) -> Iterator[Uses]:
    """Uses in so many parts, each with all uses of its words, which ascend from part to part.

    Several go through files of their own, so that the index is read once.
    """
    if n_parts == 1:
        yield np.concatenate([np.empty(0, dtype=_USE), *blocks])
        return
    folder = temporary_beside(layout.senses / "uses")
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)
    try:
        paths = [folder / f"{number}.bin" for number in range(n_parts)]
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(create_file(path)) for path in paths]
            for block in blocks:
                part = ((block["word"] >> np.uint64(32)) * np.uint64(n_parts)) >> np.uint64(32)
                order = np.argsort(part, kind="stable")
                edges = np.searchsorted(part[order], np.arange(n_parts + 1, dtype=np.uint64))
                for file, (first, last) in zip(files, itertools.pairwise(edges), strict=True):
                    file.write(block[order[first:last]].tobytes())
        for path in paths:
            yield np.fromfile(path, dtype=_USE)
            path.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _drawn(uses: Uses, cap: int) -> WordUses:
    n_found = len(uses)
    if n_found > cap:
        histogram = np.bincount(uses["draw"], minlength=1 << 16)
        uses = uses[uses["draw"] < limits_of(histogram[None], cap)[0]]
    if len(uses) > cap:  # those of one text that is there again and again have one draw
        uses = uses[np.linspace(0, len(uses) - 1, cap).round().astype(np.int64)]
    return WordUses(
        word=int(uses["word"][0]),
        segments=uses["segment"].astype(np.int64),
        rows=uses["row"].astype(np.int64),
        passages=uses["passage"].astype(np.int64),
        keys=uses["key"].copy(),
        n_found=n_found,
    )


def _blocks(layout: Layout, segments: Sequence[SegmentRecord]) -> Iterator[Uses]:
    """Live uses of words, a bounded number at a time, in the order of the index."""
    for number, segment in enumerate(segments):
        if not segment.n_occurrences:
            continue
        found, table = open_occurrences(layout, segment), read_passages(layout, segment)
        ranges = _live_ranges(layout, segment, table)
        for first in range(0, segment.n_occurrences, BLOCK):
            records = np.array(found.records[first : first + BLOCK])
            passages = found.passages_of(np.arange(first, first + len(records)))
            rows = np.flatnonzero(_are_live(ranges, records, passages))
            own = passages[rows]
            uses = np.empty(len(rows), dtype=_USE)
            uses["word"], uses["segment"] = records["word"][rows], number
            uses["row"], uses["passage"] = first + rows, own
            uses["key"] = table.hashes[own, 0] ^ _spread(records["start"][rows])
            uses["draw"] = records["draw"][rows]
            yield uses


def _spread(starts: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        return (starts.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)


def _live_ranges(
    layout: Layout, segment: SegmentRecord, table: PassageTable
) -> tuple[Numbers, Numbers]:
    """The stretch that each passage counts the words of, in its own characters; none of a deleted
    document."""
    low, high = own_ranges(table)
    if segment.deletion is not None:
        is_deleted = np.zeros(segment.n_documents, dtype=np.bool_)
        is_deleted[read_deleted(layout, segment)] = True
        high = np.where(is_deleted[table.document], low, high)
    return low - table.start, high - table.start


def _are_live(
    ranges: tuple[Numbers, Numbers], records: OccurrenceRecords, passages: Numbers
) -> npt.NDArray[np.bool_]:
    low, high = ranges
    middles = records["start"].astype(np.int64) + records["length"] // 2
    are_live: npt.NDArray[np.bool_] = (middles >= low[passages]) & (middles < high[passages])
    return are_live


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
        order = np.lexsort((rows, segments))
        numbers, firsts = np.unique(segments[order], return_index=True)
        for number, chosen in zip(numbers.tolist(), np.split(order, firsts)[1:], strict=True):
            codes[chosen] = self.open(number).codes[rows[chosen]]
        return codes

    def open(self, number: int) -> SegmentOccurrences:
        """The occurrences of one segment."""
        found = self._mapped.get(number)
        if found is None:
            if len(self._mapped) >= MAPPED_SEGMENTS:
                self._mapped.clear()
            found = self._mapped[number] = open_occurrences(self._layout, self._segments[number])
        return found
