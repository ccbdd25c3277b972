"""Rows to files and screens, in every format that programs read."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, TextIO

from embedder.endings import JSON_LINES_ENDINGS, PARQUET_ENDINGS
from embedder.errors import RequestError
from jobs.output import appearing, check_file_name, finite

Row = Mapping[str, Any]
"""Values by the names of their columns; lists and dictionaries where they are needed."""

GROUP_ROWS = 16_384

WriteText = Callable[[TextIO], None]
"""Writes what people read to a stream."""


class Format(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


ENDINGS = {
    **dict.fromkeys(("", ".txt"), Format.TEXT),
    **dict.fromkeys(PARQUET_ENDINGS, Format.PARQUET),
    **dict.fromkeys(JSON_LINES_ENDINGS, Format.JSONL),
    ".json": Format.JSON,
    ".csv": Format.CSV,
}


def choose_format(asked: str | None, out: str | None) -> Format:
    """The format asked for, else the one that the output's ending names; text without an output.

    Raises:
        RequestError: the ending names none, or Parquet was asked for without a file to put it in.
    """
    ending = Path(out).suffix.lower() if out else ""
    if not asked and ending not in ENDINGS:
        raise RequestError(
            f"{out} has the ending {ending}, and results go to .txt, .json, .jsonl, .csv or "
            ".parquet.",
            "Choose one with --format, or another ending.",
        )
    found = Format(asked) if asked else ENDINGS[ending]
    if found is Format.PARQUET and not out:
        raise RequestError("Parquet goes to a file.", "Name it with --out FILE.parquet.")
    return found


def write_rows(rows: Iterable[Row], columns: Sequence[str], form: Format, stream: TextIO) -> None:
    """Write rows to a text stream as they come, in any format but text and Parquet.

    Args:
        rows: the rows.
        columns: names of the columns that CSV gets, in order.
        form: the format.
        stream: where to write.
    """
    if form is Format.CSV:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    elif form is Format.JSONL:
        for row in rows:
            print(to_json(row), file=stream)
    else:
        separator = "[\n"
        for row in rows:
            print(separator, to_json(row), sep="", end="", file=stream)
            separator = ",\n"
        print("[]" if separator == "[\n" else "\n]", file=stream)


def write_table(
    rows: Iterable[Row],
    columns: Sequence[str],
    form: Format,
    out: str | None,
    stream: TextIO,
    write_text: WriteText,
) -> None:
    """Write rows where they were asked for: to a file, which appears when it is complete, or to
    a stream.

    Args:
        rows: the rows, for programs.
        columns: names of their columns.
        form: the format.
        out: the file, None for the stream.
        stream: standard output.
        write_text: writes the same for people.

    Raises:
        OutputError: the file cannot be written.
    """
    if out is None:
        _write(rows, columns, form, stream, write_text)
        return
    with appearing(check_file_name(out)) as [file]:
        if form is Format.PARQUET:
            _write_parquet(rows, columns, file)
        else:
            text = io.TextIOWrapper(file, "utf-8", newline="")
            _write(rows, columns, form, text, write_text)
            text.detach()  # written out, and left open


def _write(
    rows: Iterable[Row],
    columns: Sequence[str],
    form: Format,
    stream: TextIO,
    write_text: WriteText,
) -> None:
    if form is Format.TEXT:
        write_text(stream)
    else:
        write_rows(rows, columns, form, stream)


def to_json(row: Row) -> str:
    """A row as one line of JSON."""
    return _dumped(dict(row))


def _dumped(value: Any) -> str:
    return json.dumps(finite(value), ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    """What JSON has no kind for: bytes in base64, and the rest as it is printed."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _cell(value: Any) -> Any:
    """A value in one cell of CSV."""
    if isinstance(value, dict | list | tuple):
        return _dumped(value)
    return _plain(value) if isinstance(value, bytes) else finite(value)


def _write_parquet(rows: Iterable[Row], columns: Sequence[str], file: IO[bytes]) -> None:
    import pyarrow as pa

    from indexes.parquet_writer import ParquetWriter

    groups = _groups(rows)
    first = pa.Table.from_pylist([_column_values(row) for row in next(groups, [])])
    if not first.num_columns:
        first = pa.table({name: pa.nulls(0) for name in columns})
    with ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for group in groups:
            rows_of = [_column_values(row) for row in group]
            table = pa.Table.from_pylist(rows_of, schema=first.schema)
            writer.write_table(table)


def _column_values(row: Row) -> dict[str, Any]:
    """A row without empty dictionaries, which Parquet has not: null in their place."""
    return {name: _without_empty(value) for name, value in row.items()}


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(item) for key, item in value.items()} or None
    if isinstance(value, list | tuple):
        return [_without_empty(item) for item in value]
    return value


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    found = iter(rows)
    while group := list(itertools.islice(found, GROUP_ROWS)):
        yield group
