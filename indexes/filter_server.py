"""Evaluates filters in a process of its own, which its parent ends when it has had enough.

DuckDB bounds neither the memory of strings and lists nor the time of one call of a function, so
the operating system does both.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb

from embedder.errors import FilterError
from indexes.database import open_locked
from indexes.filters import MEMORY_BYTES, check_filter

MAX_THREADS = 4


def serve(segments: str) -> None:
    """Answer requests, one JSON object a line, until stdin ends."""
    _limit_process()
    connection = open_locked(Path(segments), n_threads=min(MAX_THREADS, os.cpu_count() or 1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for line in sys.stdin.buffer:
        answer = json.dumps(_answer(connection, json.loads(line)))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _end_with_parent() -> None:
    """Wait for the other end of stdin to close, and exit in the middle of whatever runs."""
    hangup = select.poll()
    hangup.register(sys.stdin.fileno(), select.POLLRDHUP)
    hangup.poll()
    os._exit(0)


def _limit_process() -> None:
    for kind, limit in (
        (resource.RLIMIT_DATA, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),  # no file can be written
        (resource.RLIMIT_CORE, 0),
    ):
        _, hardest = resource.getrlimit(kind)
        lowest = limit if hardest == resource.RLIM_INFINITY else min(limit, hardest)
        resource.setrlimit(kind, (lowest, lowest))


def _answer(connection: duckdb.DuckDBPyConnection, request: dict[str, Any]) -> dict[str, Any]:
    try:
        check_filter(connection, request["where"], request["columns"])
        [allowed] = connection.execute(request["sql"]).fetchone() or (None,)
    except FilterError as error:
        return {"refused": error.message, "hint": error.hint}
    except (duckdb.OutOfMemoryException, MemoryError):
        return {"is_too_large": True}
    except duckdb.Error as error:
        return {"damaged" if _is_damage(error) else "failed": str(error)}
    return {"allowed": allowed or ""}


def _is_damage(error: duckdb.Error) -> bool:
    """Whether a query failed by the files that it reads rather than by what it says."""
    is_unnamed = type(error) is duckdb.Error  # what the Parquet reader's own libraries raise
    return is_unnamed or isinstance(error, duckdb.IOException) or "Failed to read" in str(error)
