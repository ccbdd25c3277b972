"""Whether what lies in a segment fits together: documents, passages, vectors, deletions, words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from embedder.records import hash_texts
from embedder.vectors import UNIT_TOLERANCE
from indexes.contents import iterate_contents, iterate_passages, vector_checksums
from indexes.deletions import read_deleted
from indexes.documents import read_documents
from indexes.layout import DOCUMENTS_FILE, PASSAGES_FILE, VECTORS_FILE, Layout
from indexes.manifest import SegmentRecord, SenseBasis
from indexes.npy import NPY_HEADER_BYTES
from indexes.occurrence_check import OccurrenceCheck
from indexes.problems import Faults, Problem, guarded
from indexes.segments import iterate_vectors, open_vectors, row_checksums

BLOCK_ROWS = 8192
OWN_FIELDS = [("__row", pa.int32()), ("__id", pa.string()), ("__text", pa.string())]


class SegmentCheck:
    """Looks for what is wrong inside a segment whose files have the right digests.

    Args:
        layout: the index.
        segment: the segment.
        width: components of a vector.
        basis: how occurrences of words are kept, None for an index without.
        form_of: the form of a word as it stands in a text.
    """

    def __init__(
        self,
        layout: Layout,
        segment: SegmentRecord,
        width: int,
        basis: SenseBasis | None,
        form_of: Callable[[str], str],
    ) -> None:
        self._layout, self._segment, self._width = layout, segment, width
        self._basis, self._form_of = basis, form_of
        folder = layout.segment(segment.id)
        self._documents = folder / DOCUMENTS_FILE
        self._passages = folder / PASSAGES_FILE
        self._vectors = folder / VECTORS_FILE
        self._is_deleted = np.zeros(segment.n_documents, dtype=np.bool_)

    def problems(self) -> Iterator[Problem]:
        """All that is wrong, in bounded memory."""
        if self._segment.deletion is not None:
            path = self._layout.deleted / self._segment.deletion.name
            yield from guarded(path, self._check_deletion)
        yield from self._check_shards()
        rows = [
            *guarded(self._documents, self._check_documents),
            *guarded(self._passages, self._check_passages),
        ]
        rows += guarded(self._vectors, self._check_vectors)
        yield from rows
        if not rows:
            yield from guarded(self._passages, self._check_spans)
            yield from guarded(self._passages, self._check_checksums)
            if self._basis is not None:
                check = OccurrenceCheck(self._layout, self._segment, self._basis, self._form_of)
                yield from check.problems()

    def _check_deletion(self, path: Path) -> Iterator[Problem]:
        """The numbers of deleted documents."""
        numbers, n_documents = read_deleted(self._layout, self._segment), self._segment.n_documents
        if (np.diff(numbers) <= 0).any():
            yield Problem.of(path, "its numbers are not ascending")
        is_there = (numbers >= 0) & (numbers < n_documents)
        if not is_there.all():
            yield Problem.of(path, f"it names a document beyond the {n_documents} that there are")
        self._is_deleted[numbers[is_there]] = True

    def _check_shards(self) -> Iterator[Problem]:
        """The shards divide the documents among them, but for what is deleted."""
        segment, manifest = self._segment, self._layout.manifest
        end, is_covered = 0, self._is_deleted.copy()
        for shard in segment.shards:
            first, last = shard.first_document, shard.first_document + shard.n_documents
            where = f"shard {shard.id} of segment {segment.id}"
            if first < end:
                yield Problem.of(manifest, f"{where} begins at {first}, in the shard before it")
            if shard.n_documents < 0 or last > segment.n_documents:
                yield Problem.of(manifest, f"{where} ends at {last}, beyond the segment")
            end = max(end, last)
            is_covered[first:last] = True
        n_uncovered = int((~is_covered).sum())
        if n_uncovered:
            what = f"{n_uncovered} documents of segment {segment.id} are in no shard, nor deleted"
            yield Problem.of(manifest, what)

    def _check_documents(self, path: Path) -> Iterator[Problem]:
        """Columns, numbers of rows, ids and texts; all pages are read."""
        faults, first = Faults(path, "document"), 0
        for table in read_documents(self._layout, self._segment):
            own = [(field.name, field.type) for field in table.schema][: len(OWN_FIELDS)]
            if own != OWN_FIELDS:
                yield Problem.of(path, f"its columns are {', '.join(table.column_names)}")
                return
            rows = table["__row"].fill_null(-1).to_numpy()
            places = np.arange(first, first + table.num_rows)
            faults.note("is not numbered by its place", places[rows != places])
            faults.note("has no id", places[table["__id"].is_null().to_numpy()])
            faults.note("has no text", places[table["__text"].is_null().to_numpy()])
            first += table.num_rows
        yield from faults.problems()

    def _check_passages(self, path: Path) -> Iterator[Problem]:
        """Documents of the passages, and what the manifest counts of them."""
        segment = self._segment
        faults, without = Faults(path, "passage"), Faults(path, "document")
        has_passage = np.zeros(segment.n_documents, dtype=np.bool_)
        n_tokens = np.zeros(segment.n_documents, dtype=np.int64)
        first = n_deleted = before = 0
        for table in iterate_passages(self._layout, segment):
            numbers, places = table.document, np.arange(first, first + len(table))
            is_there = (numbers >= 0) & (numbers < segment.n_documents)
            faults.note("is of a document that is not there", places[~is_there])
            is_behind = np.diff(numbers, prepend=np.int32(before)) < 0
            faults.note("comes after passages of a later document", places[is_behind])
            has_passage[numbers[is_there]] = True
            n_deleted += int(self._is_deleted[numbers[is_there]].sum())
            np.add.at(n_tokens, numbers[is_there], table.n_tokens[is_there])
            first, before = first + len(table), int(numbers[-1])
        without.note("has no passage", np.flatnonzero(~has_passage))
        yield from (*faults.problems(), *without.problems())
        for shard in segment.shards:
            own = slice(shard.first_document, shard.first_document + shard.n_documents)
            n_found = int(n_tokens[own].sum())
            if n_found != shard.n_tokens:
                what = f"shard {shard.id} has {n_found} tokens, and {shard.n_tokens} were written"
                yield Problem.of(path, what)
        n_wanted = segment.deletion.n_passages if segment.deletion else 0
        if n_deleted != n_wanted:
            what = f"segment {segment.id} has {n_deleted} deleted passages, not {n_wanted}"
            yield Problem.of(self._layout.manifest, what)

    def _check_spans(self, path: Path) -> Iterator[Problem]:
        """Passages against the texts that they are stretches of."""
        faults = Faults(path, "passage")
        for block in iterate_contents(self._layout, self._segment, ["__text"]):
            texts, rows = block.texts()
            start, end = block.passages.start, block.passages.end
            lengths = np.array([len(text) for text in texts], dtype=np.int64)[rows]
            is_inside = (start >= 0) & (start < end) & (end <= lengths)
            places = block.first_passage + np.arange(len(start))
            faults.note("lies outside its document's text", places[~is_inside])
            spans = zip(rows.tolist(), start.tolist(), end.tolist(), strict=True)
            hashes = hash_texts([texts[i][a:b] for i, a, b in spans])
            is_other = is_inside & (hashes != block.passages.hashes).any(1)
            faults.note("has another hash than its text", places[is_other])
        yield from faults.problems()

    def _check_vectors(self, path: Path) -> Iterator[Problem]:
        """Shape, type and size of the file; length of each vector."""
        n_bytes = NPY_HEADER_BYTES + 2 * self._segment.n_passages * self._width
        mapped = open_vectors(self._layout, self._segment, self._width)
        if path.stat().st_size != n_bytes or not mapped.flags.c_contiguous:
            yield Problem.of(path, f"it should have {n_bytes} bytes, one row after the other")
            return
        faults, first = Faults(path, "vector"), 0
        for half in iterate_vectors(self._layout, self._segment, self._width, BLOCK_ROWS):
            rows = half.astype(np.float32)
            lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            is_unit = np.abs(lengths - 1) <= UNIT_TOLERANCE  # which a NaN is not
            faults.note("is not finite or not of unit length", first + np.flatnonzero(~is_unit))
            first += len(rows)
        yield from faults.problems()

    def _check_checksums(self, path: Path) -> Iterator[Problem]:
        """Passages against their rows of the vectors."""
        faults, first = Faults(path, "passage"), 0
        checksums = vector_checksums(self._layout, self._segment)
        for half in iterate_vectors(self._layout, self._segment, self._width, BLOCK_ROWS):
            is_other = row_checksums(half) != checksums[first : first + len(half)]
            faults.note("has another checksum than its vector", first + np.flatnonzero(is_other))
            first += len(half)
        yield from faults.problems()
