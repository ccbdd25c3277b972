"""Segments: immutable folders with one shard's documents, passages and vectors."""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.errors import IndexFormatError
from embedder.records import Occurrences, PassageTable
from embedder.specs import ChunkSpec, EncoderSpec, digest_of
from embedder.vectors import HalfRows
from indexes.durable import NPY_ERRORS, create_file, publish_folder, temporary_beside
from indexes.layout import DOCUMENTS_FILE, PASSAGES_FILE, VECTORS_FILE, Layout
from indexes.manifest import SegmentRecord, SenseBasis, ShardRecord
from indexes.npy import NPY_HEADER_BYTES, npy_header
from indexes.occurrence_writer import NONE_LEFT_OUT, OccurrenceWriter
from indexes.parquet_writer import ParquetWriter

COMPRESSION = "zstd"
REPAIR = "Run embedder index again to restore it."

PASSAGE_SCHEMA = pa.schema(
    [
        ("document", pa.int32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("n_tokens", pa.int32()),
        ("hash_low", pa.uint64()),
        ("hash_high", pa.uint64()),
        ("checksum", pa.uint32()),
    ]
)
"""Passages: their place in the document, the content hash of their text, the checksum of their row
of the vectors. A search compares both for what it returns."""


def segment_id(shard_digest: str, chunking: ChunkSpec, encoder: EncoderSpec, copy: int) -> str:
    """Identity of a shard's segment; `copy` tells equal shards of one corpus apart."""
    key = [shard_digest, chunking.to_json(), encoder.fingerprint, *([copy] if copy else [])]
    return digest_of(key)[:32]


class SegmentWriter:
    """Writes one segment beside its final name, a batch at a time.

    Args:
        layout: the index.
        segment_id: the segment's id.
        width: components of a vector.
        senses: how occurrences of words are kept, None for a segment without.
    """

    def __init__(
        self, layout: Layout, segment_id: str, width: int, senses: SenseBasis | None = None
    ) -> None:
        self.id = segment_id
        self._final = layout.segment(segment_id)
        self.folder = self._temporary = temporary_beside(self._final)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._width = width
        self._vectors = create_file(self.folder / VECTORS_FILE)
        self._vectors.write(b"\0" * NPY_HEADER_BYTES)
        self._passages = _ParquetFile(self.folder / PASSAGES_FILE, PASSAGE_SCHEMA)
        self._documents: _ParquetFile | None = None
        self.n_documents = self._n_passages = self._n_tokens = 0
        self._n_windowed = self._n_truncated = 0
        self._counts: Counter[str] = Counter()
        self._occurrences: OccurrenceWriter | None = None
        if senses is not None:
            self._occurrences = OccurrenceWriter(self.folder, senses.n_components, senses.cap)

    def write(
        self,
        *,
        ids: Sequence[str] | pa.ChunkedArray,
        texts: Sequence[str] | pa.ChunkedArray,
        metadata: pa.Table,
        passages: PassageTable,
        vectors: HalfRows,
        n_windowed: int,
        n_truncated: int,
        counts: Counter[str],
        occurrences: Occurrences | None = None,
    ) -> None:
        """Append documents with their passages.

        Args:
            ids: ids of the documents.
            texts: texts of the documents.
            metadata: one row a document.
            passages: their passages; `document` counts within this call.
            vectors: float16, one row a passage, shape (len(passages), width).
            n_windowed: documents that became several passages.
            n_truncated: documents whose end was cut off.
            counts: rows left out or defective, by reason.
            occurrences: uses of words in the passages, for a segment that keeps them.
        """
        first = self.n_documents
        own = {
            "__row": pa.array(np.arange(first, first + len(ids), dtype=np.int32)),
            "__id": _strings(ids),
            "__text": _strings(texts),
        }
        table = pa.table({**own, **{n: metadata.column(n) for n in metadata.column_names}})
        if self._documents is None:
            self._documents = _ParquetFile(self.folder / DOCUMENTS_FILE, table.schema)
        self._documents.write(table)
        if vectors.dtype != np.float16 or vectors.shape != (len(passages), self._width):
            raise ValueError(f"vectors are {vectors.dtype} {vectors.shape}")
        self._passages.write(_passage_table(passages, first, row_checksums(vectors)))
        self._vectors.write(vectors.astype("<f2", copy=False).tobytes())
        self._vectors.flush()  # later batches read rows of equal texts back
        if self._occurrences is not None:
            if occurrences is None or len(occurrences.ends) != len(passages):
                raise ValueError("every passage's occurrences are wanted")
            self._occurrences.write(occurrences)
        self.n_documents += len(ids)
        self._n_passages += len(passages)
        self._n_tokens += int(passages.n_tokens.sum(dtype=np.int64))
        self._n_windowed += n_windowed
        self._n_truncated += n_truncated
        self._counts += counts

    def publish(
        self,
        shards: Sequence[ShardRecord] = (),
        forms: Mapping[int, str] | None = None,
        left_out: Mapping[int, int] = NONE_LEFT_OUT,
    ) -> SegmentRecord:
        """Finish the files and give the folder its final name; the manifest commits it later.

        Args:
            shards: the shards it holds; by default one, which has the segment's id and what was
                counted while it was written.
            forms: form of each word by its hash, for a segment that keeps occurrences.
            left_out: of each word how many uses a sample before left out of what was written.
        """
        if self._documents is None:
            raise ValueError("a segment needs at least one batch, even an empty one")
        self._documents.close()
        self._passages.close()
        self._vectors.seek(0)
        self._vectors.write(npy_header(np.dtype("<f2"), (self._n_passages, self._width)))
        self._vectors.close()
        n_occurrences = 0
        if self._occurrences is not None:
            n_occurrences = self._occurrences.publish(forms or {}, left_out)
        files = publish_folder(self._temporary, self._final)
        self.folder = self._final
        one = ShardRecord(
            id=self.id,
            first_document=0,
            n_documents=self.n_documents,
            n_tokens=self._n_tokens,
            n_windowed=self._n_windowed,
            n_truncated=self._n_truncated,
            counts=dict(sorted((k, v) for k, v in self._counts.items() if v)),
        )
        return SegmentRecord(
            id=self.id,
            shards=tuple(shards) or (one,),
            n_documents=self.n_documents,
            n_passages=self._n_passages,
            n_occurrences=n_occurrences,
            files=files,
        )

    def discard(self) -> None:
        """Drop what was written and is not published."""
        for file in (self._documents, self._passages, self._vectors, self._occurrences):
            with contextlib.suppress(OSError):  # what is dropped need not be complete
                if file is not None:
                    file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)


