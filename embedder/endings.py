"""Endings of file names, which say what is in a file."""

from __future__ import annotations

PARQUET_ENDINGS = (".parquet", ".pq", ".parq")
JSON_LINES_ENDINGS = (".jsonl", ".ndjson")
