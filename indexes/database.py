"""DuckDB, locked: a connection that reads an index's segments and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

MEMORY_LIMIT = "1GB"


def open_locked(segments: Path, *, n_threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A connection that can read the files under a folder, and cannot be changed.

    Args:
        segments: the folder.
        n_threads: threads of its queries; one a core by default.
    """
    connection = duckdb.connect(":memory:")
    if n_threads is not None:
        connection.execute(f"SET threads = {n_threads}")
    # Else a filter's times without a zone, and dates, would be those of the machine's zone.
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute("SET temp_directory = ''")
    # The system keeps files in memory better than two caches do.
    connection.execute("SET enable_external_file_cache = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    # Else a name that is no table is looked for among Python's variables.
    connection.execute("SET python_enable_replacements = false")
    folders = (literal_path(segments), str(segments))  # as a pattern and as it is
    allowed = ", ".join(quote(f"{folder}/") for folder in folders)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def quote(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name of a column as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal_path(path: Path) -> str:
    """A path in which DuckDB sees no pattern."""
    return re.sub(r"[*?[]", r"[\g<0>]", str(path))
