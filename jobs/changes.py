"""What an update changes: the sources' shards against those that the index holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from embedder.corpus import Shard, shard_digest
from indexes.deletions import read_deleted
from indexes.layout import Layout
from indexes.manifest import Manifest, SegmentRecord
from indexes.metadata import MetadataStore
from indexes.segments import segment_id
from jobs.figures import plural
from jobs.plan import Plan


@dataclass(frozen=True)
class Changes:
    """The sources against the index, before anything is done.

    Args:
        missing: numbers of the shards that the index does not hold.
        n_rows_missing: their rows.
        n_unchanged: shards that it holds.
        new_files: files with missing shards, with their missing rows.
        n_gone: documents of shards that the sources do not hold any more.
        keeps_gone: whether those stay.
    """

    missing: tuple[int, ...]
    n_rows_missing: int
    n_unchanged: int
    new_files: dict[str, int]
    n_gone: int
    keeps_gone: bool

    def lines(self) -> list[str]:
        """For people: what will be done; nothing for a new index."""
        lines = []
        if self.missing:
            files = [f"{name} ({plural(n, 'row')})" for name, n in self.new_files.items()]
            more = f" and {plural(len(files) - 3, 'more file')}" if len(files) > 3 else ""
            groups = plural(self.n_unchanged, "row group")
            are = "is as it was" if self.n_unchanged == 1 else "are as they were"
            rest = f"; {groups} {are}" if self.n_unchanged else ""
            lines.append(f"to add: {', '.join(files[:3])}{more}{rest}")
        if self.n_gone and self.keeps_gone:
            lines.append(
                f"not in these sources: {plural(self.n_gone, 'document')}, which stay unless "
                "one with their id comes (--add)"
            )
        elif self.n_gone:
            lines.append(
                f"to compare or remove: {plural(self.n_gone, 'document')} of row groups that have "
                "changed or are gone; what is the same in both is kept"
            )
        return lines


def shard_ids(plan: Plan) -> list[str]:
    """Id of each shard of a build's sources; equal shards of one corpus get ids of their own."""
    spec = plan.encoder.encoder.spec
    seen: Counter[str] = Counter()
    ids = []
    for shard in plan.shards:
        digest = shard_digest(shard, plan.corpus)
        ids.append(segment_id(digest, plan.chunking, spec, seen[digest]))
        seen[digest] += 1
    return ids


def compare(
    shards: Sequence[Shard],
    ids: Sequence[str],
    segments: Sequence[SegmentRecord],
    *,
    keeps_gone: bool,
) -> Changes:
    """What has to be done to bring segments up to date.

    Args:
        shards: the sources.
        ids: id of each shard.
        segments: what the index holds, whole.
        keeps_gone: whether documents that the sources do not hold stay.
    """
    held = [shard for segment in segments for shard in segment.shards]
    names = {shard.id for shard in held}
    missing = tuple(number for number, name in enumerate(ids) if name not in names)
    files: dict[str, int] = {}
    for number in missing:
        name = shards[number].source.file.name
        files[name] = files.get(name, 0) + shards[number].n_rows
    wanted = set(ids)
    return Changes(
        missing=missing,
        n_rows_missing=sum(files.values()),
        n_unchanged=len(ids) - len(missing),
        new_files=files,
        n_gone=sum(shard.n_documents for shard in held if shard.id not in wanted),
        keeps_gone=keeps_gone,
    )


def count_changes(
    layout: Layout, before: Manifest, after: Manifest, readable: Collection[str]
) -> tuple[int, int]:
    """Documents that only the state after, and only the one before has: added and removed.

    A document that changed counts for both. Before means: when the last run finished. Only
    segments that are not the same in both are read, and none if there is only one side.

    Args:
        layout: the index.
        before: the state when this run started.
        after: the state that it leaves.
        readable: ids of the segments before that are not damaged; the others do not count.
    """
    settled = {s.id: s for s in before.segments[: before.n_settled] if s.id in readable}
    final = {segment.id: segment for segment in after.segments}
    old = [segment for name, segment in settled.items() if final.get(name) != segment]
    new = [segment for name, segment in final.items() if settled.get(name) != segment]
    n_old = sum(segment.n_live_documents for segment in old)
    n_new = sum(segment.n_live_documents for segment in new)
    if not n_old or not n_new:
        return n_new, n_old
    n_same = _n_common(
        _hashes(layout, replace(before, segments=tuple(old))),
        _hashes(layout, replace(after, segments=tuple(new))),
    )
    return n_new - n_same, n_old - n_same


def _hashes(layout: Layout, manifest: Manifest) -> npt.NDArray[np.uint64]:
    """Hashes of the live documents with all their columns, shape (n,)."""
    parts = [np.empty(0, dtype=np.uint64)]
    store = MetadataStore(layout, manifest)
    for segment in manifest.segments:
        hashes = store.document_hashes(segment)
        parts.append(np.delete(hashes, read_deleted(layout, segment)))
    store.close()
    return np.concatenate(parts)


def _n_common(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> int:
    """How many of two lists' values match each other, each once."""
    values, n_first = np.unique(first, return_counts=True)
    others, n_second = np.unique(second, return_counts=True)
    _, mine, theirs = np.intersect1d(values, others, return_indices=True)
    return int(np.minimum(n_first[mine], n_second[theirs]).sum())
