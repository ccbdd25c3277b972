"""`embedder index`: bring an index up to date with its sources.

Running it again is how one resumes, updates and repairs: it compares the sources with the
manifest and does what is missing. A segment's id is a digest of what is in it, so nothing is
done twice, and a run that was killed and resumed ends byte-identical to one that was not.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
from threadpoolctl import threadpool_limits

from embedder.corpus import all_columns, read_shards
from embedder.errors import EmbedderError, IndexFormatError, IndexMismatchError, SourceError
from embedder.pipeline import run_ahead
from embedder.specs import Precision
from indexes.deletions import NO_KEYS, read_deleted, read_excluded, read_keys, write_excluded
from indexes.durable import FileRecord, record_file, replace_file
from indexes.generation_builder import build_generation
from indexes.generations import plan_generations
from indexes.manifest import (
    GenerationRecord,
    Manifest,
    SegmentRecord,
    SenseBasis,
    SenseRecord,
    SourceRecord,
    StructureKind,
)
from indexes.manifest_file import check_index_files, read_manifest, write_manifest
from indexes.metadata import MetadataStore
from indexes.structures import ALWAYS_EXACT
from jobs.changes import compare, count_changes, shard_ids
from jobs.induction import update_senses
from jobs.plan import BuildOptions, Plan, plan_build, read_before, sample_texts
from jobs.progress import Progress
from jobs.sense_basis import FUNCTION_WORD_TEXTS, Basis, make_basis, open_basis
from jobs.settle import exclude, restore, settle, without_shards
from jobs.sink import SegmentSink, known_texts
from jobs.source_labels import source_records
from jobs.stream import (
    NOTHING_ENCODED,
    EncodedPassages,
    cut_rows,
    encode_windows,
    gather_windows,
)
from jobs.summary import BuildSummary
from jobs.writing import commit, writing

QUEUE_BATCHES = 8
QUEUE_WINDOWS = 2
NOTHING: dict[str, Any] = {
    "segments": (),
    "generations": (),
    "calibration": None,
    "excluded": None,
    "basis": None,
    "senses": None,
}
"""A manifest without the parts whose files are looked at one by one."""


def build_index(options: BuildOptions, progress: Progress | None = None) -> BuildSummary:
    """Build an index, resume one, or bring one up to date.

    Args:
        options: what, where and how.
        progress: told of what happens; silent by default.

    Raises:
        EmbedderError: see the subclasses. Whatever was committed before stays as it is.
    """
    progress = progress or Progress()
    started = time.monotonic()
    progress.start_stage("opening")
    plan = plan_build(options)
    with writing(plan.layout):
        return _Build(plan, options, progress, started).run()


class _Build:
    """One run of a planned build, under the lock."""

    def __init__(
        self, plan: Plan, options: BuildOptions, progress: Progress, started: float
    ) -> None:
        self._plan, self._options = plan, options
        self._progress, self._started = progress, started
        self._layout = plan.layout
        self._width = plan.encoder.encoder.spec.width
        self._sink: SegmentSink | None = None
        self._basis: Basis | None = None
        self._encoded: EncodedPassages = NOTHING_ENCODED  # for the basis
        self._whole_ids: set[str] = set()
        self._excluded = NO_KEYS  # documents that were deleted on request and stay out
        self._excluded_file: tuple[str, FileRecord] | None = None
        self._is_changed = False
        self._n_added = self._n_removed = self._n_written = 0

    def run(self) -> BuildSummary:
        """Encode what is missing, build the FAISS structures, commit."""
        manifest = self._first_manifest()
        if manifest.basis:
            self._basis = self._open_basis(manifest.basis)
        if no_ids := self._plan.corpus.columns.no_ids:
            self._progress.note(
                "Ids are made of file and row: an id is text or a whole number, unlike "
                f"{', '.join(no_ids)}."
            )
        if new := self._new_columns(manifest):
            self._progress.note(
                f"Left out: {', '.join(new)}. The index was built without; to have "
                f"{'it' if len(new) == 1 else 'them'}, build it anew with another --out."
            )
        self._progress.start_stage("comparing the sources with the index")
        ids = shard_ids(self._plan)
        whole = self._whole_segments(manifest, ids)
        changes = compare(self._plan.shards, ids, whole, keeps_gone=self._options.add)
        for line in changes.lines() if manifest.segments else ():
            self._progress.note(line)
        added = self._encode_missing(manifest, whole, changes.missing, ids)
        self._n_written = sum(segment.n_documents for segment in added)
        segments = settle(self._layout, [*whole, *added], ids, keeps_gone=self._options.add)
        final = self._finish(manifest, segments)
        return self._summary(final)

    def _new_columns(self, manifest: Manifest) -> list[str]:
        """Columns that an index with all that there were would have if it were built now."""
        known = {manifest.text, manifest.id, *manifest.metadata}
        is_asked = self._options.columns.metadata is not None
        there = () if is_asked or not manifest.has_all_columns else self._plan.corpus.sources
        return [name for name in all_columns(there) if name not in known]

    def _first_manifest(self) -> Manifest:
        """The committed state, or that of an empty index, which is committed first."""
        plan, columns = self._plan, self._plan.corpus.columns
        before = read_before(self._layout)
        if before is not None:
            made_with = (before.encoder.fingerprint, before.chunking, before.text, before.id)
            now = (plan.encoder.encoder.spec.fingerprint, plan.chunking, columns.text, columns.id)
            if plan.before is None or made_with != now or before.metadata != columns.metadata:
                raise IndexMismatchError(
                    f"{self._layout.root} was changed by another process.",
                    "Run the same command again.",
                )
            return before
        self._layout.segments.mkdir(exist_ok=True)
        manifest = Manifest(
            encoder=plan.encoder.encoder.spec,
            engine=plan.encoder.encoder.description,
            text=columns.text,
            id=columns.id,
            metadata=columns.metadata,
            has_all_columns=self._options.columns.metadata is None,
            chunking=plan.chunking,
            contract=plan.contract,
            calibration=self._write_calibration(),
            basis=self._make_basis(),
            # Whatever is named if this run is killed, the labels of its files are taken.
            sources=source_records(self._layout, plan.corpus.sources, (), are_kept=False),
        )
        write_manifest(self._layout, manifest)
        return manifest

    def _make_basis(self) -> SenseBasis | None:
        plan = self._plan
        if not plan.most_uses:
            return None
        self._progress.start_stage("looking at the words of a sample")
        texts = sample_texts(plan.corpus, plan.shards, FUNCTION_WORD_TEXTS)
        record, self._encoded = make_basis(
            self._layout, plan.encoder, plan.chunking, texts, plan.most_uses, self._progress
        )
        return record

    def _open_basis(self, record: SenseBasis) -> Basis:
        """What the codes of occurrences rest on; where it is damaged the sources may give it again.

        Raises:
            IndexFormatError: it is damaged, and they give another one.
        """
        try:
            return open_basis(self._layout, record)
        except IndexFormatError as error:
            if self._make_basis() != record:
                raise IndexFormatError(
                    f"{error.message} All vectors of words rest on it, and these sources do not "
                    "give the same again.",
                    "Name the sources that the index was built from at first, restore the file "
                    f"from a copy, or remove {self._layout.root} and build it anew.",
                ) from error
            self._progress.note(f"{error.message} The sources gave the same again.")
            return open_basis(self._layout, record)

    def _write_calibration(self) -> FileRecord | None:
        if self._plan.encoder.encoder.spec.precision is not Precision.INT8:
            return None
        content = json.dumps(self._plan.calibration, ensure_ascii=False)
        replace_file(self._layout.calibration, content.encode())
        return record_file(self._layout.calibration)

    def _whole_segments(self, manifest: Manifest, ids: Sequence[str]) -> list[SegmentRecord]:
        """The committed segments whose files are as they were written, as the run starts.

        Raises:
            IndexFormatError: one is damaged, and the sources do not hold what is lost with it.
        """
        whole, wanted = [], set(ids)
        for number, segment in enumerate(manifest.segments):
            is_settled = number < manifest.n_settled or not manifest.n_settled
            damage = self._damage(replace(manifest, **{**NOTHING, "segments": (segment,)}))
            if damage is None and (is_settled or any(s.id in wanted for s in segment.shards)):
                whole.append(segment)
            elif damage and self._options.add and any(s.id not in wanted for s in segment.shards):
                raise IndexFormatError(
                    f"{damage.message} The sources named do not hold all of its documents.",
                    "Name their sources too, or leave --add out to let them go.",
                )
        self._whole_ids = {segment.id for segment in whole}
        return self._restored(whole, manifest, wanted)

    def _restored(
        self, whole: Sequence[SegmentRecord], manifest: Manifest, wanted: set[str]
    ) -> list[SegmentRecord]:
        """Segments with each shard once, and the documents of the sources that are not deleted.

        A run that was cut off may have read a shard again that an earlier segment holds.
        """
        self._read_excluded(manifest, whole)
        excluded, layout = self._excluded, self._layout
        settled = {segment.id for segment in manifest.segments[: manifest.n_settled]}
        found: list[SegmentRecord] = []
        seen: set[str] = set()
        for segment in reversed(whole):
            again = {shard.id for shard in segment.shards} & seen
            if again:
                segment = without_shards(layout, segment, again)
            segment = restore(layout, segment, wanted, excluded)
            if segment.id not in settled:
                segment = exclude(layout, segment, excluded)
            seen |= {shard.id for shard in segment.shards}
            found.append(segment)
        return found[::-1]

    def _damage(self, part: Manifest) -> EmbedderError | None:
        """What is wrong with the files that a part of the manifest names."""
        try:
            check_index_files(self._layout, part, with_digests=True)
        except EmbedderError as error:
            return error
        return None

    def _whole_generations(self, manifest: Manifest) -> list[GenerationRecord]:
        """The FAISS structures that keep the contract and are as they were written."""
        if manifest.contract != self._plan.contract:
            return []
        return [
            generation
            for generation in manifest.generations
            if self._damage(replace(manifest, **{**NOTHING, "generations": (generation,)})) is None
        ]

    def _encode_missing(
        self,
        manifest: Manifest,
        whole: Sequence[SegmentRecord],
        missing: Sequence[int],
        ids: Sequence[str],
    ) -> list[SegmentRecord]:
        """Stream the missing shards through the encoder into segments, committing as they end."""
        if not missing:
            return []
        plan, basis, stop = self._plan, self._basis, threading.Event()
        shards = [plan.shards[i] for i in missing]
        self._progress.start_stage("encoding", sum(shard.n_rows for shard in shards))
        rows = run_ahead(read_shards(shards, plan.corpus), QUEUE_BATCHES)
        cuts = run_ahead(
            cut_rows(rows, plan.encoder, plan.chunking, basis.finder if basis else None),
            QUEUE_BATCHES,
        )
        windows = encode_windows(
            gather_windows(cuts),
            plan.encoder,
            known_texts(self._layout, whole),
            basis.projection if basis else None,
            self._encoded,
            first_segment=len(whole),
            progress=self._progress,
            stop=stop,
        )
        encoded = run_ahead(windows, QUEUE_WINDOWS, stop)
        names = [ids[i] for i in missing]
        committed = replace(manifest, engine=plan.encoder.encoder.description)
        self._sink = SegmentSink(
            self._layout,
            committed,
            whole,
            names,
            self._excluded,
            self._progress,
        )
        try:
            # Small products of matrices between batches: threads for them would only wait for
            # each other, and stand in the way of the encoder's.
            with threadpool_limits(1, user_api="blas"):
                return self._sink.write(encoded)
        finally:
            encoded.close()

    def _read_excluded(self, manifest: Manifest, whole: Sequence[SegmentRecord]) -> None:
        """What was deleted on request; where that cannot be read, all that is deleted."""
        if self._options.undelete:
            return
        self._excluded_file = manifest.excluded
        try:
            self._excluded = read_excluded(self._layout, manifest)
        except IndexFormatError as error:
            layout = self._layout
            keys = [read_keys(layout, s, read_deleted(layout, s)) for s in whole]
            self._excluded = NO_KEYS.union(*keys)
            self._excluded_file = write_excluded(layout, self._excluded)
            self._progress.note(
                f"{error.message} What is deleted in the index stays out; what was deleted before "
                "embedder compact or before its source changed can come back, and has to be "
                "deleted again."
            )

    def _finish(self, manifest: Manifest, segments: tuple[SegmentRecord, ...]) -> Manifest:
        """Build the FAISS structures that are not there, and commit the final state."""
        pa.default_memory_pool().release_unused()  # what reading and writing held is over
        shards = [shard for segment in segments for shard in segment.shards]
        if not any(s.n_documents + s.n_dropped + s.n_replaced for s in shards):
            raise SourceError("The sources hold no text any more.", "The index is kept as it was.")
        final = replace(
            manifest,
            contract=self._plan.contract,
            segments=segments,
            n_settled=len(segments),
            generations=self._generations(manifest, segments),
            senses=self._senses(manifest, segments),
            sources=self._sources(manifest),
            excluded=self._excluded_file,
            engine=self._engine(manifest),
        )
        if segments != manifest.segments or len(segments) != manifest.n_settled:
            store = MetadataStore(self._layout, final)
            final = replace(final, n_duplicate_ids=store.count_duplicate_ids())
            store.close()
        if final == read_manifest(self._layout):
            return final
        self._n_added, self._n_removed = count_changes(
            self._layout, manifest, final, self._whole_ids
        )
        self._is_changed = True
        return commit(
            self._layout, final, "index", n_added=self._n_added, n_removed=self._n_removed
        )

    def _engine(self, manifest: Manifest) -> str:
        """What computed the vectors last."""
        return self._plan.encoder.encoder.description if self._sink else manifest.engine

    def _generations(
        self, manifest: Manifest, segments: Sequence[SegmentRecord]
    ) -> tuple[GenerationRecord, ...]:
        existing = self._whole_generations(manifest)
        wanted = plan_generations(existing, segments, exact_limit=self._options.exact_limit)
        if any(not isinstance(item, GenerationRecord) for item in wanted):
            self._progress.start_stage("building the FAISS structure", unit="vectors")
            self._note_structure(segments)
        limit = self._options.exact_limit
        return tuple(
            item
            if isinstance(item, GenerationRecord)
            else build_generation(
                self._layout,
                item,
                self._width,
                self._plan.contract,
                exact_limit=limit,
                progress=self._progress.reach,
            )
            for item in wanted
        )

    def _senses(self, manifest: Manifest, segments: Sequence[SegmentRecord]) -> SenseRecord | None:
        if manifest.basis is None:
            return None
        return update_senses(
            self._layout,
            segments,
            manifest.basis,
            manifest.senses,
            self._progress,
            n_cores=self._options.encoder.threads,
        )

    def _note_structure(self, segments: Sequence[SegmentRecord]) -> None:
        """Say that the structure asked for is not built over so few vectors."""
        kind, n_passages = self._plan.contract.structure, sum(s.n_passages for s in segments)
        if kind not in (StructureKind.AUTO, StructureKind.FLAT) and n_passages <= ALWAYS_EXACT:
            self._progress.note(
                f"--structure {kind} is built once there are more than {ALWAYS_EXACT:,} passages; "
                f"these {n_passages:,} are scanned exactly"
            )

    def _sources(self, manifest: Manifest) -> tuple[SourceRecord, ...]:
        """The files named now; with --add those of earlier runs stay."""
        return source_records(
            self._layout, self._plan.corpus.sources, manifest.sources, are_kept=self._options.add
        )

    def _summary(self, manifest: Manifest) -> BuildSummary:
        progress = self._progress
        return BuildSummary(
            index=str(self._layout.root),
            n_documents=manifest.n_documents,
            n_passages=manifest.n_passages,
            n_added=self._n_added,
            n_written=self._n_written,
            n_removed=self._n_removed,
            is_changed=self._is_changed,
            n_deleted=sum(s.n_documents - s.n_live_documents for s in manifest.segments),
            n_encoded=self._sink.n_encoded if self._sink else 0,
            n_reused=self._sink.n_reused if self._sink else 0,
            n_tokens=progress.n_tokens,
            padding_share=progress.padding_share,
            seconds=time.monotonic() - self._started,
            counts=manifest.counts(),
            n_windowed=manifest.n_windowed,
            n_truncated=manifest.n_truncated,
            n_duplicate_ids=manifest.n_duplicate_ids,
            engine=self._plan.encoder.encoder.description,
            structures=tuple(generation.structure for generation in manifest.generations),
            is_exact=not any(generation.efforts for generation in manifest.generations),
            recall=min((generation.recall for generation in manifest.generations), default=1.0),
            n_words=manifest.senses.n_words if manifest.senses else 0,
            n_senses=manifest.senses.n_senses if manifest.senses else 0,
        )
