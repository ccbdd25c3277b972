"""`embedder delete`: documents out of an index by id or by a filter, at once and for good."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embedder.errors import RequestError
from embedder.records import TextHashes, is_utf8
from indexes.deletions import (
    delete_documents,
    live_documents,
    read_excluded,
    read_keys,
    write_excluded,
)
from indexes.documents import passage_documents, read_documents
from indexes.layout import Layout
from indexes.manifest import Manifest, SegmentRecord
from indexes.manifest_file import read_manifest
from indexes.metadata import MetadataStore
from jobs.writing import checked_read, commit, writing

BLOCK_IDS = 65_536
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class DeleteSummary:
    """What was deleted.

    Args:
        index: the index folder.
        n_deleted: documents that are gone now.
        n_documents: documents that are left.
        n_unknown: ids given that no document has.
        is_dry_run: whether nothing was deleted, and the numbers are what would be.
    """

    index: str
    n_deleted: int
    n_documents: int
    n_unknown: int = 0
    is_dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


def delete_ids(layout: Layout, ids: Iterable[str], *, is_dry_run: bool = False) -> DeleteSummary:
    """Delete the documents with some ids; they stay out while the sources still hold them.

    Args:
        layout: the index.
        ids: the ids.
        is_dry_run: say what would be deleted, and change nothing.

    Raises:
        IndexNotFoundError: there is no index.
        RequestError: no ids were given, or an id is not text in UTF-8.
    """
    wanted = _distinct(ids)
    if not len(wanted):
        raise RequestError("No ids were given.", "Name a file with one id a line in --ids.")
    read_manifest(layout)
    with writing(layout):
        manifest = checked_read(layout)
        seen = manifest.finished()
        parts = [_find(layout, segment, wanted) for segment in seen.segments]
        found = np.concatenate([np.empty(0, dtype=np.int64), *parts])
        chosen = (found >= 0) & _live(layout, seen)
        n_unknown = len(wanted) - len(np.unique(found[chosen]))
        delete = _count if is_dry_run else _delete
        return replace(delete(layout, manifest, chosen), n_unknown=n_unknown)


def delete_where(layout: Layout, where: str, *, is_dry_run: bool = False) -> DeleteSummary:
    """Delete the documents for which a SQL expression over the metadata holds.

    Args:
        layout: the index.
        where: the expression.
        is_dry_run: say what would be deleted, and change nothing.

    Raises:
        IndexNotFoundError: there is no index.
        FilterError: the expression is wrong.
    """
    read_manifest(layout)
    with writing(layout):
        manifest = checked_read(layout)
        seen = manifest.finished()
        store = MetadataStore(layout, seen)
        try:
            chosen = store.allowed_documents(where) & _live(layout, seen)
        finally:
            store.close()
        delete = _count if is_dry_run else _delete
        return delete(layout, manifest, chosen)


def _count(layout: Layout, manifest: Manifest, chosen: Flags) -> DeleteSummary:
    """What `_delete` would do."""
    n_deleted = int(chosen.sum())
    return DeleteSummary(
        index=str(layout.root),
        n_deleted=n_deleted,
        n_documents=manifest.finished().n_documents - n_deleted,
        is_dry_run=True,
    )


def _delete(layout: Layout, manifest: Manifest, chosen: Flags) -> DeleteSummary:
    """Delete chosen documents, counted over the finished segments, and remember them.

    A run that has not finished leaves them out of its own segments when it goes on.
    """
    n_deleted = int(chosen.sum())
    if n_deleted:
        seen = manifest.finished().segments
        segments, keys = _without(layout, seen, chosen)
        excluded = read_excluded(layout, manifest).union(*keys)
        manifest = replace(
            manifest,
            segments=(*segments, *manifest.segments[len(seen) :]),
            excluded=write_excluded(layout, excluded),
        )
        n_duplicate_ids = _count_duplicate_ids(layout, manifest.finished())
        manifest = replace(manifest, n_duplicate_ids=n_duplicate_ids)
        manifest = commit(layout, manifest, "delete", n_removed=n_deleted)
    return DeleteSummary(
        index=str(layout.root), n_deleted=n_deleted, n_documents=manifest.finished().n_documents
    )


def _count_duplicate_ids(layout: Layout, manifest: Manifest) -> int:
    if not manifest.n_duplicate_ids:
        return 0
    store = MetadataStore(layout, manifest)
    try:
        return store.count_duplicate_ids()
    finally:
        store.close()


def _without(
    layout: Layout, segments: Sequence[SegmentRecord], chosen: Flags
) -> tuple[tuple[SegmentRecord, ...], list[TextHashes]]:
    """Segments without the chosen documents, and the digests by which these are known again."""
    kept, keys, first = [], [], 0
    for segment in segments:
        numbers = np.flatnonzero(chosen[first : first + segment.n_documents])
        first += segment.n_documents
        if len(numbers):
            keys.append(read_keys(layout, segment, numbers))
            documents = passage_documents(layout, segment)
            segment = delete_documents(layout, segment, numbers, documents)
        kept.append(segment)
    return tuple(kept), keys


def _live(layout: Layout, manifest: Manifest) -> Flags:
    live = live_documents(layout, manifest)
    n_stored = sum(segment.n_documents for segment in manifest.segments)
    return np.ones(n_stored, dtype=np.bool_) if live is None else live


def _find(layout: Layout, segment: SegmentRecord, ids: pa.Array) -> npt.NDArray[np.int64]:
    """Which of some ids each document of a segment has, -1 for none."""
    tables = read_documents(layout, segment, ["__id"])
    places = (pc.index_in(table["__id"], value_set=ids).fill_null(-1) for table in tables)
    return np.concatenate([found.to_numpy().astype(np.int64) for found in places])


def _distinct(ids: Iterable[str]) -> pa.Array:
    """The ids, each once."""
    parts, iterator = [pa.array([], pa.string())], iter(ids)
    while block := list(itertools.islice(iterator, BLOCK_IDS)):
        broken = [value for value in block if not is_utf8(value)]
        if broken:
            raise RequestError(f"The id {broken[0]!r} is not text in UTF-8.")
        parts.append(pa.array(block, pa.string()))
    return pc.unique(pa.concat_arrays(parts))
