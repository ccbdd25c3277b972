"""Compaction: what is deleted goes, and small segments become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.records import PassageTable
from embedder.specs import digest_of
from embedder.vectors import HalfRows
from indexes.deletions import DocumentNumbers, HashSet, read_deleted, read_keys
from indexes.documents import document_schema, read_documents, read_passages
from indexes.layout import Layout
from indexes.manifest import SegmentRecord, SenseBasis, ShardRecord
from indexes.occurrences import count_left_out, open_occurrences, read_forms
from indexes.segments import SegmentWriter, iterate_vectors

SMALL_PASSAGES = 65_536
"""A segment of fewer passages is merged with its neighbours, until there are so many."""

Flags = npt.NDArray[np.bool_]


def plan_compaction(layout: Layout, segments: Sequence[SegmentRecord]) -> list[list[SegmentRecord]]:
    """Runs of neighbouring segments that become one each.

    A run of one segment without anything deleted stays as it is. Only segments with the same
    columns are merged; what nobody can see any more is in no run.
    """
    runs: list[list[SegmentRecord]] = []
    schema: pa.Schema | None = None
    for segment in segments:
        if not segment.n_live_documents and not segment.shards:
            continue
        own = document_schema(layout, segment)
        if runs and _is_small(runs[-1]) and _is_small([segment]) and own == schema:
            runs[-1].append(segment)
        else:
            runs.append([segment])
        schema = own
    return runs


def _is_small(run: Sequence[SegmentRecord]) -> bool:
    return sum(segment.n_live_passages for segment in run) < SMALL_PASSAGES


def merge_segments(
    layout: Layout,
    run: Sequence[SegmentRecord],
    width: int,
    excluded: HashSet,
    basis: SenseBasis | None = None,
) -> SegmentRecord:
    """Write one segment with the live documents of some; the manifest commits it later.

    Args:
        layout: the index.
        run: the segments.
        width: components of a vector.
        excluded: documents that were deleted on request; the other deleted ones were replaced.
        basis: how occurrences of words are kept, None for an index without.
    """
    if len(run) == 1 and run[0].deletion is None:
        return run[0]
    key = [[s.id, s.deletion.file.sha256 if s.deletion else None] for s in run]
    writer = SegmentWriter(layout, digest_of(["merged", key])[:32], width, basis)
    shards: list[ShardRecord] = []
    forms: dict[int, str] = {}
    left_out = Counter[int]()
    try:
        for segment in run:
            live = np.ones(segment.n_documents, dtype=np.bool_)
            deleted = read_deleted(layout, segment)
            live[deleted] = False
            replaced = deleted[~excluded.holds(read_keys(layout, segment, deleted))]
            passages = read_passages(layout, segment)
            shards += _moved(segment.shards, live, replaced, passages, writer.n_documents)
            _copy(layout, segment, live, passages, writer, width, basis)
            if basis:
                forms |= read_forms(layout, segment)
                is_kept = live[passages.document]
                left_out.update(count_left_out(layout, segment, is_kept))
        return writer.publish(shards, forms, +left_out)
    except BaseException:
        writer.discard()
        raise


def _moved(
    shards: Sequence[ShardRecord],
    live: Flags,
    replaced: DocumentNumbers,
    passages: PassageTable,
    first: int,
) -> Iterator[ShardRecord]:
    """The shards of a segment as they lie once the dead documents are gone."""
    before = np.concatenate([[0], np.cumsum(live)])
    is_kept = live[passages.document]
    n_passages = np.bincount(passages.document[is_kept], minlength=len(live))
    n_tokens = np.where(is_kept, passages.n_tokens, 0).astype(np.int64)
    for shard in shards:
        old = [shard.first_document, shard.first_document + shard.n_documents]
        start, end = before[old].tolist()
        n_replaced = int(np.diff(np.searchsorted(replaced, old))[0])
        own = slice(*np.searchsorted(passages.document, old).tolist())
        yield replace(
            shard,
            first_document=first + start,
            n_documents=end - start,
            n_dropped=shard.n_dropped + shard.n_documents - (end - start) - n_replaced,
            n_replaced=shard.n_replaced + n_replaced,
            n_tokens=int(n_tokens[own].sum()),
            n_windowed=int((n_passages[old[0] : old[1]] > 1).sum()),
        )


def _copy(
    layout: Layout,
    segment: SegmentRecord,
    live: Flags,
    passages: PassageTable,
    writer: SegmentWriter,
    width: int,
    basis: SenseBasis | None,
) -> None:
    """Append the live documents of a segment, a batch at a time; its shards keep the counts."""
    is_kept = live[passages.document]
    vectors = _Reader(iterate_vectors(layout, segment, width, 1024), width)
    occurrences = open_occurrences(layout, segment) if basis else None
    first = 0
    for table in read_documents(layout, segment):
        last = first + table.num_rows
        low, high = np.searchsorted(passages.document, [first, last])
        chosen = np.flatnonzero(live[first:last])
        kept = _kept_passages(passages, int(low), int(high), live[first:last], first)
        documents = table.take(pa.array(chosen))
        writer.write(
            ids=documents["__id"],
            texts=documents["__text"],
            metadata=documents.drop_columns(["__row", "__id", "__text"]),
            passages=kept,
            vectors=vectors.take(int(high - low))[is_kept[low:high]],
            n_windowed=0,
            n_truncated=0,
            counts=Counter(),
            occurrences=occurrences.take_kept(int(low), is_kept[low:high]) if occurrences else None,
        )
        first = last


def _kept_passages(
    passages: PassageTable, low: int, high: int, live: Flags, first: int
) -> PassageTable:
    """The passages from `low` to `high` of live documents, these numbered within their batch."""
    documents = passages.document[low:high] - first
    rows = np.flatnonzero(live[documents]) + low
    return PassageTable(
        (np.cumsum(live) - 1)[documents[rows - low]].astype(np.int32),
        passages.start[rows],
        passages.end[rows],
        passages.n_tokens[rows],
        passages.hashes[rows],
    )


class _Reader:
    """Rows of a stream of blocks, by the number wanted."""

    def __init__(self, blocks: Iterator[HalfRows], width: int) -> None:
        self._blocks = blocks
        self._left: HalfRows = np.empty((0, width), dtype=np.float16)

    def take(self, n_rows: int) -> HalfRows:
        parts, n_found = [self._left], len(self._left)
        while n_found < n_rows:
            parts.append(next(self._blocks))
            n_found += len(parts[-1])
        rows = np.concatenate(parts)
        self._left = rows[n_rows:]
        return rows[:n_rows]
