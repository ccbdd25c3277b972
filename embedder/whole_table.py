"""Small Parquet files of labelled data, read whole; an error names the file and the row."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedder.errors import ColumnError, LabelError, SourceError, cause_of


def read_whole_table(path: str | Path) -> pa.Table:
    """All of a file, which has at least one row.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column holds text that is no valid UTF-8.
    """
    table = _read(path, pq.read_table)
    if not table.num_rows:
        raise SourceError(f"{path} has no rows.", "There is nothing to measure.")
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not _is_valid(column):
            raise ColumnError(
                f"Row {_first_invalid(column)} of {path} has invalid UTF-8 in the column {name!r}.",
                "Correct the row, or leave the column out of the file.",
            )
    return table


def read_column_names(path: str | Path) -> set[str]:
    """The names of a file's columns, without its rows.

    Raises:
        SourceError: the file cannot be read.
    """
    return set(_read(path, pq.read_schema).names)


def _read(path: str | Path, read: Callable[[str | Path], Any]) -> Any:
    if Path(path).is_dir():
        raise SourceError(
            f"{path} is a folder, and a Parquet file is wanted.",
            "Name a file; a model is named with --model.",
        )
    try:
        return read(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceError(
            f"{path} cannot be read as Parquet: {cause_of(error)}.",
            "Check that the file is there, and whole.",
        ) from error


def _is_valid(column: pa.ChunkedArray) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _first_invalid(column: pa.ChunkedArray) -> int:
    """The number of the first row, from 1, that is not valid, in a column that has one."""
    counts = range(1, len(column))
    # Taken, not sliced: a slice of lists is checked with the values of all rows.
    return 1 + bisect_left(counts, True, key=lambda n: not _is_valid(column.take(np.arange(n))))


def table_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table by the names of its columns."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def check_columns(names: Sequence[str], table: pa.Table, path: str | Path) -> None:
    """Raise ColumnError unless a table has some columns."""
    for name in names:
        if name not in table.column_names:
            raise ColumnError(
                f"{path} has no column {name!r}; it has: {', '.join(table.column_names)}.",
                "Name the columns as --help says.",
            )


def choose_column(
    asked: str | None, names: Sequence[str], table: pa.Table, path: str | Path, option: str
) -> str:
    """The column that was asked for, else the first of some that a table has.

    Args:
        asked: the column that the user named, which may not be there.
        names: columns that are taken where none was named.
        table: the table.
        path: its file.
        option: what names the column, for the message.

    Raises:
        ColumnError: none was named, and the table has none of those.
    """
    if asked:
        return asked
    for name in names:
        if name in table.column_names:
            return name
    raise ColumnError(
        f"{path} has no column {' or '.join(map(repr, names))}; it has: "
        f"{', '.join(table.column_names)}.",
        f"Name one with {option}.",
    )


def value_in(row: Mapping[str, Any], name: str, number: int, path: str | Path) -> Any:
    """What a row has in a column.

    Raises:
        LabelError: it has nothing there.
    """
    value = row[name]
    if value is None:
        raise LabelError(f"Row {number} of {path} has nothing in the column {name!r}.")
    return value
