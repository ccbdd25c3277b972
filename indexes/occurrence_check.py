"""Whether a segment's occurrences are uses of words in the texts of its passages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.records import OccurrenceRecords, hash_text
from indexes.contents import Block, iterate_contents
from indexes.layout import CODES_FILE, ENDS_FILE, OCCURRENCES_FILE, WORDS_FILE, Layout
from indexes.manifest import SegmentRecord, SenseBasis
from indexes.occurrences import (
    BLOCK,
    CODE_PEAK,
    Counts,
    Hashes,
    find_words_in,
    open_codes,
    open_ends,
    open_records,
    read_words,
)
from indexes.problems import Faults, Problem, guarded

REMEMBERED_WORDS = 1 << 18
"""Words as they stand in texts whose hashes are remembered."""


class OccurrenceCheck:
    """Looks for what is wrong inside the occurrences of a segment that is whole otherwise.

    Args:
        layout: the index.
        segment: the segment.
        basis: how occurrences are kept.
        form_of: the form of a word as it stands in a text.
    """

    def __init__(
        self,
        layout: Layout,
        segment: SegmentRecord,
        basis: SenseBasis,
        form_of: Callable[[str], str],
    ) -> None:
        self._layout, self._segment, self._basis = layout, segment, basis
        self._form_of = form_of
        self._folder = layout.segment(segment.id)
        self._hashes: dict[str, int] = {}
        self._words: Hashes = np.empty(0, dtype=np.uint64)
        self._n_held: Counts = np.empty(0, dtype=np.int64)

    def problems(self) -> Iterator[Problem]:
        """All that is wrong; codes and words take memory by the block, and so do texts."""
        found = [
            *guarded(self._folder / ENDS_FILE, self._open_ends),
            *guarded(self._folder / WORDS_FILE, self._check_words),
        ]
        yield from (*found, *guarded(self._folder / CODES_FILE, self._check_codes))
        if not found:
            yield from guarded(self._folder / OCCURRENCES_FILE, self._check_records)

    def _open_ends(self, path: Path) -> Iterator[Problem]:
        open_ends(self._layout, self._segment)
        yield from ()

    def _check_words(self, path: Path) -> Iterator[Problem]:
        """Each word once, in order, with the hash of its form."""
        table = read_words(self._layout, self._segment)
        if any(column.null_count for column in table.columns):
            yield Problem.of(path, "a value is null")
            return
        self._words = table["word"].to_numpy().astype(np.uint64)
        self._n_held = table["n_uses"].to_numpy() - table["n_left_out"].to_numpy()
        faults = Faults(path, "word")
        forms = table["form"].to_pylist()
        hashes = np.fromiter(map(hash_text, forms), dtype=np.uint64, count=len(forms))
        faults.note("has another hash than its form", np.flatnonzero(hashes != self._words))
        is_behind = self._words[1:] <= self._words[:-1]
        faults.note("comes after one with a greater hash", np.flatnonzero(is_behind) + 1)
        yield from faults.problems()

    def _check_codes(self, path: Path) -> Iterator[Problem]:
        """Each code is scaled as codes are, which none of zeros is."""
        codes = open_codes(self._layout, self._segment)
        if codes.shape[1] != self._basis.n_components:
            what = f"its codes have {codes.shape[1]} components, not {self._basis.n_components}"
            yield Problem.of(path, what)
            return
        faults = Faults(path, "code")
        for first in range(0, len(codes), BLOCK):
            block = codes[first : first + BLOCK].astype(np.int16)
            is_scaled = np.abs(block).max(axis=1, initial=0) == CODE_PEAK
            faults.note("is none of a unit row", first + np.flatnonzero(~is_scaled))
        yield from faults.problems()

    def _check_records(self, path: Path) -> Iterator[Problem]:
        """Each occurrence is a word of its passage, one behind the other, and none is missing."""
        records = open_records(self._layout, self._segment)
        ends = open_ends(self._layout, self._segment)
        faults = Faults(path, "occurrence")
        counts = np.zeros(len(self._words), dtype=np.int64)
        first = 0
        for block in iterate_contents(self._layout, self._segment, ["__text"]):
            n = len(block.passages.document)
            own = ends[block.first_passage : block.first_passage + n]
            last = int(own[-1])
            part = np.array(records[first:last])
            of = np.repeat(np.arange(n), np.diff(own, prepend=first))
            self._check_block(faults, block, part, of, first)
            place, is_known = find_words_in(part["word"], self._words)
            faults.note(
                f"is of a word that is not in {WORDS_FILE}", first + np.flatnonzero(~is_known)
            )
            counts += np.bincount(place[is_known], minlength=len(counts))
            first = last
        yield from faults.problems()
        words = Faults(path.with_name(WORDS_FILE), "word")
        is_other = (counts != self._n_held) | (counts == 0)
        words.note("has another number of uses", np.flatnonzero(is_other))
        yield from words.problems()

    def _check_block(
        self,
        faults: Faults,
        block: Block,
        records: OccurrenceRecords,
        of: npt.NDArray[np.int64],
        first: int,
    ) -> None:
        """The occurrences of some passages against their texts.

        Args:
            faults: what is found.
            block: the passages.
            records: their occurrences.
            of: the passage of each, counted in the block.
            first: number of the first occurrence in the segment.
        """
        starts = records["start"].astype(np.int64)
        ends = starts + records["length"]
        lengths = (block.passages.end - block.passages.start).astype(np.int64)
        is_inside = (starts >= 0) & (ends > starts) & (ends <= lengths[of])
        faults.note("lies outside its passage", first + np.flatnonzero(~is_inside))
        is_behind = (of[1:] == of[:-1]) & (starts[1:] < ends[:-1])
        faults.note("begins before the one before it ends", first + 1 + np.flatnonzero(is_behind))
        texts, text_of = block.texts()
        begins = block.passages.start[of] + starts
        places = zip(
            text_of[of].tolist(), begins.tolist(), (begins + ends - starts).tolist(), strict=True
        )
        hashes = np.fromiter(
            (self._hash(texts[row][a:b]) if a >= 0 else 0 for row, a, b in places),
            dtype=np.uint64,
            count=len(records),
        )
        is_other = is_inside & (hashes != records["word"])
        faults.note("is of another word than stands in its text", first + np.flatnonzero(is_other))

    def _hash(self, word: str) -> int:
        """Hash of the form of a word as it stands in a text."""
        found = self._hashes.get(word)
        if found is None:
            if len(self._hashes) >= REMEMBERED_WORDS:
                self._hashes.clear()
            found = self._hashes[word] = hash_text(self._form_of(word))
        return found
