"""What a segment holds, streamed: passages beside their documents, in blocks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from embedder.errors import IndexFormatError, cause_of
from embedder.records import PassageTable
from indexes.documents import BATCH_ROWS, PASSAGE_NUMBERS, read_documents
from indexes.layout import PASSAGES_FILE, Layout
from indexes.manifest import SegmentRecord
from indexes.segments import PASSAGE_SCHEMA


@dataclass(frozen=True)
class Block:
    """Some passages of a segment that follow each other, with their documents.

    Args:
        documents: rows of the segment's documents, among them those of the passages.
        first_document: number in the segment of the first of these rows.
        passages: at most BATCH_ROWS passages; `document` counts in the segment.
        first_passage: number in the segment of the first passage.
    """

    documents: pa.Table
    first_document: int
    passages: PassageTable
    first_passage: int

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """Row in `documents` of each passage's document, shape (n_passages,)."""
        return self.passages.document - np.int32(self.first_document)

    def texts(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Texts of the passages' documents, each once, and the number there of each passage's."""
        used, numbers = np.unique(self.rows, return_inverse=True)
        return self.documents["__text"].take(pa.array(used)).to_pylist(), numbers


def iterate_contents(
    layout: Layout, segment: SegmentRecord, columns: Sequence[str] | None = None
) -> Iterator[Block]:
    """All passages of a segment in order, whose numbers of documents must be ascending.

    Args:
        layout: the index.
        segment: the segment.
        columns: columns of the documents to read, all by default.

    Raises:
        IndexFormatError: a file is not as it was written.
    """
    passages = _Passages(iterate_passages(layout, segment))
    first_document = first_passage = 0
    for documents in read_documents(layout, segment, columns):
        last_document = first_document + documents.num_rows
        while len(found := passages.take_before(last_document)):
            yield Block(documents, first_document, found, first_passage)
            first_passage += len(found)
        first_document = last_document


def iterate_passages(layout: Layout, segment: SegmentRecord) -> Iterator[PassageTable]:
    """A segment's passages in order, at most BATCH_ROWS at a time.

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    for batch in _batches(layout, segment, PASSAGE_SCHEMA.names):
        yield _passage_table(batch)


def vector_checksums(layout: Layout, segment: SegmentRecord) -> npt.NDArray[np.uint32]:
    """Checksum of each row of a segment's vectors, as its passage has it, shape (n_passages,).

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    parts = [batch["checksum"].to_numpy() for batch in _batches(layout, segment, ["checksum"])]
    return np.concatenate([np.empty(0, dtype=np.uint32), *parts])


def _batches(
    layout: Layout, segment: SegmentRecord, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """Some columns of a segment's passages, with as many rows as were written, none null."""
    path = layout.segment(segment.id) / PASSAGES_FILE
    n_passages = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.schema_arrow != PASSAGE_SCHEMA:
                raise pa.ArrowInvalid(f"its columns are {', '.join(file.schema_arrow.names)}")
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                n_passages += batch.num_rows
                if any(column.null_count for column in batch.columns):
                    raise pa.ArrowInvalid("a value is null")
                if batch.num_rows:
                    yield batch
    except (OSError, pa.ArrowException) as error:
        raise IndexFormatError(
            f"{path} is damaged: {cause_of(error)}.", "Run embedder index again to restore it."
        ) from error
    if n_passages != segment.n_passages:
        raise IndexFormatError(
            f"{path} holds {n_passages} passages, and {segment.n_passages} were written.",
            "Run embedder index again to restore it.",
        )


def _passage_table(batch: pa.RecordBatch) -> PassageTable:
    document, start, end, n_tokens = (batch[name].to_numpy() for name in PASSAGE_NUMBERS)
    hashes = np.stack([batch["hash_low"].to_numpy(), batch["hash_high"].to_numpy()], axis=1)
    return PassageTable(document, start, end, n_tokens, hashes)


class _Passages:
    """A stream of passages, taken document by document."""

    def __init__(self, tables: Iterator[PassageTable]) -> None:
        self._tables = tables
        self._table = next(tables, None)
        self._n_taken = 0

    def take_before(self, document: int) -> PassageTable:
        """The next passages of documents before one; none when there are no more of these."""
        while self._table is not None and self._n_taken == len(self._table):
            self._table, self._n_taken = next(self._tables, None), 0
        if self._table is None:
            return _part(_NONE, 0, 0)
        first = self._n_taken
        self._n_taken = int(np.searchsorted(self._table.document, document))
        return _part(self._table, first, self._n_taken)


def _part(table: PassageTable, first: int, last: int) -> PassageTable:
    part = slice(first, last)
    numbers = (table.document, table.start, table.end, table.n_tokens)
    document, start, end, n_tokens = (column[part] for column in numbers)
    return PassageTable(document, start, end, n_tokens, table.hashes[part])


_NO_NUMBERS = np.empty(0, dtype=np.int32)
_NONE = PassageTable(
    _NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS, np.empty((0, 2), dtype=np.uint64)
)
