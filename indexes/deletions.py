"""Deleted documents: small files beside the segments, which stay as they were written."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFormatError
from embedder.records import TextHashes, hash_texts
from indexes.documents import read_documents
from indexes.durable import NPY_ERRORS, FileRecord, record_bytes, replace_file
from indexes.layout import Layout
from indexes.manifest import DeletionRecord, Manifest, SegmentRecord
from indexes.npy import npy_bytes

DocumentNumbers = npt.NDArray[np.int64]
"""Numbers of documents in their segment, ascending."""

NAME_DIGITS = 16


def live_documents(layout: Layout, manifest: Manifest) -> npt.NDArray[np.bool_] | None:
    """Which documents, counted over all segments in order, are not deleted; None for all."""
    if not any(segment.deletion for segment in manifest.segments):
        return None
    live = np.ones(sum(segment.n_documents for segment in manifest.segments), dtype=np.bool_)
    first = 0
    for segment in manifest.segments:
        live[first + read_deleted(layout, segment)] = False
        first += segment.n_documents
    return live


def read_deleted(layout: Layout, segment: SegmentRecord) -> DocumentNumbers:
    """Numbers of a segment's deleted documents.

    Raises:
        IndexFormatError: the file is not what was written.
    """
    if segment.deletion is None:
        return np.empty(0, dtype=np.int64)
    path = layout.deleted / segment.deletion.name
    numbers = _read(path, segment.deletion.file).astype(np.int64)
    if numbers.shape != (segment.deletion.n_documents,):
        raise _damaged(path)
    return numbers


def delete_documents(
    layout: Layout,
    segment: SegmentRecord,
    numbers: DocumentNumbers,
    document_of: npt.NDArray[np.int32],
) -> SegmentRecord:
    """The segment without some documents more; the file is written, the manifest commits it.

    Args:
        layout: the index.
        segment: the segment.
        numbers: documents to delete, by their number in the segment.
        document_of: document of each passage of the segment.
    """
    return set_deleted(
        layout, segment, np.union1d(read_deleted(layout, segment), numbers), document_of
    )


def set_deleted(
    layout: Layout,
    segment: SegmentRecord,
    numbers: DocumentNumbers,
    document_of: npt.NDArray[np.int32],
) -> SegmentRecord:
    """The segment with exactly these documents deleted; see `delete_documents`."""
    if not len(numbers):
        return replace(segment, deletion=None)
    is_deleted = np.zeros(segment.n_documents, dtype=np.bool_)
    is_deleted[numbers] = True
    name, file = _write(layout, segment.id, np.flatnonzero(is_deleted).astype(np.int32))
    deletion = DeletionRecord(
        name=name,
        file=file,
        n_documents=int(is_deleted.sum()),
        n_passages=int(is_deleted[document_of].sum()),
    )
    return replace(segment, deletion=deletion)


def document_keys(ids: Sequence[str], texts: Sequence[str]) -> TextHashes:
    """Digests by which deleted documents are known again, of id and text, shape (n, 2)."""
    return hash_texts([f"{i}\0{text}" for i, text in zip(ids, texts, strict=True)])


def read_keys(layout: Layout, segment: SegmentRecord, numbers: DocumentNumbers) -> TextHashes:
    """`document_keys` of some documents of a segment, shape (len(numbers), 2).

    Args:
        layout: the index.
        segment: the segment.
        numbers: ascending numbers of documents in it.
    """
    keys, first = [np.empty((0, 2), dtype=np.uint64)], 0
    for table in read_documents(layout, segment, ["__id", "__text"]) if len(numbers) else ():
        low, high = np.searchsorted(numbers, [first, first + table.num_rows])
        rows = table.take(numbers[low:high] - first)
        keys.append(document_keys(rows["__id"].to_pylist(), rows["__text"].to_pylist()))
        first += table.num_rows
    return np.concatenate(keys)


class HashSet:
    """Some 128-bit hashes.

    Args:
        hashes: shape (n, 2), in any order.
    """

    def __init__(self, hashes: TextHashes) -> None:
        self.hashes: TextHashes = np.unique(hashes, axis=0)

    def __len__(self) -> int:
        return len(self.hashes)

    def holds(self, hashes: TextHashes) -> npt.NDArray[np.bool_]:
        """Which of some hashes are in the set, shape (n,)."""
        low = np.searchsorted(self.hashes[:, 0], hashes[:, 0], side="left")
        high = np.searchsorted(self.hashes[:, 0], hashes[:, 0], side="right")
        found = np.zeros(len(hashes), dtype=np.bool_)
        for offset in range(int((high - low).max(initial=0))):  # once, but for half a collision
            at = np.minimum(low + offset, len(self) - 1)
            found |= (low + offset < high) & (self.hashes[at, 1] == hashes[:, 1])
        return found

    def union(self, *parts: TextHashes) -> HashSet:
        """These and some more."""
        return HashSet(np.concatenate([self.hashes, *parts]))


NO_KEYS = HashSet(np.empty((0, 2), dtype=np.uint64))


def write_excluded(layout: Layout, keys: HashSet) -> tuple[str, FileRecord] | None:
    """Write which documents stay out, by `document_keys`; what the manifest says of it."""
    return _write(layout, "excluded", keys.hashes) if len(keys) else None


def read_excluded(layout: Layout, manifest: Manifest) -> HashSet:
    """The documents that were deleted on request and stay out while the sources hold them.

    Raises:
        IndexFormatError: the file is not what was written.
    """
    if manifest.excluded is None:
        return NO_KEYS
    name, record = manifest.excluded
    keys = _read(layout.deleted / name, record)
    if keys.ndim != 2 or keys.shape[1] != 2 or keys.dtype != np.uint64:
        raise _damaged(layout.deleted / name)
    return HashSet(keys.astype(np.uint64))


def _write(layout: Layout, stem: str, values: npt.NDArray[np.generic]) -> tuple[str, FileRecord]:
    """A .npy file that is named after its contents, so that no committed one is written over."""
    content = npy_bytes(values)
    record = record_bytes(content)
    name = f"{stem}-{record.sha256[:NAME_DIGITS]}.npy"
    layout.deleted.mkdir(exist_ok=True)
    replace_file(layout.deleted / name, content)
    return name, record


def _read(path: Path, record: FileRecord) -> npt.NDArray[np.generic]:
    """The values of a file, whose digest is compared: it is small, and decides what is found."""
    try:
        content = path.read_bytes()
        if record_bytes(content) != record:
            raise _damaged(path)
        values: npt.NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
    except NPY_ERRORS as error:
        raise _damaged(path) from error
    return values


def _damaged(path: Path) -> IndexFormatError:
    return IndexFormatError(
        f"{path} is missing or damaged; it says which documents are deleted.",
        "Run embedder index again to restore it.",
    )
