"""Small Parquet files of labelled data, read whole; an error names the file and the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from embedder.errors import ColumnError, LabelError, SourceError


def read_whole_table(path: str | Path) -> pa.Table:
    """All of a file, which has at least one row.

    Raises:
        SourceError: the file cannot be read, or has no rows.
    """
    try:
        table = pq.read_table(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        cause = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SourceError(
            f"{path} cannot be read as Parquet: {cause}", "Check that the file is there, and whole."
        ) from error
    if not table.num_rows:
        raise SourceError(f"{path} has no rows.", "There is nothing to measure.")
    return table


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


def value_in(row: Mapping[str, Any], name: str, number: int, path: str | Path) -> Any:
    """What a row has in a column.

    Raises:
        LabelError: it has nothing there.
    """
    value = row[name]
    if value is None:
        raise LabelError(f"Row {number} of {path} has nothing in the column {name!r}.")
    return value
