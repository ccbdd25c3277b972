"""Texts and what should be made of them, such as summaries, out of Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from embedder.errors import LabelError
from embedder.whole_table import (
    check_columns,
    choose_column,
    read_whole_table,
    table_rows,
    value_in,
)

TARGET_NAMES = ("targets", "target")
"""Columns that are taken for the targets, in this order."""


class GenerationPair(NamedTuple):
    """A text, and the texts of which each would do."""

    source: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class GenerationPairs:
    """The rows of a file.

    Args:
        pairs: in order.
        columns: the names of the columns `source` and `target` in it.
    """

    pairs: list[GenerationPair]
    columns: dict[str, str]


def read_generation_pairs(path: str | Path, columns: Mapping[str, str]) -> GenerationPairs:
    """The pairs of a Parquet file, in order.

    Args:
        path: the file.
        columns: names of the columns `source` and `target`, where they are not the usual ones. A
            target is a text, or a list of texts of which each would do.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a row has no source or no target; it is named.
    """
    table = read_whole_table(path)
    source = columns.get("source", "source")
    target = choose_column(columns.get("target"), TARGET_NAMES, table, path, "--target")
    check_columns([source, target], table, path)
    pairs = []
    for number, row in enumerate(table_rows(table.select([*{source, target}])), 1):
        place = f"Row {number} of {path}"
        text = _text(value_in(row, source, number, path), source, place)
        targets = value_in(row, target, number, path)
        listed = targets if isinstance(targets, list) else [targets]
        if not listed:
            raise LabelError(f"{place} has an empty list in the column {target!r}.")
        pairs.append(GenerationPair(text, tuple(_text(t, target, place) for t in listed)))
    return GenerationPairs(pairs, {"source": source, "target": target})


def _text(value: Any, name: str, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise LabelError(f"{place} has {value!r} in the column {name!r}, and text is wanted.")
    return value
