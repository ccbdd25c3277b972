"""DuckDB over the segments' Parquet: filters, passages, documents. Read-only, nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from embedder.errors import FilterError, IndexFormatError
from embedder.records import TextHashes, is_utf8
from indexes.layout import DOCUMENTS_FILE, PASSAGES_FILE, Layout
from indexes.manifest import Manifest, SegmentRecord

MEMORY_LIMIT = "1GB"
OWN_NAMES = ("id", "text")
"""Names under which a filter sees a document's id and text, unless metadata has such a column."""


@dataclass(frozen=True)
class PassageSpan:
    """Where a passage lies: the row of its document in the segment, and characters."""

    document: int
    start: int
    end: int


@dataclass(frozen=True)
class DocumentRow:
    """A document as it was indexed."""

    id: str
    text: str
    metadata: dict[str, Any]


class MetadataStore:
    """Queries over the documents and passages of the committed segments.

    Args:
        layout: the index.
        manifest: its committed state.
    """

    def __init__(self, layout: Layout, manifest: Manifest) -> None:
        self._layout = layout
        self._manifest = manifest
        self._segments = manifest.segments
        self._connection = _open_locked(layout, self._segments)
        self._columns: dict[str, str] | None = None  # with their types over all segments

    def close(self) -> None:
        """Release DuckDB."""
        self._connection.close()

    @property
    def metadata_columns(self) -> list[str]:
        """Metadata columns that the segments have."""
        if not self._segments:
            return []
        if self._columns is None:
            found = self._rows(f"DESCRIBE SELECT * FROM {self._documents()}", "the documents")
            self._columns = {r[0]: r[1] for r in found if r[0] not in ("__row", "__id", "__text")}
        return list(self._columns)

    def resolve_fields(self, fields: Sequence[str]) -> list[str]:
        """Metadata columns by their names in any case.

        Raises:
            FilterError: there is no such column.
        """
        available = {name.casefold(): name for name in self.metadata_columns}
        unknown = [name for name in fields if name.casefold() not in available]
        if unknown and self._segments:
            raise FilterError(
                f"The index has no metadata column {unknown[0]!r}; it has: "
                f"{', '.join(self.metadata_columns) or 'none'}.",
                "Give --fields these names.",
            )
        known = [available[name.casefold()] for name in fields if name not in unknown]
        return list(dict.fromkeys(known))

    def passage_documents(self) -> npt.NDArray[np.int64]:
        """Number of the document of each passage, both counted over all segments in order."""
        parts, first = [], 0
        for segment in self._segments:
            path = _quote(self._path(segment, PASSAGES_FILE))
            column = self._columns_of(f"SELECT document FROM read_parquet({path})", path)
            if len(column["document"]) != segment.n_passages:
                raise IndexFormatError(f"{path} does not hold {segment.n_passages} passages.")
            parts.append(np.asarray(column["document"], dtype=np.int64) + first)
            first += segment.n_documents
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def passage_hashes(self, segment: SegmentRecord) -> TextHashes:
        """Content hashes of a segment's passages, shape (n, 2)."""
        path = _quote(self._path(segment, PASSAGES_FILE))
        found = self._columns_of(f"SELECT hash_low, hash_high FROM read_parquet({path})", path)
        halves = [np.asarray(found[name], dtype=np.uint64) for name in ("hash_low", "hash_high")]
        return np.stack(halves, axis=1)

    def allowed_documents(self, where: str) -> npt.NDArray[np.bool_]:
        """Which documents, counted over all segments in order, a SQL expression holds for.

        Raises:
            FilterError: the expression is wrong, or asks for more than the documents' columns.
        """
        _check_expression(where)
        allowed = np.zeros(self._manifest.n_documents, dtype=np.bool_)
        if not self._segments:
            return allowed
        sql = (
            f"SELECT __segment, __row FROM (SELECT {self._visible()} FROM {self._documents()}) "
            f"AS documents WHERE (\n{where}\n)"
        )
        try:
            found = self._connection.execute(sql).fetchnumpy()
        except duckdb.Error as error:
            raise self._filter_error(where, error) from error
        sizes = [segment.n_documents for segment in self._segments]
        firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        rows = np.asarray(found["__row"], dtype=np.int64)
        allowed[firsts[np.asarray(found["__segment"], dtype=np.int64)] + rows] = True
        return allowed

    def passages(self, wanted: Mapping[int, Sequence[int]]) -> dict[tuple[int, int], PassageSpan]:
        """Passages by (number of the segment, row in it)."""
        columns = 'file_row_number, document, start, "end"'
        found = self._pick(wanted, PASSAGES_FILE, columns, "file_row_number")
        return {(row[0], row[1]): PassageSpan(*row[2:]) for row in found}

    def documents(
        self, wanted: Mapping[int, Sequence[int]], fields: Sequence[str]
    ) -> dict[tuple[int, int], DocumentRow]:
        """Documents by (number of the segment, row in it), with some of their metadata."""
        chosen = self.resolve_fields(fields)
        result: dict[tuple[int, int], DocumentRow] = {}
        used = [segment for segment, rows in wanted.items() if rows]
        if not used:
            return result
        names = "".join(f", {column}" for column in self._typed(chosen))
        per_segment = " OR ".join(
            f"(file_index = {i} AND __row IN ({_numbers(wanted[segment])}))"
            for i, segment in enumerate(used)
        )
        # The first condition is the one by which the reader skips row groups.
        every = _numbers(sorted({row for segment in used for row in wanted[segment]}))
        sql = (
            f"SELECT file_index, __row, __id, __text{names} FROM {self._documents(used, chosen)} "
            f"WHERE __row IN ({every}) AND ({per_segment})"
        )
        # Through Arrow: DuckDB's own conversion of times with a zone needs one more package.
        for found in self._arrow(sql).to_pylist():
            index, row, document_id, text, *values = found.values()
            metadata = dict(zip(chosen, values, strict=True))
            result[used[index], row] = DocumentRow(document_id, text, metadata)
        return result

    def arrow_schema(self, fields: Sequence[str]) -> Any:
        """Types of metadata columns, as a pyarrow schema."""
        names = ", ".join(self._typed(self.resolve_fields(fields)))
        schema = self._arrow(f"SELECT {names or 'NULL'} FROM {self._documents()} LIMIT 0").schema
        return schema if names else schema.remove(0)

    def _typed(self, columns: Sequence[str]) -> list[str]:
        """Columns at the type that they have over all segments, whichever are read."""
        types = self._columns or {}
        return [f"{_identifier(n)}::{types[n]} AS {_identifier(n)}" for n in columns]

    def count_duplicate_ids(self) -> int:
        """How many documents have an id that another document before them has."""
        # Eight bytes a document; DuckDB's own distinct count needs ten times that.
        hashes = np.empty(self._manifest.n_documents, dtype=np.uint64)
        first = 0
        for segment in self._segments:
            path = _quote(self._path(segment, DOCUMENTS_FILE))
            found = self._columns_of(f"SELECT hash(__id) AS id FROM read_parquet({path})", path)
            hashes[first : first + segment.n_documents] = found["id"]
            first += segment.n_documents
        hashes.sort()
        return int((hashes[1:] == hashes[:-1]).sum())

    def _visible(self) -> str:
        """The columns that a filter sees: metadata, and id and text under both their names."""
        manifest, taken = self._manifest, {name.casefold() for name in self.metadata_columns}
        aliases = [("id", "__id"), ("text", "__text"), (manifest.text, "__text")]
        aliases += [(manifest.id, "__id")] if manifest.id else []
        parts = ["file_index AS __segment", "*"]
        for name, column in aliases:
            if name.casefold() not in taken:
                taken.add(name.casefold())
                parts.append(f"{column} AS {_identifier(name)}")
        return ", ".join(parts)

    def _filter_error(self, where: str, error: duckdb.Error) -> FilterError:
        names = ", ".join(dict.fromkeys(["id", "text", *self.metadata_columns]))
        cause = str(error).strip().split("\n\n")[0].split("\nLINE")[0].replace("\n", " ")
        return FilterError(
            f"The filter {where!r} does not work: {cause}", f"It can use the columns {names}."
        )

    def _documents(self, segments: Sequence[int] | None = None, columns: Sequence[str] = ()) -> str:
        """A scan of the documents of some segments (all by default), by number.

        A column of `columns` that none of these segments has is null.
        """
        numbers = range(len(self._segments)) if segments is None else segments
        paths = [self._path(self._segments[n], DOCUMENTS_FILE) for n in numbers]
        listed = ", ".join(_quote(path) for path in paths)
        scan = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
        if len(paths) == len(self._segments) or not columns:
            return scan
        there = {r[0] for r in self._rows(f"DESCRIBE SELECT * FROM {scan}", "the documents")}
        missing = "".join(f", NULL AS {_identifier(n)}" for n in columns if n not in there)
        return f"(SELECT *, file_index{missing} FROM {scan})" if missing else scan

    def _pick(
        self, wanted: Mapping[int, Sequence[int]], file: str, columns: str, key: str
    ) -> list[tuple[Any, ...]]:
        """Rows of one kind of file, each with the number of its segment before it."""
        parts = [
            f"SELECT {segment}, {columns} FROM "
            f"read_parquet({_quote(self._path(self._segments[segment], file))}, "
            f"file_row_number = true) WHERE {key} IN ({_numbers(rows)})"
            for segment, rows in wanted.items()
            if rows
        ]
        return self._rows(" UNION ALL ".join(parts), file) if parts else []

    def _path(self, segment: SegmentRecord, file: str) -> str:
        return _literal(self._layout.segment(segment.id) / file)

    def _arrow(self, sql: str) -> Any:
        """The result of a query over the documents, as a pyarrow table."""
        try:
            return self._connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise _damaged("the documents", error) from error

    def _rows(self, sql: str, what: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise _damaged(what, error) from error

    def _columns_of(self, sql: str, what: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._connection.execute(sql).fetchnumpy()
        except duckdb.Error as error:
            raise _damaged(what, error) from error
        return found


def _open_locked(layout: Layout, segments: Sequence[SegmentRecord]) -> duckdb.DuckDBPyConnection:
    """A connection that can read the segments' files and nothing else, and cannot be changed."""
    connection = duckdb.connect(":memory:")
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute("SET temp_directory = ''")
    # The system keeps files in memory better than two caches do.
    connection.execute("SET enable_external_file_cache = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    folders = (_literal(layout.segments), str(layout.segments))  # as a pattern and as it is
    allowed = ", ".join(_quote(f"{folder}/") for folder in folders)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _check_expression(where: str) -> None:
    """Raise FilterError unless `where` is one SQL expression without a query inside."""
    hint = "For example: --where \"year >= 2020 AND lang = 'en'\""
    # The newlines keep a comment in the expression from hiding the closing parenthesis.
    statement = f"SELECT (\n{where}\n)"
    if not is_utf8(where):
        raise FilterError(f"The filter {where!r} is not text in UTF-8.", hint)
    try:
        n_statements = len(duckdb.extract_statements(statement))
        [serialized] = duckdb.execute(
            "SELECT json_serialize_sql(?::VARCHAR)", [statement]
        ).fetchone() or ("{}",)
    except duckdb.Error as error:
        cause = str(error).strip().split("\n")[0]
        raise FilterError(f"The filter {where!r} cannot be parsed: {cause}", hint) from error
    if n_statements != 1 or not _is_expression(json.loads(serialized)):
        raise FilterError(
            "A filter is one SQL expression over the documents' columns, without a query "
            f"inside; found {where!r}.",
            hint,
        )


def _is_expression(tree: dict[str, Any]) -> bool:
    """Whether DuckDB's syntax tree of `SELECT (...)` holds one expression and nothing more."""
    statements = tree.get("statements") or [{}]
    node = statements[0].get("node", {})
    return (
        not tree.get("error", True)
        and node.get("type") == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"]["type"] == "EMPTY"
        and not any(node.get(part) for part in _CLAUSES)
        and not _has_query(node["select_list"])
    )


_CLAUSES = ("where_clause", "modifiers", "group_expressions", "having", "sample", "qualify")


def _has_query(tree: Any) -> bool:
    if isinstance(tree, dict):
        return tree.get("class") == "SUBQUERY" or any(map(_has_query, tree.values()))
    return isinstance(tree, list) and any(map(_has_query, tree))


def _damaged(what: str, error: duckdb.Error) -> IndexFormatError:
    cause = str(error).strip().split("\n")[0]
    return IndexFormatError(f"{what} cannot be read: {cause}", "Build the index again.")


def _literal(path: Path) -> str:
    """A path in which DuckDB sees no pattern."""
    return re.sub(r"[*?[]", r"[\g<0>]", str(path))


def _numbers(rows: Sequence[int]) -> str:
    return ", ".join(str(int(row)) for row in rows)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
