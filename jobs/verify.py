"""`embedder verify`: reads an index from end to end and says all that is wrong with it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedder.errors import EmbedderError, IndexFormatError, IndexNotFoundError
from embedder.words import word_form
from indexes.faiss_check import check_generation
from indexes.layout import DOCUMENTS_FILE, Layout
from indexes.leftovers import Leftover, find_leftovers
from indexes.lock import hold_open
from indexes.manifest import Manifest, SegmentRecord
from indexes.manifest_check import (
    check_calibration,
    check_excluded,
    check_manifest,
    check_named_files,
)
from indexes.manifest_file import named_files, read_manifest
from indexes.metadata import MetadataStore
from indexes.problems import REBUILD, Problem
from indexes.recall import MeasuredRecall, measure_recall
from indexes.segment_check import SegmentCheck
from indexes.sense_check import check_basis, check_inventory
from jobs.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found in an index.

    Args:
        index: the index folder.
        problems: all that is wrong with it.
        leftovers: what lies in its folder and is no part of it, which harms nobody.
        is_finished: whether the last run of `embedder index` has finished.
        n_files: files that the manifest names.
        n_bytes: what was written into them.
        n_segments: segments.
        n_documents: documents that are stored, those deleted since included.
        n_passages: passages that are stored.
        n_vectors: vectors in FAISS structures.
        n_occurrences: uses of words that are stored.
        recall: recall of search, if it was measured.
        seconds: time that it took.
    """

    index: str
    problems: tuple[Problem, ...]
    leftovers: tuple[Leftover, ...] = ()
    is_finished: bool = True
    n_files: int = 0
    n_bytes: int = 0
    n_segments: int = 0
    n_documents: int = 0
    n_passages: int = 0
    n_vectors: int = 0
    n_occurrences: int = 0
    recall: MeasuredRecall | None = None
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong with the files."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        recall = self.recall.to_json() if self.recall else None
        return {"is_whole": self.is_whole, **asdict(self), "recall": recall}


def verify_index(
    layout: Layout, progress: Progress | None = None, *, with_recall: bool = False
) -> Report:
    """Read everything that an index holds and compare its parts, in bounded memory.

    Args:
        layout: the index.
        progress: told of what happens; silent by default.
        with_recall: measure the recall of search too, unless something is wrong.

    Raises:
        IndexNotFoundError: there is no index.
    """
    started = time.monotonic()
    with hold_open(layout.readers):
        try:
            manifest = read_manifest(layout)
        except (IndexFormatError, IndexNotFoundError) as error:
            problem = _manifest_problem(layout, error)
            return Report(index=str(layout.root), problems=(problem,))
        run = _Verification(layout, manifest, progress or Progress())
        return run.report(started, with_recall=with_recall)


def _manifest_problem(layout: Layout, error: EmbedderError) -> Problem:
    if not isinstance(error, IndexNotFoundError):
        return Problem.of_error(layout.manifest, error)
    if not layout.segments.is_dir():
        raise error
    repair = f"{REBUILD} Or restore the file from a copy."
    return Problem(str(layout.manifest), f"{layout.manifest} is missing.", repair)


