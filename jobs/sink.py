"""Where a build's stream ends: vectors into segments, segments into the manifest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedder.records import Occurrences
from embedder.vectors import HalfRows
from indexes.deletions import DocumentNumbers, HashSet, document_keys, set_deleted
from indexes.documents import passage_documents, read_passages
from indexes.known_texts import KnownTexts, place, unpack
from indexes.layout import Layout
from indexes.manifest import Manifest, SegmentRecord
from indexes.manifest_file import write_manifest
from indexes.occurrences import read_occurrences
from indexes.segments import SegmentWriter, read_rows
from jobs.progress import Progress
from jobs.stream import CutRows, EncodedWindow

COMMIT_SECONDS = 1.0
"""Least time between two commits, so that many small shards do not mean many manifests."""

COMMIT_SHARE = 1 / 20
"""Most of the time that goes into commits, however large the manifest is."""


def known_texts(layout: Layout, segments: Sequence[SegmentRecord]) -> KnownTexts:
    """Texts that some segments have vectors for, by the segments' numbers."""
    known = KnownTexts()
    for number, segment in enumerate(segments):
        hashes = read_passages(layout, segment).hashes
        new = np.flatnonzero(known.find(hashes) < 0)
        _, first = np.unique(hashes[new], axis=0, return_index=True)
        rows = new[first]
        places = np.array([place(number, int(row)) for row in rows], dtype=np.int64)
        known.add(hashes[rows], places)
    return known


