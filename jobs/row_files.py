"""Tables to files of rows: Parquet, JSON lines or CSV."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from enum import StrEnum
from io import BufferedWriter
from pathlib import Path

import pyarrow as pa

from embedder.endings import JSON_LINES_ENDINGS, PARQUET_ENDINGS
from embedder.errors import RequestError
from indexes.parquet_writer import ParquetWriter
from jobs.tables import Format, write_rows


class RowFormat(StrEnum):
    """How rows are written."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"


ENDINGS = {
    **dict.fromkeys(("", *PARQUET_ENDINGS), RowFormat.PARQUET),
    **dict.fromkeys(JSON_LINES_ENDINGS, RowFormat.JSONL),
    ".csv": RowFormat.CSV,
}


def choose_row_format(asked: RowFormat | None, out: str | Path) -> RowFormat:
    """The format asked for, else the one that the ending names.

    Raises:
        RequestError: the ending names none.
    """
    ending = Path(out).suffix.lower()
    if asked is None and ending not in ENDINGS:
        raise RequestError(
            f"{out} has the ending {ending}, and rows go to .parquet, .jsonl or .csv.",
            "Choose one with --format, or another ending.",
        )
    return asked or ENDINGS[ending]


def write_tables(
    tables: Iterable[pa.Table], schema: pa.Schema, form: RowFormat, file: BufferedWriter
) -> int:
    """Write tables of one schema as they come; the number of rows.

    Args:
        tables: the rows.
        schema: their columns.
        form: how they are written.
        file: where to; it stays open.
    """
    n_rows = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal n_rows
        for table in tables:
            n_rows += table.num_rows
            yield table

    if form is RowFormat.PARQUET:
        _write_parquet(counted(), schema, file)
    else:
        stream = io.TextIOWrapper(file, "utf-8", newline="")
        rows = (row for table in counted() for row in table.to_pylist())
        write_rows(rows, schema.names, Format(form), stream)
        stream.detach()  # written out, and left open
    return n_rows


def _write_parquet(tables: Iterable[pa.Table], schema: pa.Schema, file: BufferedWriter) -> None:
    with ParquetWriter(file, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