def _strings(values: Sequence[str] | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return values.cast(pa.string())
    return pa.array(values, pa.string())


class _ParquetFile:
    """A Parquet file that is being written, with a checksum on every page."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = create_file(path)
        self._schema = schema
        self._writer = ParquetWriter(
            self._file,
            schema,
            compression=COMPRESSION,
            write_page_checksum=True,
            write_statistics=[field.name for field in schema if not _may_hold_nan(field.type)],
        )

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table.cast(self._schema))

    def close(self) -> None:
        try:
            self._writer.close()
        finally:
            self._file.close()


def _may_hold_nan(kind: pa.DataType) -> bool:
    """Whether statistics of a column of this type could be wrong.

    The least and greatest value of a column leave NaN out, and DuckDB, for which NaN is greater
    than all others, takes them for bounds all the same: `isnan(x)` would be true of no row.
    """
    return bool(pa.types.is_floating(kind) or pa.types.is_nested(kind))


def row_checksums(vectors: HalfRows) -> npt.NDArray[np.uint32]:
    """CRC-32 of each row as it lies on disk, shape (n,)."""
    rows = np.ascontiguousarray(vectors, dtype="<f2").view(np.uint8)
    return np.fromiter(map(zlib.crc32, rows), dtype=np.uint32, count=len(rows))


def _passage_table(
    passages: PassageTable, first_document: int, checksums: npt.NDArray[np.uint32]
) -> pa.Table:
    return pa.table(
        [
            pa.array(passages.document + np.int32(first_document), pa.int32()),
            pa.array(passages.start),
            pa.array(passages.end),
            pa.array(passages.n_tokens),
            pa.array(passages.hashes[:, 0]),
            pa.array(passages.hashes[:, 1]),
            pa.array(checksums),
        ],
        schema=PASSAGE_SCHEMA,
    )


def open_vectors(layout: Layout, segment: SegmentRecord, width: int) -> HalfRows:
    """A segment's vectors, memory-mapped, float16, shape (n_passages, width).

    Raises:
        IndexFormatError: the file is not what the manifest says.
    """
    path = layout.segment(segment.id) / VECTORS_FILE
    try:
        if segment.n_passages == 0:
            return np.empty((0, width), dtype=np.float16)
        rows: HalfRows = np.load(path, mmap_mode="r", allow_pickle=False)
    except NPY_ERRORS as error:
        raise IndexFormatError(f"{path} is damaged: {error}.", REPAIR) from error
    if rows.shape != (segment.n_passages, width) or rows.dtype != np.float16:
        raise IndexFormatError(
            f"{path} holds {rows.dtype} {rows.shape}, and float16 "
            f"{(segment.n_passages, width)} was written.",
            REPAIR,
        )
    return rows


def iterate_vectors(
    layout: Layout, segment: SegmentRecord, width: int, block_rows: int
) -> Iterator[HalfRows]:
    """A segment's vectors in order, read a block at a time; a mapped file would stay resident."""
    path = layout.segment(segment.id) / VECTORS_FILE
    with path.open("rb") as file:
        file.seek(NPY_HEADER_BYTES)
        for start in range(0, segment.n_passages, block_rows):
            n_rows = min(block_rows, segment.n_passages - start)
            values = np.fromfile(file, dtype="<f2", count=n_rows * width)
            if len(values) != n_rows * width:
                raise IndexFormatError(f"{path} is cut short.", REPAIR)
            yield values.reshape(n_rows, width)


def read_rows(folder: Path, rows: Sequence[int], width: int) -> HalfRows:
    """Some vectors of a segment, which may still be growing, shape (len(rows), width).

    Rows that follow each other are read at once, and no file stays open: an index may have more
    segments than a process may have files.
    """
    wanted = np.asarray(rows, dtype=np.int64)
    found = np.empty((len(wanted), width), dtype="<f2")
    cuts = np.flatnonzero(np.diff(wanted) != 1) + 1
    with (folder / VECTORS_FILE).open("rb") as file:
        for first, last in zip([0, *cuts], [*cuts, len(wanted)], strict=True):
            if first == last:
                continue
            n_bytes = int(last - first) * width * 2
            at = NPY_HEADER_BYTES + int(wanted[first]) * width * 2
            values = os.pread(file.fileno(), n_bytes, at)
            found[first:last] = np.frombuffer(values, dtype="<f2").reshape(-1, width)
    return found
