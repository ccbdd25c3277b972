"""Queries with the texts that answer them, out of Parquet: what retrieval is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from embedder.errors import LabelError
from embedder.pairs import text_in
from embedder.whole_table import check_columns, choose_column, read_whole_table, table_rows

QUERY_NAMES = ("query", "question", "anchor")
POSITIVE_NAMES = ("positive", "context", "passage")
NEGATIVE_NAMES = ("negatives", "negative")
"""Columns that are taken for queries, for texts that answer them and for texts that do not, in
this order."""


class RetrievalPair(NamedTuple):
    """A query, a text that answers it, and texts that do not."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()


def read_retrieval_pairs(
    path: str | Path, columns: Mapping[str, str] | None = None
) -> list[RetrievalPair]:
    """The pairs of a Parquet file, in order.

    Args:
        path: the file.
        columns: names of the columns `query`, `positive` and `negative`, where they are not the
            usual ones; that of the negatives may be missing, and holds texts or lists of texts.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a row has no text, or an empty one.
    """
    asked = columns or {}
    table = read_whole_table(path)
    query = choose_column(asked.get("query"), QUERY_NAMES, table, path, "--query")
    positive = choose_column(asked.get("positive"), POSITIVE_NAMES, table, path, "--positive")
    negative = asked.get("negative") or next(
        (n for n in NEGATIVE_NAMES if n in table.column_names), None
    )
    wanted = [name for name in (query, positive, negative) if name is not None]
    check_columns(wanted, table, path)
    return [
        RetrievalPair(
            text_in(row, query, number, path),
            text_in(row, positive, number, path),
            () if negative is None else _texts_in(row, negative, number, path),
        )
        for number, row in enumerate(table_rows(table.select(wanted)), 1)
    ]


def _texts_in(row: Mapping[str, Any], name: str, number: int, path: str | Path) -> tuple[str, ...]:
    """The texts that a row has in a column of texts or lists of them; nothing is no text."""
    value = row[name]
    if value is None:
        return ()
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise LabelError(
            f"Row {number} of {path} has {str(value)[:80]!r} in the column {name!r}, and texts "
            "that are not empty are wanted.",
            "Correct the row, or leave it out.",
        )
    return tuple(texts)
