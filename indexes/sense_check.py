"""Whether a sense inventory, and what it rests on, fit the occurrences of the segments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFormatError
from embedder.records import hash_text
from embedder.vectors import UNIT_TOLERANCE
from indexes.documents import read_table
from indexes.layout import (
    CENTROIDS_FILE,
    FUNCTION_WORDS_FILE,
    PROJECTION_FILE,
    SENSES_FILE,
    USES_FILE,
    Layout,
)
from indexes.manifest import Manifest, SegmentRecord, SenseBasis, SenseRecord
from indexes.occurrences import open_array, open_records
from indexes.problems import Faults, Problem, guarded
from indexes.sense_inventory import SENSES_SCHEMA, USE

BLOCK_USES = 1 << 18
Numbers = npt.NDArray[np.int64]


def check_basis(layout: Layout, basis: SenseBasis, width: int) -> Iterator[Problem]:
    """What is wrong with the function words and the projection, whose digests are right.

    Args:
        layout: the index.
        basis: what the codes of occurrences rest on.
        width: components of a vector.
    """

    def check_words(path: Path) -> Iterator[Problem]:
        try:
            words = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise IndexFormatError(f"{path} cannot be read as JSON: {error}.") from error
        is_list = isinstance(words, list) and all(isinstance(word, str) for word in words)
        if not is_list or words != sorted(set(words)):
            yield Problem.of(path, "it is no sorted list of different words")

    def check_projection(path: Path) -> Iterator[Problem]:
        rows = open_array(path, np.dtype("<f4"), (1 + basis.n_components, width))
        if not _are_unit(rows[1:]).all() or not np.isfinite(rows[0]).all():
            yield Problem.of(path, "a component is not finite or not of unit length")

    folder = layout.sense_folder(basis.id)
    yield from guarded(folder / FUNCTION_WORDS_FILE, check_words)
    yield from guarded(folder / PROJECTION_FILE, check_projection)


def check_inventory(layout: Layout, manifest: Manifest, record: SenseRecord) -> Iterator[Problem]:
    """What is wrong with a sense inventory, whose files and segments are whole otherwise.

    Args:
        layout: the index.
        manifest: its state, which has a basis.
        record: the inventory.
    """
    check = _InventoryCheck(layout, manifest, record)
    folder = layout.sense_folder(record.id)
    found = list(guarded(folder / SENSES_FILE, check.check_senses))
    yield from (*found, *guarded(folder / CENTROIDS_FILE, check.check_centroids))
    if not found:
        yield from guarded(folder / USES_FILE, check.check_uses)


class _InventoryCheck:
    """One look at an inventory."""

    def __init__(self, layout: Layout, manifest: Manifest, record: SenseRecord) -> None:
        self._layout, self._manifest, self._record = layout, manifest, record
        self._table = SENSES_SCHEMA.empty_table()
        self._starts: Numbers = np.empty(0, dtype=np.int64)  # of each word's first sense
        self._of: Numbers = np.empty(0, dtype=np.int64)  # the number of each sense's word

    def check_senses(self, path: Path) -> Iterator[Problem]:
        """Words with the hashes of their forms, each with its senses one after the other."""
        table = self._table = read_table(path, SENSES_SCHEMA)
        if any(column.null_count for column in table.columns):
            yield Problem.of(path, "a value is null")
            return
        word, sense = self._column("word"), self._column("sense")
        forms = table["form"].to_pylist()
        hashes = np.fromiter(map(hash_text, forms), dtype=np.uint64, count=len(forms))
        is_new = np.diff(word, prepend=word[:1] ^ np.uint64(1)) != 0
        starts, of = np.flatnonzero(is_new), np.cumsum(is_new) - 1
        self._starts, self._of = starts, of
        faults = Faults(path, "sense")
        faults.note("has another hash than its word's form", np.flatnonzero(hashes != word))
        is_behind = word[1:] < word[:-1]
        faults.note("is of a word after one with a greater hash", np.flatnonzero(is_behind) + 1)
        is_again = np.ones(len(word), dtype=np.bool_)
        is_again[np.unique(_keys(of, sense), return_index=True)[1]] = False
        faults.note("has the number of another one", np.flatnonzero(is_again | (sense < 1)))
        n_uses, n_word_uses = self._column("n_uses"), self._column("n_word_uses")
        sums = np.bincount(of, weights=n_uses, minlength=len(starts))
        is_other = (
            (sums[of] != n_word_uses) | (n_uses < 1) | (self._column("n_found") < n_word_uses)
        )
        faults.note("is of a word with another number of uses", np.flatnonzero(is_other))
        firsts = np.concatenate([[0], np.cumsum(n_word_uses[starts])])
        is_elsewhere = self._column("first") != firsts[of]
        faults.note("has the uses of its word elsewhere", np.flatnonzero(is_elsewhere))
        yield from faults.problems()
        found = (len(starts), len(word), int(firsts[-1]))
        wanted = (self._record.n_words, self._record.n_senses, self._record.n_uses)
        if found != wanted:
            yield Problem.of(path, f"words, senses and uses are {found}, and {wanted} were written")

    def check_centroids(self, path: Path) -> Iterator[Problem]:
        """A unit row for each sense."""
        assert self._manifest.basis is not None
        n_components = self._manifest.basis.n_components if self._record.n_senses else None
        rows = open_array(path, np.dtype("<f2"), (self._record.n_senses, n_components))
        faults = Faults(path, "centroid")
        is_unit = _are_unit(rows.astype(np.float32))
        faults.note("is not finite or not of unit length", np.flatnonzero(~is_unit))
        yield from faults.problems()

    def check_uses(self, path: Path) -> Iterator[Problem]:
        """Each use is an occurrence of its word, with a sense of that word."""
        uses = open_array(path, USE, (self._record.n_uses,))
        by_id = {segment.id: segment for segment in self._manifest.segments}
        segments = [by_id.get(name) for name, _ in self._record.segments]
        keys = _keys(self._of, self._column("sense"))
        order = np.argsort(keys)
        words, firsts = (self._column(name)[self._starts] for name in ("word", "first"))
        counts = np.zeros(len(keys), dtype=np.int64)
        faults = Faults(path, "use")
        for first in range(0, len(uses), BLOCK_USES):
            block = np.array(uses[first : first + BLOCK_USES])
            places = first + np.arange(len(block))
            of = np.searchsorted(firsts, places, side="right") - 1
            own_keys = _keys(of, block["sense"])
            at = order[np.minimum(np.searchsorted(keys[order], own_keys), len(keys) - 1)]
            is_known = keys[at] == own_keys
            faults.note("has a sense that its word has not", places[~is_known])
            counts += np.bincount(at[is_known], minlength=len(counts))
            for number in np.unique(block["segment"]).tolist():
                own = np.flatnonzero(block["segment"] == number)
                segment = segments[number] if number < len(segments) else None
                is_one = np.zeros(len(own), dtype=np.bool_)
                if segment is not None:
                    is_one = self._are_of(segment, block["row"][own], words[of[own]])
                faults.note("is no occurrence of its word", places[own[~is_one]])
        yield from faults.problems()
        senses = Faults(path.with_name(SENSES_FILE), "sense")
        is_other = counts != self._column("n_uses")
        senses.note("has another number of uses", np.flatnonzero(is_other))
        yield from senses.problems()

    def _are_of(
        self,
        segment: SegmentRecord,
        rows: npt.NDArray[np.uint32],
        words: npt.NDArray[np.uint64],
    ) -> npt.NDArray[np.bool_]:
        """Which rows of a segment's occurrences are of some words, shape (n,)."""
        records = open_records(self._layout, segment)
        are_of = rows < len(records)
        are_of[are_of] = records["word"][rows[are_of]] == words[are_of]
        return are_of

    def _column(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(self._table[name].to_numpy())


def _keys(words: Numbers, senses: npt.NDArray[Any]) -> Numbers:
    """One number for the number of a word and of one of its senses."""
    keys: Numbers = words * 65_536 + senses.astype(np.int64)
    return keys


def _are_unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which rows are finite and of unit length."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    are_unit: npt.NDArray[np.bool_] = np.abs(lengths - 1) <= UNIT_TOLERANCE  # which a NaN is not
    return are_unit
