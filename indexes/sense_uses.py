"""The uses of words that carry a sense, as a committed state of an index has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.records import Codes
from indexes.deletions import read_deleted
from indexes.documents import passage_documents
from indexes.layout import Layout
from indexes.manifest import Manifest, SegmentRecord
from indexes.occurrences import read_words
from indexes.sense_inventory import SenseInventory, WordSenses
from indexes.word_uses import CodeReader

CONFIDENCE_STEPS = 65_535

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Uses:
    """Uses of one word in documents that are not deleted, in the order of the index; shape (n,).

    Args:
        segments: number of each use's segment in the index.
        rows: number of the use in its segment.
        passages: number of its passage in the segment.
        documents: number of its document in the segment.
        starts: first character of the word in the passage.
        ends: one past its last.
        senses: number of its sense.
        confidences: how surely it is that one, in [0, 1].
    """

    segments: Numbers
    rows: Numbers
    passages: Numbers
    documents: Numbers
    starts: Numbers
    ends: Numbers
    senses: Numbers
    confidences: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: npt.NDArray[Any] | slice) -> Uses:
        """Some of them."""
        return Uses(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def of_sense(self, number: int) -> Uses:
        """Those of one sense."""
        return self.take(self.senses == number)


class SenseUses:
    """Finds uses of words, their codes and the words around them.

    Args:
        layout: the index.
        manifest: a committed state of it.
        inventory: its sense inventory.
    """

    def __init__(self, layout: Layout, manifest: Manifest, inventory: SenseInventory) -> None:
        if manifest.basis is None:
            raise ValueError("an index without senses has no uses of words")
        self._layout, self._manifest = layout, manifest
        segments = manifest.segments
        self._codes = CodeReader(layout, segments, manifest.basis.n_components)
        numbers = {segment.id: number for number, segment in enumerate(segments)}
        covered = [numbers.get(name, -1) for name, _ in inventory.record.segments]
        self._numbers = np.array([*covered, -1], dtype=np.int64)
        sizes = np.array([segment.n_passages for segment in segments], dtype=np.int64)
        self._firsts = np.cumsum(sizes) - sizes
        self._n_passages = int(sizes.sum())
        n_documents = np.array([segment.n_documents for segment in segments], dtype=np.int64)
        self._first_documents = np.cumsum(n_documents) - n_documents
        self._documents: dict[int, tuple[Numbers, Flags]] = {}

    def of(self, word: WordSenses) -> Uses:
        """The uses of a word that are not deleted.

        Raises:
            IndexFormatError: a file is not as it was written.
        """
        segments = self._numbers[word.uses["segment"]]
        there = np.flatnonzero(segments >= 0)
        order = there[np.lexsort((word.uses["row"][there], segments[there]))]
        kept, own = word.uses[order], segments[order]
        parts = [
            self._in_segment(number, kept[own == number]) for number in np.unique(own).tolist()
        ]
        if not parts:
            return _NO_USES
        return Uses(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(Uses)
            )
        )

    def _in_segment(self, number: int, uses: npt.NDArray[np.void]) -> Uses:
        found = self._codes.open(number)
        documents, is_live = self._passages(number)
        rows = uses["row"].astype(np.int64)
        records, passages = found.records[rows], found.passages_of(rows)
        starts = records["start"].astype(np.int64)
        every = Uses(
            segments=np.full(len(rows), number, dtype=np.int64),
            rows=rows,
            passages=passages,
            documents=documents[passages],
            starts=starts,
            ends=starts + records["length"],
            senses=uses["sense"].astype(np.int64),
            confidences=(uses["confidence"] / CONFIDENCE_STEPS).astype(np.float32),
        )
        return every.take(is_live[every.documents])

    def _passages(self, number: int) -> tuple[Numbers, Flags]:
        """Document of each passage of a segment, and which documents are not deleted."""
        if number not in self._documents:
            segment = self._manifest.segments[number]
            is_live = np.ones(segment.n_documents, dtype=np.bool_)
            is_live[read_deleted(self._layout, segment)] = False
            documents = passage_documents(self._layout, segment).astype(np.int64)
            self._documents[number] = (documents, is_live)
        return self._documents[number]

    def codes(self, uses: Uses) -> Codes:
        """Codes of the vectors of some uses, int8, shape (n, n_components)."""
        return self._codes.read(uses.segments, uses.rows)

    def positions(self, uses: Uses) -> Numbers:
        """The passages of some uses, counted over all segments, shape (n,)."""
        return self._firsts[uses.segments] + uses.passages

    def document_numbers(self, uses: Uses) -> Numbers:
        """The documents of some uses, counted over all segments, shape (n,)."""
        return self._first_documents[uses.segments] + uses.documents

    def flags(self, uses: Uses) -> Flags:
        """Which passages hold one of the uses, shape (n_passages,)."""
        flags = np.zeros(self._n_passages, dtype=np.bool_)
        flags[self.positions(uses)] = True
        return flags

    def around(self, uses: Uses, radius: int) -> tuple[Numbers, npt.NDArray[np.uint64]]:
        """Content words near some uses, at most `radius` to either side in the same passage.

        Returns:
            For each word the number of the use, and the word's hash.
        """
        steps = np.concatenate([np.arange(-radius, 0), np.arange(1, radius + 1)])
        which, words = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for number in np.unique(uses.segments).tolist():
            found = self._codes.open(number)
            own = np.flatnonzero(uses.segments == number)
            rows = uses.rows[own]
            first = np.where(uses.passages[own] > 0, found.ends[uses.passages[own] - 1], 0)
            last = found.ends[uses.passages[own]]
            near = rows[:, None] + steps
            at, step = np.nonzero((near >= first[:, None]) & (near < last[:, None]))
            which.append(own[at])
            words.append(found.records["word"][near[at, step]])
        return np.concatenate(which), np.concatenate(words)


def count_uses(layout: Layout, segments: Sequence[SegmentRecord], word: int) -> int:
    """How many uses of a word the segments were written with, before any sample was drawn."""
    n_uses = 0
    for segment in segments:
        table = read_words(layout, segment)
        place = int(np.searchsorted(table["word"].to_numpy(), np.uint64(word)))
        if place < table.num_rows and table["word"][place].as_py() == word:
            n_uses += table["n_uses"][place].as_py()
    return n_uses


_NOTHING = np.empty(0, dtype=np.int64)
_NO_USES = Uses(
    *(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING),
    np.empty(0, dtype=np.float32),
)
