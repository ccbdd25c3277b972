"""Reading segments back as they were written: documents and passages, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from embedder.errors import IndexFormatError, cause_of
from embedder.records import PassageTable
from indexes.layout import DOCUMENTS_FILE, PASSAGES_FILE, Layout
from indexes.manifest import SegmentRecord

BATCH_ROWS = 4096
BATCH_BYTES = 16 << 20
PASSAGE_NUMBERS = ("document", "start", "end", "n_tokens")


def document_schema(layout: Layout, segment: SegmentRecord) -> pa.Schema:
    """Columns of a segment's documents, the own ones `__row`, `__id` and `__text` first."""
    path = layout.segment(segment.id) / DOCUMENTS_FILE
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def read_documents(
    layout: Layout, segment: SegmentRecord, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """A segment's documents in order, in tables of bounded size; one, if there are none.

    Args:
        layout: the index.
        segment: the segment.
        columns: columns to read, all by default.

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    path = layout.segment(segment.id) / DOCUMENTS_FILE
    n_rows = 0
    for batch in _read(path, columns):
        n_rows += batch.num_rows
        yield pa.Table.from_batches([batch])
    if not n_rows:
        empty = document_schema(layout, segment).empty_table()
        yield empty if columns is None else empty.select(list(columns))
    if n_rows != segment.n_documents:
        raise _damaged(path, f"{n_rows} documents where {segment.n_documents} were written")


def check_documents(
    layout: Layout, segment: SegmentRecord, rows: Sequence[int], columns: Sequence[str]
) -> None:
    """Read some columns of the row groups of some documents, comparing checksums of their pages.

    Args:
        layout: the index.
        segment: the segment.
        rows: numbers of documents in it.
        columns: those that the file does not have are left out.

    Raises:
        IndexFormatError: a page is not as it was written.
    """
    path = layout.segment(segment.id) / DOCUMENTS_FILE
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            names = [name for name in columns if name in file.schema_arrow.names]
            groups = np.unique(np.searchsorted(np.cumsum(sizes), rows, side="right")).tolist()
            for group in groups:
                file.read_row_group(group, columns=names, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def read_passages(layout: Layout, segment: SegmentRecord) -> PassageTable:
    """All passages of a segment."""
    path = layout.segment(segment.id) / PASSAGES_FILE
    batches = list(_read(path, None))
    if sum(batch.num_rows for batch in batches) != segment.n_passages:
        raise _damaged(path, f"not the {segment.n_passages} passages that were written")
    columns = {
        name: np.concatenate([batch[name].to_numpy() for batch in batches] or [np.empty(0)])
        for name in (*PASSAGE_NUMBERS, "hash_low", "hash_high")
    }
    hashes = np.stack([columns["hash_low"], columns["hash_high"]], axis=1).astype(np.uint64)
    document, start, end, n_tokens = (columns[n].astype(np.int32) for n in PASSAGE_NUMBERS)
    return PassageTable(document, start, end, n_tokens, hashes)


def passage_documents(layout: Layout, segment: SegmentRecord) -> npt.NDArray[np.int32]:
    """Number in the segment of each passage's document, ascending."""
    path = layout.segment(segment.id) / PASSAGES_FILE
    parts = [batch["document"].to_numpy() for batch in _read(path, ["document"])]
    found: npt.NDArray[np.int32] = np.concatenate([np.empty(0, dtype=np.int32), *parts])
    if len(found) != segment.n_passages or (np.diff(found) < 0).any():
        raise _damaged(path, f"not the {segment.n_passages} passages that were written")
    return found


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """A whole small table, which has the columns of `schema`.

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    batches = list(_read(path, None))
    try:
        return pa.Table.from_batches(batches, schema)
    except (ValueError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _read(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Batches of a Parquet file, the checksums of its pages compared."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = None if columns is None else list(columns)
            n_rows, groups = file.metadata.num_rows, range(file.num_row_groups)
            n_bytes = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            n_batch = max(1, min(BATCH_ROWS, BATCH_BYTES * n_rows // max(1, n_bytes)))
            yield from file.iter_batches(n_batch, columns=names, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, cause: object) -> IndexFormatError:
    return IndexFormatError(
        f"{path} is damaged: {cause_of(cause)}.", "Run embedder index again to restore it."
    )