class _Verification:
    """One look at a committed state, which stays as it is meanwhile."""

    def __init__(self, layout: Layout, manifest: Manifest, progress: Progress) -> None:
        self._layout, self._manifest, self._progress = layout, manifest, progress
        self._problems: list[Problem] = []
        self._damaged: set[str] = set()  # their files
        self._n_stored = sum(segment.n_documents for segment in manifest.segments)

    def report(self, started: float, *, with_recall: bool) -> Report:
        """Look at everything; what lies in a damaged file is not looked at any further."""
        layout, manifest, recall = self._layout, self._manifest, None
        self._add(check_manifest(layout, manifest))
        self._check_files()
        self._check_segments()
        self._check_ids()
        self._check_generations()
        self._check_senses()
        if with_recall and not self._problems:
            self._progress.start_stage("measuring recall")
            recall = measure_recall(layout, manifest.finished())
        named = [r for _, records in named_files(layout, manifest) for r in records.values()]
        return Report(
            index=str(layout.root),
            problems=tuple(self._problems),
            leftovers=tuple(find_leftovers(layout, manifest)),
            is_finished=manifest.is_finished,
            n_files=len(named),
            n_bytes=sum(record.size for record in named),
            n_segments=len(manifest.segments),
            n_documents=self._n_stored,
            n_passages=sum(segment.n_passages for segment in manifest.segments),
            n_vectors=sum(record.n_vectors for record in manifest.generations),
            n_occurrences=sum(segment.n_occurrences for segment in manifest.segments),
            recall=recall,
            seconds=time.monotonic() - started,
        )

    def _check_files(self) -> None:
        """Every file has its size and digest; small ones of no segment are looked into."""
        layout, manifest = self._layout, self._manifest
        self._progress.start_stage("comparing digests", self._n_stored)
        n_documents = {layout.segment(s.id): s.n_documents for s in manifest.segments}
        for folder, records in named_files(layout, manifest):
            self._add(check_named_files(layout, folder, records))
            self._progress.count_documents(n_documents.get(folder, 0))
        if self._is_whole(layout.calibration):
            self._add(check_calibration(layout, manifest))
        if manifest.excluded and self._is_whole(layout.deleted / manifest.excluded[0]):
            self._add(check_excluded(layout, manifest))

    def _check_segments(self) -> None:
        self._progress.start_stage("reading segments", self._n_stored)
        for segment in self._manifest.segments:
            if self._is_segment_whole(segment):
                width, basis = self._manifest.encoder.width, self._manifest.basis
                check = SegmentCheck(self._layout, segment, width, basis, word_form)
                self._add(check.problems())
            self._progress.count_documents(segment.n_documents)

    def _add(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self._problems.append(problem)
            self._damaged.add(problem.file)

    def _check_ids(self) -> None:
        """The number of duplicate ids, which a run that has not finished leaves as it was."""
        layout, manifest = self._layout, self._manifest
        are_whole = all(map(self._is_readable, manifest.segments))
        if not manifest.is_finished or not are_whole:
            return
        self._progress.start_stage("comparing ids")
        try:
            with contextlib.closing(MetadataStore(layout, manifest)) as store:
                n_duplicates = store.count_duplicate_ids()
        except IndexFormatError as error:
            self._add([Problem.of_error(layout.segments, error)])
            return
        if n_duplicates != manifest.n_duplicate_ids:
            what = f"{manifest.n_duplicate_ids} duplicate ids, and there are {n_duplicates}"
            self._add([Problem.of(layout.manifest, f"it counts {what}")])

    def _check_generations(self) -> None:
        """FAISS structures whose segments are whole."""
        layout, manifest = self._layout, self._manifest
        damaged = {s.id for s in manifest.segments if not self._is_segment_whole(s)}
        for record in manifest.generations:
            self._progress.start_stage(f"comparing {record.structure} with the segments")
            files = [layout.generation(record.id) / name for name in record.files]
            if self._is_whole(*files) and damaged.isdisjoint(record.segments):
                self._add(check_generation(layout, manifest, record))

    def _check_senses(self) -> None:
        """The sense inventory, whose segments are whole, and what it rests on."""
        layout, manifest = self._layout, self._manifest
        basis, senses = manifest.basis, manifest.senses
        if basis is None:
            return
        if self._is_whole(*map(layout.sense_folder(basis.id).joinpath, basis.files)):
            self._add(check_basis(layout, basis, manifest.encoder.width))
        if senses is None:
            return
        self._progress.start_stage("comparing senses with the segments")
        are_whole = all(map(self._is_segment_whole, manifest.segments))
        if are_whole and self._is_whole(
            *map(layout.sense_folder(senses.id).joinpath, senses.files)
        ):
            self._add(check_inventory(layout, manifest, senses))

    def _is_segment_whole(self, segment: SegmentRecord) -> bool:
        """Whether nothing was found yet in a segment's files."""
        folder = self._layout.segment(segment.id)
        return self._is_readable(segment) and self._is_whole(*map(folder.joinpath, segment.files))

    def _is_readable(self, segment: SegmentRecord) -> bool:
        """Whether a segment's documents and deletions are there as they were written."""
        files = [self._layout.segment(segment.id) / DOCUMENTS_FILE]
        if segment.deletion:
            files.append(self._layout.deleted / segment.deletion.name)
        return self._is_whole(*files)

    def _is_whole(self, *files: Path) -> bool:
        return self._damaged.isdisjoint(map(str, files))
