"""Queries from files: lines of text, JSON lines or a Parquet column."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedder.endings import JSON_LINES_ENDINGS, PARQUET_ENDINGS
from embedder.errors import ColumnError, SourceError
from embedder.records import is_utf8

log = logging.getLogger(__name__)

QUERY_NAMES = ("query", "text", "question")
"""Fields of a JSON line that are taken for the query, in this order."""


def read_queries(path: str, column: str | None = None) -> Iterator[str]:
    """Queries from a file, in order; blank ones are left out and counted in a warning.

    Args:
        path: `.parquet`, `.jsonl`, anything else as one query a line, `-` for lines on stdin.
        column: the field or column that holds the query.

    Raises:
        SourceError: the file cannot be read or holds something else.
        ColumnError: a Parquet file has no such column, or none that is sensible.
    """
    ending = Path(path).suffix.lower()
    if ending in PARQUET_ENDINGS:
        found = _parquet_queries(path, column)
    elif ending in JSON_LINES_ENDINGS:
        found = _json_queries(path, column)
    else:
        found = (line for _, line in read_lines(path))
    n_blank = 0
    for query in found:
        if query.strip():
            yield query.strip()
        else:
            n_blank += 1
    if n_blank:
        log.warning("%s: %d blank queries were left out", path, n_blank)


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Lines of a text file, `-` for stdin, with their numbers from 1.

    Raises:
        SourceError: the file cannot be read, or is not UTF-8.
    """
    try:
        with open(0 if path == "-" else path, encoding="utf-8", closefd=path != "-") as file:
            for number, line in enumerate(file, 1):
                yield number, line.removeprefix("\ufeff") if number == 1 else line
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise SourceError(f"{path} is not text in UTF-8: {error.reason}.") from error
        cause = getattr(error, "strerror", None) or error
        raise SourceError(f"{path} cannot be read: {cause}.") from error


def _json_queries(path: str, column: str | None) -> Iterator[str]:
    for number, line in read_lines(path):
        if line.strip():
            yield _json_query(path, number, line, column)


def _json_query(path: str, number: int, line: str, column: str | None) -> str:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}, line {number}, is not JSON: {error}.") from error
    names = (column,) if column else QUERY_NAMES
    if isinstance(value, dict):
        value = next((value[name] for name in names if name in value), None)
    if not isinstance(value, str):
        raise SourceError(
            f"{path}, line {number}, has no query: a text field {' or '.join(names)} is wanted.",
            "Name the field with --column.",
        )
    if not is_utf8(value):
        raise SourceError(f"{path}, line {number}, is not text in UTF-8.")
    return value


def _parquet_queries(path: str, column: str | None) -> Iterator[str]:
    from embedder.columns import ColumnRequest
    from embedder.corpus import open_corpus, read_shards
    from embedder.rows import LEFT_OUT

    try:
        try:
            request = ColumnRequest(text=column or QUERY_NAMES[0], metadata=())
            corpus = open_corpus([path], request)
        except ColumnError:
            if column:
                raise
            corpus = open_corpus([path], ColumnRequest(metadata=()))
    except ColumnError as error:
        raise ColumnError(error.message, error.hint.replace("--text", "--column")) from error
    for rows in read_shards(corpus.shards(), corpus):
        yield from rows.texts
        yield from [""] * sum(rows.counts[reason] for reason in LEFT_OUT)
