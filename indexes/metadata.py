"""DuckDB over the segments' Parquet: filters, passages, documents. Read-only, nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.errors import FilterError, IndexFormatError, cause_of
from indexes.database import identifier, literal_path, open_locked, quote
from indexes.deletions import live_documents
from indexes.documents import document_schema
from indexes.filter_process import FilterProcess
from indexes.layout import DOCUMENTS_FILE, PASSAGES_FILE, Layout
from indexes.manifest import Manifest, SegmentRecord

READ_ERRORS = (duckdb.Error, UnicodeDecodeError)
"""What DuckDB raises on damaged files."""

SCANNED_SEGMENTS = 512
SCANNED_DOCUMENTS = 4_000_000
"""Most segments whose ids one query reads, and most documents, if it reads several segments."""

FILTER_SECONDS = 30.0
"""How long a filter may take."""


@dataclass(frozen=True)
class PassageSpan:
    """Where a passage lies, and what to know it by.

    Args:
        document: the row of its document in the segment.
        start: its first character.
        end: one past its last.
        hash_low: first half of the content hash of its text.
        hash_high: second half.
        checksum: CRC-32 of its row of the vectors.
    """

    document: int
    start: int
    end: int
    hash_low: int
    hash_high: int
    checksum: int


@dataclass(frozen=True)
class DocumentRow:
    """A document as it was indexed."""

    id: str
    text: str
    metadata: dict[str, Any]


class MetadataStore:
    """Queries over the documents and passages of the committed segments, from any thread.

    Args:
        layout: the index.
        manifest: its committed state.
        filter_seconds: how long a filter may take.
    """

    def __init__(
        self, layout: Layout, manifest: Manifest, *, filter_seconds: float = FILTER_SECONDS
    ) -> None:
        self._layout = layout
        self._manifest = manifest
        self._segments = manifest.segments
        self._connection = open_locked(layout.segments)
        self._lock = threading.Lock()  # a connection holds one result at a time
        self._filters = FilterProcess(layout)
        self._filter_seconds = filter_seconds
        self._columns: dict[str, str] | None = None  # with their types over all segments

    def close(self) -> None:
        """Release DuckDB."""
        self._connection.close()
        self._filters.close()

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
                "Name one of them with --fields or --by.",
            )
        known = [available[name.casefold()] for name in fields if name not in unknown]
        return list(dict.fromkeys(known))

    def allowed_documents(self, where: str) -> npt.NDArray[np.bool_]:
        """Which documents, counted over all segments in order, a SQL expression holds for.

        Raises:
            FilterError: the expression is wrong, or asks for more than the documents' columns.
        """
        n_documents = [segment.n_documents for segment in self._segments]
        if not sum(n_documents):
            return np.zeros(0, dtype=np.bool_)
        visible = self._visible()
        selected = ", ".join(f"{source} AS {identifier(n)}" for n, source in visible.items())
        firsts = np.concatenate([[0], np.cumsum(n_documents)])[:-1].tolist()
        number = f"{firsts}[__segment + 1] + __row"
        sql = (
            f"SELECT bitstring_agg({number}, 0, {sum(n_documents) - 1}) FROM (SELECT __segment, "
            f"__row FROM (SELECT file_index::BIGINT AS __segment, __row, {selected} "
            f"FROM {self._documents()}) AS documents WHERE (\n{where}\n))"
        )
        bits = self._filters.evaluate(where, sql, list(visible), self._filter_seconds)
        bits = bits or "0" * sum(n_documents)
        allowed: npt.NDArray[np.bool_] = np.frombuffer(bits.encode(), dtype="S1") == b"1"
        return allowed

    def passages(self, wanted: Mapping[int, Sequence[int]]) -> dict[tuple[int, int], PassageSpan]:
        """Passages by (number of the segment, row in it)."""
        columns = 'file_row_number, document, start, "end", hash_low, hash_high, checksum'
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
        for found in _in_microseconds(self._arrow(sql)).to_pylist():
            index, row, document_id, text, *values = found.values()
            metadata = dict(zip(chosen, values, strict=True))
            result[used[index], row] = DocumentRow(document_id, text, metadata)
        return result

    def values(self, field: str) -> Any:
        """A metadata column of all stored documents in order, as a pyarrow chunked array."""
        chosen = self.resolve_fields([field])
        [column] = self._typed(chosen)
        parts = [
            self._arrow(f"SELECT {column} FROM {self._documents(numbers, chosen)}").column(0)
            for numbers in self._scans()
        ]
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks])

    def arrow_schema(self, fields: Sequence[str]) -> Any:
        """Types of metadata columns, as a pyarrow schema."""
        names = ", ".join(self._typed(self.resolve_fields(fields)))
        schema = self._arrow(f"SELECT {names or 'NULL'} FROM {self._documents()} LIMIT 0").schema
        return schema if names else schema.remove(0)

    def _typed(self, columns: Sequence[str]) -> list[str]:
        """Columns at the type that they have over all segments, whichever are read."""
        types = self._columns or {}
        return [f"{identifier(n)}::{types[n]} AS {identifier(n)}" for n in columns]

    def count_duplicate_ids(self) -> int:
        """How many live documents have an id that another one before them has."""
        # Eight bytes a document; DuckDB's own distinct count needs ten times that.
        parts = [
            self._column(f"SELECT hash(__id) AS hash FROM {self._documents(numbers)}")
            for numbers in self._scans()
        ]
        hashes = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
        live = live_documents(self._layout, self._manifest)
        hashes = np.sort(hashes if live is None else hashes[live])
        return int((hashes[1:] == hashes[:-1]).sum())

    def document_hashes(self, segment: SegmentRecord) -> npt.NDArray[np.uint64]:
        """A hash of each document of a segment with its text and metadata, shape (n,)."""
        columns = document_schema(self._layout, segment).names
        names = ", ".join(identifier(name) for name in columns if name != "__row")
        path = quote(self._path(segment, DOCUMENTS_FILE))
        return self._column(f"SELECT hash({names}) AS hash FROM read_parquet({path})")

    def _scans(self) -> Iterator[range]:
        """Numbers of neighbouring segments that one query reads: many files, some documents."""
        first = n_documents = 0
        for number, segment in enumerate(self._segments):
            n_documents += segment.n_documents
            is_full = number - first == SCANNED_SEGMENTS or n_documents > SCANNED_DOCUMENTS
            if is_full and number > first:
                yield range(first, number)
                first, n_documents = number, segment.n_documents
        if self._segments:
            yield range(first, len(self._segments))

    def _visible(self) -> dict[str, str]:
        """The columns that a filter sees: metadata, and id and text under both their names."""
        manifest = self._manifest
        own = {"id": "__id", "text": "__text", manifest.text: "__text"}
        own |= {manifest.id: "__id"} if manifest.id else {}
        columns = {name: identifier(name) for name in self.metadata_columns}
        taken = {name.casefold() for name in columns}
        for name, source in own.items():
            if name.casefold() not in taken:
                taken.add(name.casefold())
                columns[name] = source
        return columns

    def _documents(self, segments: Sequence[int] | None = None, columns: Sequence[str] = ()) -> str:
        """A scan of the documents of some segments (all by default), by number.

        A column of `columns` that none of these segments has is null.
        """
        numbers = range(len(self._segments)) if segments is None else segments
        paths = [self._path(self._segments[n], DOCUMENTS_FILE) for n in numbers]
        listed = ", ".join(quote(path) for path in paths)
        scan = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
        if len(paths) == len(self._segments) or not columns:
            return scan
        there = {r[0] for r in self._rows(f"DESCRIBE SELECT * FROM {scan}", "the documents")}
        missing = "".join(f", NULL AS {identifier(n)}" for n in columns if n not in there)
        return f"(SELECT *, file_index{missing} FROM {scan})" if missing else scan

    def _pick(
        self, wanted: Mapping[int, Sequence[int]], file: str, columns: str, key: str
    ) -> list[tuple[Any, ...]]:
        """Rows of one kind of file, each with the number of its segment before it."""
        parts = [
            f"SELECT {segment}, {columns} FROM "
            f"read_parquet({quote(self._path(self._segments[segment], file))}, "
            f"file_row_number = true) WHERE {key} IN ({_numbers(rows)})"
            for segment, rows in wanted.items()
            if rows
        ]
        return self._rows(" UNION ALL ".join(parts), file) if parts else []

    def _path(self, segment: SegmentRecord, file: str) -> str:
        return literal_path(self._layout.segment(segment.id) / file)

    def _arrow(self, sql: str) -> Any:
        """The result of a query over the documents, as a pyarrow table."""
        try:
            with self._lock:
                return self._connection.sql(sql).to_arrow_table()
        except READ_ERRORS as error:
            raise _damaged("the documents", error) from error

    def _rows(self, sql: str, what: str) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(sql).fetchall()
        except READ_ERRORS as error:
            raise _damaged(what, error) from error

    def _column(self, sql: str) -> npt.NDArray[np.uint64]:
        """The column `hash` of a query over the documents, in the order of files and rows."""
        try:
            with self._lock:
                found = self._connection.execute(sql).fetchnumpy()
        except READ_ERRORS as error:
            raise _damaged("the documents", error) from error
        return np.asarray(found["hash"], dtype=np.uint64)


def _in_microseconds(table: Any) -> Any:
    """A table whose times are no finer than Python's own."""
    schema = table.schema
    for number, field in enumerate(schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            kind = pa.timestamp("us", field.type.tz)
            values = table.column(number).cast(kind, safe=False)
            table = table.set_column(number, field.name, values)
    return table


def _damaged(what: str, error: Exception) -> IndexFormatError:
    return IndexFormatError(
        f"{what} cannot be read: {cause_of(error)}.", "Run embedder index again to restore them."
    )


def _numbers(rows: Sequence[int]) -> str:
    return ", ".join(str(int(row)) for row in rows)
