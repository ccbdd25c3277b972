"""Ids from files: lines of text, JSON lines or a Parquet column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedder.endings import JSON_LINES_ENDINGS, PARQUET_ENDINGS
from embedder.errors import SourceError
from jobs.queries import read_lines

DEFAULT_COLUMN = "id"


def read_ids(path: str, column: str | None = None) -> Iterator[str]:
    """Ids from a file, in order; blank lines and nulls are left out.

    Args:
        path: `.parquet`, `.jsonl`, anything else as one id a line, `-` for lines on stdin.
        column: the field or column that holds the id; default `id`.

    Raises:
        SourceError: the file cannot be read or holds something else.
        ColumnError: a Parquet file has no such column.
    """
    ending, name = Path(path).suffix.lower(), column or DEFAULT_COLUMN
    if ending in PARQUET_ENDINGS:
        from embedder.corpus import read_strings

        yield from read_strings(path, name)
        return
    for number, line in read_lines(path):
        if not line.strip():
            continue
        is_json = ending in JSON_LINES_ENDINGS
        yield _json_id(path, number, line, name) if is_json else line.rstrip("\r\n")


def _json_id(path: str, number: int, line: str, name: str) -> str:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}, line {number}, is not JSON: {error}.") from error
    if isinstance(value, dict):
        value = value.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SourceError(
            f"{path}, line {number}, has no id: a field {name} of text or a whole number "
            "is wanted.",
            "Name the field with --column.",
        )
    return str(value)