class SegmentSink:
    """Writes encoded windows, which arrive in the order of the shards, and commits.

    Args:
        layout: the index.
        manifest: the committed state, which the new segments are added to.
        whole: those of its segments whose files are as they were written.
        names: id of each shard's segment.
        excluded: documents that were deleted on request.
        progress: told of every batch of documents.
    """

    def __init__(
        self,
        layout: Layout,
        manifest: Manifest,
        whole: Sequence[SegmentRecord],
        names: Sequence[str],
        excluded: HashSet,
        progress: Progress,
    ) -> None:
        self._layout, self._manifest = layout, manifest
        self._names, self._excluded, self._progress = names, excluded, progress
        self._width = manifest.encoder.width
        self._first = len(whole)
        # Equal texts take their vector from where it lies, in a segment that may still grow.
        self._folders: dict[int, Path] = {
            number: layout.segment(segment.id) for number, segment in enumerate(whole)
        }
        self._dead: list[DocumentNumbers] = []
        self._writer: SegmentWriter | None = None
        self._forms: dict[int, str] = {}  # of the words in the segment that is being written
        self._added: list[SegmentRecord] = []
        self._n_committed = 0
        self._committed_at = time.monotonic()
        self._interval = COMMIT_SECONDS
        self.n_encoded = 0
        self.n_reused = 0

    def write(self, windows: Iterable[EncodedWindow]) -> list[SegmentRecord]:
        """Write all windows; what is complete is committed, however this ends."""
        try:
            for window in windows:
                self._write_window(window)
                if time.monotonic() - self._committed_at > self._interval:
                    self._commit()
        finally:
            if self._writer is not None:
                self._writer.discard()
            self._commit()
        return self._added

    def _write_window(self, window: EncodedWindow) -> None:
        vectors, new = self._half_rows(window), _new_occurrences(window)
        first = 0
        for cut in window.cuts:
            own = range(first, first + len(cut.pieces))
            occurrences = self._occurrences(window, new, own)
            self._write_cut(cut, vectors[own.start : own.stop], occurrences)
            first = own.stop

    def _write_cut(self, cut: CutRows, vectors: HalfRows, occurrences: Occurrences | None) -> None:
        rows = cut.rows
        if self._writer is None:
            self._writer = SegmentWriter(
                self._layout, self._names[rows.shard], self._width, self._manifest.basis
            )
        writer = self._writer
        writer.write(
            ids=rows.ids,
            texts=rows.texts,
            metadata=rows.metadata,
            passages=cut.table,
            vectors=vectors,
            n_windowed=cut.n_windowed,
            n_truncated=cut.n_truncated,
            counts=rows.counts,
            occurrences=occurrences,
        )
        for found in cut.words or ():
            self._forms.update(zip(found.records["word"].tolist(), found.forms, strict=True))
        self._note_excluded(cut, writer.n_documents - len(rows.ids))
        if rows.is_last:
            segment = writer.publish(forms=self._forms)
            self._writer, self._forms = None, {}
            self._added.append(self._without_excluded(segment))
        self._folders[self._first + rows.shard] = writer.folder
        self._progress.count_documents(rows.n_rows)

    def _note_excluded(self, cut: CutRows, first: int) -> None:
        if len(self._excluded):
            keys = document_keys(cut.rows.ids, cut.rows.texts)
            self._dead.append(np.flatnonzero(self._excluded.holds(keys)) + first)

    def _without_excluded(self, segment: SegmentRecord) -> SegmentRecord:
        """A new segment, in which what was deleted before is deleted at once."""
        dead, self._dead = self._dead, []
        if not any(len(numbers) for numbers in dead):
            return segment
        document_of = passage_documents(self._layout, segment)
        return set_deleted(self._layout, segment, np.concatenate(dead), document_of)

    def _commit(self) -> None:
        """Add what is complete; a segment that was damaged gets its place back."""
        if len(self._added) == self._n_committed:
            return
        segments = {segment.id: segment for segment in self._manifest.segments}
        segments |= {segment.id: segment for segment in self._added}
        started = time.monotonic()
        write_manifest(self._layout, replace(self._manifest, segments=tuple(segments.values())))
        self._n_committed, self._committed_at = len(self._added), time.monotonic()
        self._interval = max(COMMIT_SECONDS, (self._committed_at - started) / COMMIT_SHARE)

    @property
    def _n_components(self) -> int:
        return self._manifest.basis.n_components if self._manifest.basis else 0

    def _occurrences(
        self, window: EncodedWindow, new: Mapping[int, Occurrences], numbers: range
    ) -> Occurrences | None:
        """Of the passages with these numbers in a window: new ones, and those of equal texts.

        A finished segment has a sample of them only, so what another segment holds is taken from
        there and not from memory: a run that was killed in between can do no other.
        """
        if self._manifest.basis is None:
            return None
        segments, rows = unpack(window.sources)
        parts = []
        for number in numbers:
            segment, row = int(segments[number]), int(rows[number])
            source = int(window.copies[number])
            if source in new and (source in numbers or self._is_growing(segment)):
                parts.append(new[source])
            else:
                parts.append(read_occurrences(self._folders[segment], [row], self._n_components))
        return Occurrences.join(parts, self._n_components)

    def _is_growing(self, segment: int) -> bool:
        folder = self._folders.get(segment)
        return self._writer is not None and folder == self._writer.folder

    def _half_rows(self, window: EncodedWindow) -> HalfRows:
        """Vectors of a window's passages: the new ones, and those that lie in segments already."""
        places, vectors = window.places, window.vectors
        half = np.empty((len(places), self._width), dtype=np.float16)
        half[vectors.ids] = vectors.rows.astype(np.float16)
        is_known = places >= 0
        segments, rows = unpack(places)
        for number in np.unique(segments[is_known]):
            chosen = np.flatnonzero(is_known & (segments == number))
            half[chosen] = read_rows(self._folders[int(number)], rows[chosen].tolist(), self._width)
        half[~is_known] = half[window.copies[~is_known]]
        self.n_encoded += len(vectors)
        self.n_reused += len(places) - len(vectors)
        return half


def _new_occurrences(window: EncodedWindow) -> dict[int, Occurrences]:
    """Of each passage that was encoded for a window, by its number there."""
    if window.codes is None:
        return {}
    words = [found for cut in window.cuts for found in cut.words or ()]
    found: dict[int, Occurrences] = {}
    for number, codes in zip(window.vectors.ids.tolist(), window.codes, strict=True):
        records = words[number].records
        found[number] = Occurrences(np.array([len(records)], np.int64), records, codes)
    return found
