"""`embedder compact`: what is deleted goes from the disk, and small segments become one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from indexes.compaction import merge_segments, plan_compaction
from indexes.deletions import read_excluded
from indexes.generation_builder import build_generation
from indexes.generations import plan_generations
from indexes.layout import Layout
from indexes.manifest import GenerationRecord, Manifest, SegmentRecord
from indexes.manifest_file import read_manifest
from indexes.structures import EXACT_LIMIT
from jobs.induction import update_senses
from jobs.progress import Progress
from jobs.writing import commit, read_whole, writing


@dataclass(frozen=True, kw_only=True)
class CompactSummary:
    """What compaction did.

    Args:
        index: the index folder.
        n_segments_before: segments before.
        n_segments: segments now.
        n_dropped: deleted documents that took room until now.
        bytes_before: bytes on disk before.
        bytes: bytes on disk now.
    """

    index: str
    n_segments_before: int
    n_segments: int
    n_dropped: int
    bytes_before: int
    bytes: int

    @property
    def is_changed(self) -> bool:
        """Whether there was anything to do."""
        return self.n_segments != self.n_segments_before or self.n_dropped > 0

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return {**asdict(self), "is_changed": self.is_changed}


def compact_index(
    layout: Layout,
    progress: Progress | None = None,
    *,
    threads: int | None = None,
    exact_limit: int = EXACT_LIMIT,
) -> CompactSummary:
    """Rewrite what holds deleted documents, merge small segments, and build FAISS over them.

    Nothing is encoded again. Readers go on with what they have open.

    Args:
        layout: the index.
        progress: told of what happens; silent by default.
        threads: cores to group words on; all when None.
        exact_limit: most passages for which the FAISS structure is exact.

    Raises:
        IndexNotFoundError: there is no index.
        IndexFormatError: a file is damaged; nothing is changed.
        RequestError: a run of `embedder index` has not finished.
    """
    progress = progress or Progress()
    read_manifest(layout)
    with writing(layout):
        progress.start_stage("checking")
        before = read_whole(layout)
        after = _compacted(layout, before, progress)
        if after.segments != before.segments:
            after = _with_generations(layout, after, progress, exact_limit)
            if after.basis:
                senses = update_senses(
                    layout,
                    after.segments,
                    after.basis,
                    after.senses,
                    progress,
                    n_cores=threads,
                )
                after = replace(after, senses=senses)
            after = commit(layout, after, "compact")
    return CompactSummary(
        index=str(layout.root),
        n_segments_before=len(before.segments),
        n_segments=len(after.segments),
        n_dropped=_n_dead(before) - _n_dead(after),
        bytes_before=before.n_bytes,
        bytes=after.n_bytes,
    )


def _compacted(layout: Layout, manifest: Manifest, progress: Progress) -> Manifest:
    progress.start_stage("merging segments", manifest.n_documents)
    segments: list[SegmentRecord] = []
    excluded = read_excluded(layout, manifest)
    for run in plan_compaction(layout, manifest.segments):
        segments.append(
            merge_segments(layout, run, manifest.encoder.width, excluded, manifest.basis)
        )
        progress.count_documents(segments[-1].n_documents)
    return replace(manifest, segments=tuple(segments), n_settled=len(segments))


def _with_generations(
    layout: Layout, manifest: Manifest, progress: Progress, exact_limit: int
) -> Manifest:
    wanted = plan_generations(manifest.generations, manifest.segments, exact_limit=exact_limit)
    progress.start_stage("building the FAISS structure", unit="vectors")
    width, contract = manifest.encoder.width, manifest.contract
    generations = tuple(
        item
        if isinstance(item, GenerationRecord)
        else build_generation(
            layout, item, width, contract, exact_limit=exact_limit, progress=progress.reach
        )
        for item in wanted
    )
    return replace(manifest, generations=generations)


def _n_dead(manifest: Manifest) -> int:
    return sum(segment.n_documents - segment.n_live_documents for segment in manifest.segments)
