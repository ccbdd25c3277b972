"""`embedder index`: bring an index up to date with its sources.

Running it again is how one resumes, updates and repairs: it compares the sources with the
manifest and does what is missing. A segment's id is a digest of what is in it, so nothing is
done twice, and a run that was killed and resumed ends byte-identical to one that was not.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedder.corpus import read_shards, shard_digest
from embedder.errors import EmbedderError, IndexMismatchError, OutputError, SourceError
from embedder.pipeline import run_ahead
from embedder.specs import Precision
from indexes.durable import TEMPORARY_PREFIX, FileRecord, record_file, replace_file
from indexes.faiss_index import build_generation
from indexes.lock import hold_lock, try_alone
from indexes.manifest import (
    Manifest,
    SegmentRecord,
    SourceRecord,
    check_index_files,
    read_manifest,
    write_manifest,
)
from indexes.metadata import MetadataStore
from indexes.segments import segment_id
from jobs.plan import BuildOptions, Plan, plan_build, read_before
from jobs.progress import Progress
from jobs.sink import SegmentSink, known_texts
from jobs.stream import cut_rows, encode_windows, gather_windows

QUEUE_BATCHES = 8
QUEUE_WINDOWS = 2


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """What a build did and what the index holds now.

    Args:
        index: the index folder.
        n_documents: documents in the index.
        n_passages: passages in the index.
        n_added: documents added by this run.
        n_removed: documents removed because the sources no longer hold them.
        n_encoded: passages that went through the encoder in this run.
        n_reused: passages whose text had a vector already.
        n_tokens: tokens encoded in this run.
        padding_share: share of the encoded positions that was padding.
        seconds: time of the run.
        counts: rows left out or defective, by reason, in the whole index.
        n_windowed: documents that became several passages.
        n_truncated: documents whose end was cut off.
        n_duplicate_ids: documents whose id an earlier document has.
        engine: what computed the vectors.
        structure: the FAISS structure.
    """

    index: str
    n_documents: int
    n_passages: int
    n_added: int
    n_removed: int
    n_encoded: int
    n_reused: int
    n_tokens: int
    padding_share: float
    seconds: float
    counts: dict[str, int]
    n_windowed: int
    n_truncated: int
    n_duplicate_ids: int
    engine: str
    structure: str

    @property
    def is_up_to_date(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.n_added or self.n_removed or self.n_encoded)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return {**asdict(self), "up_to_date": self.is_up_to_date}


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
    layout, is_new = plan.layout, not plan.layout.root.exists()
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        with hold_lock(layout.lock):
            try:
                return _Build(plan, options, progress, started).run()
            finally:
                if is_new and not layout.manifest.exists():
                    shutil.rmtree(layout.root, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{layout.root} cannot be written: {error.strerror or error}.",
            "Make room or choose another --out, and run the same command again: what was "
            "committed is kept.",
        ) from error


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

    def run(self) -> BuildSummary:
        """Encode what is missing, build the FAISS structure, commit."""
        self._clean()
        manifest = self._first_manifest()
        ids = self._segment_ids()
        done = {segment.id: segment for segment in manifest.segments}
        missing = [i for i, segment in enumerate(ids) if segment not in done]
        n_before = manifest.n_documents
        added = self._encode_missing(manifest, missing, ids)
        done |= {segment.id: segment for segment in added}
        final = self._finish(replace(manifest, segments=tuple(done[i] for i in ids)))
        self._clean()
        n_added = sum(segment.n_documents for segment in added)
        return self._summary(final, n_added, n_before + n_added - final.n_documents)

    def _clean(self) -> None:
        """Drop what no committed state needs: leftovers of killed runs and of earlier states.

        While somebody has the index open, what an earlier state needs is left for the next run.
        """
        committed = read_before(self._layout)
        used = {segment.id for segment in committed.segments} if committed else set()
        if committed and committed.generation:
            used.add(committed.generation.id)
        with try_alone(self._layout.readers) as is_alone:
            for path in self._leftovers():
                if path.name.startswith(TEMPORARY_PREFIX) or (is_alone and path.name not in used):
                    _remove(path)

    def _leftovers(self) -> Iterator[Path]:
        """What may be no longer needed: temporary files, segments and generations."""
        yield from self._layout.root.glob(f"{TEMPORARY_PREFIX}*")
        for folder in (self._layout.segments, self._layout.ann):
            if folder.is_dir():
                yield from folder.iterdir()

    def _first_manifest(self) -> Manifest:
        """The committed state, or that of an empty index, which is committed first."""
        plan, columns = self._plan, self._plan.corpus.columns
        before = read_before(self._layout)
        if before is not None:
            if (
                plan.before is None
                or before.encoder.fingerprint != plan.encoder.encoder.spec.fingerprint
            ):
                raise IndexMismatchError(
                    f"{self._layout.root} was changed by another process.",
                    "Run the same command again.",
                )
            return self._without_damaged(before)
        self._layout.segments.mkdir(exist_ok=True)
        manifest = Manifest(
            encoder=plan.encoder.encoder.spec,
            engine=plan.encoder.encoder.description,
            text=columns.text,
            id=columns.id,
            metadata=columns.metadata,
            chunking=plan.chunking,
            calibration=self._write_calibration(),
        )
        write_manifest(self._layout, manifest)
        return manifest

    def _write_calibration(self) -> FileRecord | None:
        if self._plan.encoder.encoder.spec.precision is not Precision.INT8:
            return None
        content = json.dumps(self._plan.calibration, ensure_ascii=False)
        replace_file(self._layout.calibration, content.encode())
        return record_file(self._layout.calibration)

    def _without_damaged(self, manifest: Manifest) -> Manifest:
        """The state without segments and structures whose files are not as they were written."""

        def is_whole(**parts: Any) -> bool:
            empty: dict[str, Any] = {"segments": (), "generation": None, "calibration": None}
            try:
                part = replace(manifest, **{**empty, **parts})
                check_index_files(self._layout, part, with_digests=True)
            except EmbedderError:
                return False
            return True

        kept = tuple(s for s in manifest.segments if is_whole(segments=(s,)))
        generation = manifest.generation if is_whole(generation=manifest.generation) else None
        return replace(manifest, segments=kept, generation=generation)

    def _segment_ids(self) -> list[str]:
        """Id of each shard's segment; equal shards of one corpus get ids of their own."""
        plan, spec = self._plan, self._plan.encoder.encoder.spec
        seen: Counter[str] = Counter()
        ids = []
        for shard in plan.shards:
            digest = shard_digest(shard, plan.corpus)
            ids.append(segment_id(digest, plan.chunking, spec, seen[digest]))
            seen[digest] += 1
        return ids

    def _encode_missing(
        self, manifest: Manifest, missing: Sequence[int], ids: Sequence[str]
    ) -> list[SegmentRecord]:
        """Stream the missing shards through the encoder into segments, committing as they end."""
        if not missing:
            return []
        plan, stop = self._plan, threading.Event()
        shards = [plan.shards[i] for i in missing]
        self._progress.start_stage("encoding", sum(shard.n_rows for shard in shards))
        rows = run_ahead(read_shards(shards, plan.corpus), QUEUE_BATCHES)
        cuts = run_ahead(cut_rows(rows, plan.encoder, plan.chunking), QUEUE_BATCHES)
        windows = encode_windows(
            gather_windows(cuts),
            plan.encoder,
            known_texts(self._layout, manifest),
            first_segment=len(manifest.segments),
            progress=self._progress,
            stop=stop,
        )
        encoded = run_ahead(windows, QUEUE_WINDOWS, stop)
        names = [ids[i] for i in missing]
        self._sink = SegmentSink(self._layout, manifest, names, self._progress)
        try:
            return self._sink.write(encoded)
        finally:
            encoded.close()

    def _finish(self, manifest: Manifest) -> Manifest:
        """Build the FAISS structure if it is not there, and commit the final state."""
        pa.default_memory_pool().release_unused()  # what reading and writing held is over
        self._progress.start_stage("building the FAISS structure")
        if manifest.n_documents == 0:
            raise SourceError("The sources hold no text any more.", "The index is kept as it was.")
        committed = read_manifest(self._layout)
        names = tuple(segment.id for segment in manifest.segments)
        generation = manifest.generation
        if generation is None or generation.segments != names:
            segments = manifest.segments
            generation = build_generation(
                self._layout, segments, self._width, exact_limit=self._options.exact_limit
            )
        store = MetadataStore(self._layout, manifest)
        final = replace(
            manifest,
            generation=generation,
            sources=tuple(
                SourceRecord(name=s.file.name, n_rows=s.metadata.num_rows, size=s.stamp[0])
                for s in self._plan.corpus.sources
            ),
            n_duplicate_ids=store.count_duplicate_ids(),
        )
        store.close()
        if final != committed:
            write_manifest(self._layout, final)
        return final

    def _summary(self, manifest: Manifest, n_added: int, n_removed: int) -> BuildSummary:
        progress = self._progress
        return BuildSummary(
            index=str(self._layout.root),
            n_documents=manifest.n_documents,
            n_passages=manifest.n_passages,
            n_added=n_added,
            n_removed=n_removed,
            n_encoded=self._sink.n_encoded if self._sink else 0,
            n_reused=self._sink.n_reused if self._sink else 0,
            n_tokens=progress.n_tokens,
            padding_share=progress.padding_share,
            seconds=time.monotonic() - self._started,
            counts=manifest.counts(),
            n_windowed=sum(segment.n_windowed for segment in manifest.segments),
            n_truncated=sum(segment.n_truncated for segment in manifest.segments),
            n_duplicate_ids=manifest.n_duplicate_ids,
            engine=self._plan.encoder.encoder.description,
            structure=manifest.generation.structure if manifest.generation else "",
        )


def _remove(path: Path) -> None:
    """Remove a file or folder; one that cannot be removed harms nobody."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
