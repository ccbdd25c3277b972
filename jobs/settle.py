"""The segments of a finished state: what a run added, and what left with the sources."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from embedder.records import TextHashes, hash_texts
from indexes.deletions import (
    HashSet,
    delete_documents,
    read_deleted,
    read_keys,
    set_deleted,
)
from indexes.documents import passage_documents, read_documents
from indexes.layout import Layout
from indexes.manifest import SegmentRecord, ShardRecord

Numbers = npt.NDArray[np.int64]
NONE: Numbers = np.empty(0, dtype=np.int64)


def settle(
    layout: Layout, segments: Sequence[SegmentRecord], ids: Sequence[str], *, keeps_gone: bool
) -> tuple[SegmentRecord, ...]:
    """Segments without the documents that the sources do not hold, in the order of the sources.

    Args:
        layout: the index.
        segments: those that are there and those that were added.
        ids: id of each shard of the sources, in order.
        keeps_gone: keep documents of other shards, except those whose id a source has.
    """
    rank = {name: number for number, name in enumerate(ids)}
    if keeps_gone:
        kept = [*segments]
        stale = {s.id: [shard for shard in s.shards if shard.id not in rank] for s in segments}
        if any(stale.values()) and any(shard.id in rank for s in segments for shard in s.shards):
            kept = _without_replaced(layout, segments, stale)
    else:
        kept = [_without_gone(layout, segment, rank) for segment in segments]
        kept = [segment for segment in kept if segment.shards]

    def place(segment: SegmentRecord) -> int:
        """Those that the sources do not hold come first: they are the oldest."""
        return min((rank[shard.id] for shard in segment.shards if shard.id in rank), default=-1)

    return tuple(sorted(kept, key=place))


def _without_gone(layout: Layout, segment: SegmentRecord, wanted: Collection[str]) -> SegmentRecord:
    """A segment without the shards that are not wanted; without any, nothing is left to do."""
    return without_shards(layout, segment, {s.id for s in segment.shards} - set(wanted))


def without_shards(layout: Layout, segment: SegmentRecord, ids: Collection[str]) -> SegmentRecord:
    """A segment without some shards; their documents are deleted in it."""
    kept = tuple(shard for shard in segment.shards if shard.id not in ids)
    gone = [shard for shard in segment.shards if shard.id in ids]
    without = replace(segment, shards=kept)
    if not gone or not kept:
        return without
    numbers = np.concatenate([_range(shard) for shard in gone])
    return delete_documents(layout, without, numbers, passage_documents(layout, segment))


def _without_replaced(
    layout: Layout, segments: Sequence[SegmentRecord], stale: dict[str, list[ShardRecord]]
) -> list[SegmentRecord]:
    """Segments without those documents of stale shards whose id is in a shard of the sources."""
    current = _current_ids(layout, segments, stale)
    kept = []
    for segment in segments:
        replaced = _having(layout, segment, stale[segment.id], current)
        if len(replaced):
            documents = passage_documents(layout, segment)
            segment = delete_documents(layout, segment, replaced, documents)
        kept.append(segment)
    return kept


def _current_ids(
    layout: Layout, segments: Sequence[SegmentRecord], stale: dict[str, list[ShardRecord]]
) -> HashSet:
    """Hashes of the ids that shards of the sources have."""
    parts = [np.empty((0, 2), dtype=np.uint64)]
    for segment in segments:
        if len(stale[segment.id]) < len(segment.shards):
            hashes = _id_hashes(layout, segment)
            old = [_range(shard) for shard in stale[segment.id]]
            gone = np.union1d(read_deleted(layout, segment), np.concatenate([NONE, *old]))
            parts.append(np.delete(hashes, gone, axis=0))
    return HashSet(np.concatenate(parts))


def _having(
    layout: Layout, segment: SegmentRecord, shards: Sequence[ShardRecord], current: HashSet
) -> Numbers:
    """Live documents of some shards of a segment whose id is among some."""
    if not shards:
        return NONE
    numbers = np.concatenate([_range(shard) for shard in shards])
    numbers = np.setdiff1d(numbers, read_deleted(layout, segment))
    return numbers[current.holds(_id_hashes(layout, segment)[numbers])]


def _id_hashes(layout: Layout, segment: SegmentRecord) -> TextHashes:
    """Hash of each document's id, shape (n_documents, 2)."""
    tables = read_documents(layout, segment, ["__id"])
    return np.concatenate([hash_texts(table["__id"].to_pylist()) for table in tables])


def _range(shard: ShardRecord) -> Numbers:
    first = shard.first_document
    return np.arange(first, first + shard.n_documents, dtype=np.int64)


def restore(
    layout: Layout, segment: SegmentRecord, ids: Collection[str], excluded: HashSet
) -> SegmentRecord:
    """A segment in which of the documents that the sources hold only the excluded are deleted.

    Others were replaced by documents with their ids, and come back now that their own source is
    named. What compaction has left out is not there any more: a shard that lacks more than the
    excluded is given up, so that the run reads it again.

    Args:
        layout: the index.
        segment: the segment.
        ids: shards of the sources.
        excluded: documents that stay deleted.
    """
    lacking = lacking_shards(segment, ids, excluded)
    if lacking:
        segment = without_shards(layout, segment, lacking)
    back = [_range(shard) for shard in segment.shards if shard.id in ids]
    if segment.deletion is None or not back:
        return segment
    deleted = read_deleted(layout, segment)
    candidates = np.intersect1d(deleted, np.concatenate(back))
    stays = candidates[excluded.holds(read_keys(layout, segment, candidates))]
    dead = np.union1d(np.setdiff1d(deleted, candidates), stays)
    if len(dead) == len(deleted):
        return segment
    return set_deleted(layout, segment, dead, passage_documents(layout, segment))


def lacking_shards(segment: SegmentRecord, ids: Collection[str], excluded: HashSet) -> set[str]:
    """Shards of the sources of which compaction has left out documents that are to come back."""
    return {
        s.id
        for s in segment.shards
        if s.id in ids and (s.n_replaced > 0 or (s.n_dropped > 0 and not len(excluded)))
    }


def exclude(layout: Layout, segment: SegmentRecord, excluded: HashSet) -> SegmentRecord:
    """A segment without the documents that stay deleted."""
    numbers = np.arange(segment.n_documents if len(excluded) else 0, dtype=np.int64)
    dead = numbers[excluded.holds(read_keys(layout, segment, numbers))]
    if not len(np.setdiff1d(dead, read_deleted(layout, segment))):
        return segment
    return delete_documents(layout, segment, dead, passage_documents(layout, segment))
