"""`embedder export`: vectors, texts and metadata into files that other tools read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedWriter
from pathlib import Path

import numpy as np
import pyarrow as pa

from embedder.endings import PARQUET_ENDINGS
from embedder.errors import RequestError
from embedder.vectors import HalfRows
from indexes.durable import check_files
from indexes.layout import Layout
from indexes.lock import hold_open
from indexes.manifest import Manifest
from indexes.manifest_file import read_manifest
from indexes.metadata import MetadataStore
from indexes.npy import npy_header
from indexes.parquet_writer import ParquetWriter
from jobs.output import appearing, check_file_name
from jobs.passage_rows import VECTOR, PassageRows
from jobs.progress import Progress

GROUP_ROWS = 16_384
GROUP_BYTES = 64 << 20
"""A row group has at least so many rows or bytes."""

Block = tuple[pa.Table, HalfRows]
"""Rows without their vectors, and the vectors, float16, shape (n_rows, width)."""


class ExportFormat(StrEnum):
    """What is written."""

    PARQUET = "parquet"
    """One file with a row a passage, its vector a list of float32."""

    NPY = "npy"
    """A NumPy array of the vectors as they are stored, float16, and a Parquet file of the rest."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to write, and where.

    Args:
        out: the file; for npy that of the vectors, beside which the rows go into `.rows.parquet`.
        format: what to write; None for what the ending of `out` says.
        where: SQL expression over the metadata that documents must satisfy.
        fields: metadata columns to write; all by default.
        with_text: whether to write each passage's text.
    """

    out: str | Path
    format: ExportFormat | None = None
    where: str | None = None
    fields: tuple[str, ...] | None = None
    with_text: bool = True


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What was written.

    Args:
        files: the files; of two, the rows' first.
        n_documents: documents.
        n_passages: their passages, a row each.
        width: components of a vector.
        n_bytes: size of the files together.
        seconds: time that it took.
    """

    files: tuple[Path, ...]
    n_documents: int
    n_passages: int
    width: int
    n_bytes: int
    seconds: float


def export_index(
    layout: Layout, options: ExportOptions, progress: Progress | None = None
) -> ExportSummary:
    """Write the passages of live documents in the order of the index, in bounded memory.

    Args:
        layout: the index.
        options: what to write, and where.
        progress: told of what happens; silent by default.

    Raises:
        IndexNotFoundError: there is no index.
        IndexFormatError: a file of it is damaged; nothing is written.
        FilterError: the expression or a field is wrong.
        OutputError: the files cannot be written.
    """
    started, progress = time.monotonic(), progress or Progress()
    finals = _finals(layout, options)
    with _rows(layout, options, progress) as rows, appearing(*finals) as files:
        n_documents, n_passages = _write(rows, files, progress)
    return ExportSummary(
        files=finals,
        n_documents=n_documents,
        n_passages=n_passages,
        width=rows.width,
        n_bytes=sum(path.stat().st_size for path in finals),
        seconds=time.monotonic() - started,
    )


def _finals(layout: Layout, options: ExportOptions) -> tuple[Path, ...]:
    """The files to write, the vectors' last."""
    final = check_file_name(options.out, [layout.root])
    is_array = final.suffix.lower() == ".npy"
    is_known = final.suffix.lower() in ("", ".npy", *PARQUET_ENDINGS)
    if options.format is None and not is_known:
        raise RequestError(
            f"{final} has the ending {final.suffix}, and vectors go to .parquet or .npy.",
            "Choose one with --format, or another ending.",
        )
    form = options.format or (ExportFormat.NPY if is_array else ExportFormat.PARQUET)
    if form is ExportFormat.PARQUET:
        return (final,)
    stem = final.with_suffix("") if is_array else final
    return check_file_name(f"{stem}.rows.parquet"), check_file_name(f"{stem}.npy")


@contextlib.contextmanager
def _rows(layout: Layout, options: ExportOptions, progress: Progress) -> Iterator[PassageRows]:
    """The rows to write, of an index that is held open and whose segments are whole."""
    with hold_open(layout.readers):
        manifest = read_manifest(layout).finished()
        if not manifest.segments:
            raise RequestError(
                f"{layout.root} holds no documents yet.", "Run embedder index again first."
            )
        _check_segments(layout, manifest, progress)
        with contextlib.closing(MetadataStore(layout, manifest)) as store:
            yield PassageRows(
                layout,
                manifest,
                store,
                where=options.where,
                fields=options.fields,
                with_text=options.with_text,
            )


def _check_segments(layout: Layout, manifest: Manifest, progress: Progress) -> None:
    """Raise IndexFormatError if a file is damaged, before a filter reads it."""
    progress.start_stage("comparing digests", sum(s.n_documents for s in manifest.segments))
    for segment in manifest.segments:
        check_files(layout.segment(segment.id), segment.files, with_digests=True)
        progress.count_documents(segment.n_documents)


def _write(
    rows: PassageRows, files: Sequence[BufferedWriter], progress: Progress
) -> tuple[int, int]:
    """Write all rows into one file, or rows and vectors into two; documents and passages."""
    n_documents = n_passages = 0
    blocks = _grouped(rows.blocks(progress))
    if len(files) == 1:
        blocks = _with_vectors(blocks, rows.width)
        kind = pa.list_(pa.float32(), rows.width)
        schema = rows.schema.append(pa.field(VECTOR, kind, nullable=False))
    else:
        blocks = _into_array(blocks, files[1], rows.width)
        schema = rows.schema
    with _open_parquet(files[0], schema) as writer:
        for table, vectors in blocks:
            writer.write_table(table)
            n_passages += len(vectors)
            n_documents += int((table["passage"].to_numpy() == 0).sum())
    return n_documents, n_passages


def _open_parquet(file: BufferedWriter, schema: pa.Schema) -> ParquetWriter:
    """Bytes of equal weight side by side: the low ones of what was float16 are zero, and cost
    nothing then."""
    split = f"{VECTOR}.list.element"
    return ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=[name for name in schema.names if name != VECTOR],
        use_byte_stream_split=[split] if VECTOR in schema.names else False,
    )


def _grouped(blocks: Iterable[Block]) -> Iterator[Block]:
    """Blocks that are large enough for a row group each; the last may be smaller."""
    waiting: list[Block] = []
    for block in blocks:
        waiting.append(block)
        n_bytes = sum(table.nbytes + 2 * rows.nbytes for table, rows in waiting)
        if n_bytes >= GROUP_BYTES or sum(len(rows) for _, rows in waiting) >= GROUP_ROWS:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(blocks: Sequence[Block]) -> Block:
    tables, vectors = zip(*blocks, strict=True)
    return pa.concat_tables(tables), np.concatenate(vectors)


def _with_vectors(blocks: Iterable[Block], width: int) -> Iterator[Block]:
    """Rows with their vectors as a column."""
    for table, vectors in blocks:
        values = pa.array(vectors.astype(np.float32).ravel())
        column = pa.FixedSizeListArray.from_arrays(values, width)
        field = pa.field(VECTOR, column.type, nullable=False)
        yield table.append_column(field, column), vectors


def _into_array(blocks: Iterable[Block], file: BufferedWriter, width: int) -> Iterator[Block]:
    """Write the vectors of passing blocks into a .npy file."""
    n_rows = 0
    file.write(npy_header(np.dtype("<f2"), (n_rows, width)))
    for table, vectors in blocks:
        file.write(vectors.astype("<f2", copy=False).tobytes())
        n_rows += len(vectors)
        yield table, vectors
    file.seek(0)
    file.write(npy_header(np.dtype("<f2"), (n_rows, width)))
