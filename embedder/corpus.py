"""Parquet to rows of text: shards with a content identity, read in bounded memory.

Nothing is repaired in silence: rows without usable text are left out and counted by reason.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from embedder.columns import ColumnRequest, Columns, check_text_column, choose_columns, is_text
from embedder.errors import RequestError, SourceError
from embedder.sources import SourceFile, find_files

MAX_BATCH_ROWS = 1024
MAX_BATCH_BYTES = 8 << 20
READ_BUFFER_BYTES = 1 << 20

NULL_TEXT = "null text"
EMPTY_TEXT = "empty text"
BLANK_TEXT = "blank text"
INVALID_TEXT = "invalid UTF-8 in text"
NULL_ID = "null id"
INVALID_METADATA = "invalid UTF-8 in metadata"
LEFT_OUT = (NULL_TEXT, EMPTY_TEXT, BLANK_TEXT, INVALID_TEXT)
"""Reasons for which a row is not a document."""


@dataclass(frozen=True)
class ParquetSource:
    """A Parquet file whose footer has been read.

    Args:
        file: where it is.
        metadata: its footer.
        schema: its columns.
        stamp: size in bytes and time of change, to notice a change while it is read.
    """

    file: SourceFile
    metadata: pq.FileMetaData
    schema: pa.Schema
    stamp: tuple[int | None, int | None]


@dataclass(frozen=True)
class Shard:
    """One row group of one file: the unit of reading and of resume.

    Args:
        source: the file.
        row_group: its number in the file.
        first_row: number in the file of the group's first row.
        n_rows: rows to read; fewer than the group has when a limit cuts it.
    """

    source: ParquetSource
    row_group: int
    first_row: int
    n_rows: int


@dataclass(frozen=True)
class Rows:
    """Documents of one shard, in order.

    Args:
        shard: position of the shard in the sequence that is read.
        ids: the documents' ids.
        texts: their texts, none null or blank.
        metadata: their metadata columns.
        n_rows: rows of the shard behind this batch, those left out included.
        counts: how many rows had which defect.
        is_last: whether the shard ends here.
    """

    shard: int
    ids: list[str]
    texts: list[str]
    metadata: pa.Table
    n_rows: int
    counts: Counter[str] = field(default_factory=Counter)
    is_last: bool = False


@dataclass(frozen=True)
class Corpus:
    """Parquet files with the columns to read from them.

    Args:
        sources: the files.
        columns: text, id and metadata.
        partition_types: type of each hive key.
    """

    sources: list[ParquetSource]
    columns: Columns
    partition_types: dict[str, pa.DataType]

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return sum(source.metadata.num_rows for source in self.sources)

    def shards(self, limit: int | None = None) -> list[Shard]:
        """The row groups in order, up to `limit` rows in all."""
        found: list[Shard] = []
        left = self.n_rows if limit is None else limit
        for source in self.sources:
            first = 0
            for number in range(source.metadata.num_row_groups):
                n_rows = source.metadata.row_group(number).num_rows
                if min(n_rows, left) > 0:
                    found.append(Shard(source, number, first, min(n_rows, left)))
                first += n_rows
                left -= min(n_rows, left)
        return found


def open_corpus(sources: Sequence[str], request: ColumnRequest | None = None) -> Corpus:
    """Find the files, read their footers and decide the columns.

    Raises:
        SourceError: a file is missing, is no Parquet, or all are empty.
        ColumnError: the columns cannot be decided, or a file lacks the text column.
        RequestError: no sources were given.
    """
    if not sources:
        raise RequestError("No sources were given.", "Name a Parquet file, folder, glob or URL.")
    opened = [_open_source(file) for file in find_files(sources)]
    if not sum(source.metadata.num_rows for source in opened):
        raise SourceError(f"{opened[0].file.name} has no rows.", "There is nothing to index.")
    first = opened[0]
    keys = [key for key, _ in first.file.partitions]
    columns = choose_columns(request or ColumnRequest(), first.schema, keys, where=first.file.name)
    for source in opened:
        check_text_column(source.schema, columns.text, source.file.name)
    return Corpus(opened, columns, _partition_types(opened))


def _open_source(file: SourceFile) -> ParquetSource:
    try:
        with _open_parquet(file) as opened:
            return ParquetSource(file, opened.metadata, opened.schema_arrow, _stamp(file))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(
            f"{file.name} cannot be read as Parquet: {_cause(error)}",
            "Check that the file is Parquet and complete.",
        ) from error


def _open_parquet(file: SourceFile, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    handle = file.filesystem.open_input_file(file.path)
    return pq.ParquetFile(
        handle, metadata=metadata, pre_buffer=False, buffer_size=READ_BUFFER_BYTES
    )


def _stamp(file: SourceFile) -> tuple[int | None, int | None]:
    info = file.filesystem.get_file_info(file.path)
    return info.size, info.mtime_ns


def _cause(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _partition_types(sources: Sequence[ParquetSource]) -> dict[str, pa.DataType]:
    """int64 for a hive key all of whose values are integers, else string."""
    values: dict[str, list[str]] = {}
    for source in sources:
        for key, value in source.file.partitions:
            values.setdefault(key, []).extend([] if value is None else [value])
    return {
        key: pa.int64() if found and all(_is_integer(v) for v in found) else pa.string()
        for key, found in values.items()
    }


def _is_integer(value: str) -> bool:
    return value.lstrip("-").isdecimal() and len(value) < 19 and str(int(value)) == value


def shard_digest(shard: Shard, corpus: Corpus) -> str:
    """Content identity of a shard: the same for the same rows, wherever and whenever they lie.

    Taken over the bytes of the column chunks as they are stored, so nothing is decoded.

    Raises:
        SourceError: the file cannot be read.
    """
    source, columns = shard.source, corpus.columns
    names = [columns.text, *([columns.id] if columns.id else []), *columns.metadata]
    total = hashlib.sha256(repr([columns, shard.n_rows]).encode())
    if columns.id is None or columns.id not in source.schema.names:
        total.update(repr([source.file.relative, shard.first_row]).encode())
    kept = [(k, v) for k, v in source.file.partitions if k in columns.metadata]
    total.update(repr([kept, [str(corpus.partition_types[k]) for k, _ in kept]]).encode())
    group = source.metadata.row_group(shard.row_group)
    try:
        with source.file.filesystem.open_input_file(source.file.path) as file:
            for number in range(group.num_columns):
                chunk = group.column(number)
                path = chunk.path_in_schema
                if any(path == name or path.startswith(f"{name}.") for name in names):
                    total.update(f"{path}:{chunk.physical_type}:{chunk.compression};".encode())
                    _digest_chunk(total, file, chunk)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{source.file.name} cannot be read: {_cause(error)}") from error
    total.update(
        str([source.schema.field(n).type for n in names if n in source.schema.names]).encode()
    )
    return total.hexdigest()


def _digest_chunk(total: hashlib._Hash, file: pa.NativeFile, chunk: pq.ColumnChunkMetaData) -> None:
    start = chunk.data_page_offset
    if chunk.dictionary_page_offset:  # 0 and None both mean that there is none
        start = min(start, chunk.dictionary_page_offset)
    file.seek(start)
    left = chunk.total_compressed_size
    while left > 0:
        block = file.read(min(left, READ_BUFFER_BYTES))
        if not block:
            raise OSError("the file ends before its footer says")
        total.update(block)
        left -= len(block)


def read_shards(shards: Sequence[Shard], corpus: Corpus) -> Generator[Rows, None, None]:
    """Documents of the shards, in order, a bounded number of bytes at a time.

    Every shard yields at least one batch, and its last has `is_last` set.

    Raises:
        SourceError: a file cannot be read, or changed while it was read.
    """
    for number, shard in enumerate(shards):
        try:
            yield from _read_shard(number, shard, corpus)
            changed = _stamp(shard.source.file) != shard.source.stamp
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SourceError(
                f"{shard.source.file.name}, row group {shard.row_group}, cannot be read: "
                f"{_cause(error)}",
                "Check that the file is complete; what was indexed before it is kept.",
            ) from error
        if changed:
            raise SourceError(
                f"{shard.source.file.name} changed while it was read.",
                "Run the same command again once it is complete.",
            )


def _read_shard(number: int, shard: Shard, corpus: Corpus) -> Iterator[Rows]:
    source, columns = shard.source, corpus.columns
    wanted = [columns.text, *([columns.id] if columns.id else []), *columns.metadata]
    names = [name for name in dict.fromkeys(wanted) if name in source.schema.names]
    group = source.metadata.row_group(shard.row_group)
    row_bytes = max(1, group.total_byte_size // max(1, group.num_rows))
    batch_rows = max(1, min(MAX_BATCH_ROWS, MAX_BATCH_BYTES // row_bytes))
    done = 0
    with _open_parquet(source.file, source.metadata) as file:
        batches = file.iter_batches(
            batch_size=batch_rows, row_groups=[shard.row_group], columns=names, use_threads=False
        )
        for batch in batches:
            kept = batch.slice(0, shard.n_rows - done)
            first, done = shard.first_row + done, done + len(kept)
            is_last = done >= shard.n_rows
            yield _to_rows(number, kept, first, corpus, source, is_last=is_last)
            if is_last:
                return
    raise OSError(f"{done} rows where the footer says {shard.n_rows}")


def _to_rows(
    number: int,
    batch: pa.RecordBatch,
    first_row: int,
    corpus: Corpus,
    source: ParquetSource,
    *,
    is_last: bool,
) -> Rows:
    columns, counts = corpus.columns, Counter[str]()
    texts = _usable_texts(batch.column(columns.text), counts)
    keep = [i for i, text in enumerate(texts) if text is not None]
    ids = _ids(batch, columns, first_row, source.file.relative, keep, counts)
    names = [name for name in columns.metadata if name in batch.schema.names]
    kept = {name: _plain(batch.column(name)).take(pa.array(keep, pa.int64())) for name in names}
    metadata = {
        name: _valid(kept[name], counts)
        if name in kept
        else _partition_column(name, len(keep), corpus, source)
        for name in columns.metadata
        if name in kept or name in dict(source.file.partitions)
    }
    table = pa.table(metadata) if metadata else pa.table({"": pa.nulls(len(keep))}).select([])
    return Rows(
        shard=number,
        ids=ids,
        texts=[text for text in texts if text is not None],
        metadata=table,
        n_rows=len(batch),
        counts=counts,
        is_last=is_last,
    )


def _usable_texts(column: pa.Array, counts: Counter[str]) -> list[str | None]:
    """The texts, with None for each that cannot be embedded, counted by reason."""
    texts: list[str | None] = []
    for value in _to_bytes(column):
        reason, text = None, None
        if value is None:
            reason = NULL_TEXT
        elif not value:
            reason = EMPTY_TEXT
        else:
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError:
                reason = INVALID_TEXT
            if text is not None and not text.strip():
                reason, text = BLANK_TEXT, None
        if reason:
            counts[reason] += 1
        texts.append(text)
    return texts


def _to_bytes(column: pa.Array) -> list[bytes | None]:
    """Values of a text column as bytes, without validating them."""
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_string_view(column.type):
        column = column.cast(pa.binary_view())
    else:
        column = column.cast(pa.large_binary())
    values: list[bytes | None] = column.to_pylist()
    return values


def _ids(
    batch: pa.RecordBatch,
    columns: Columns,
    first_row: int,
    relative: str,
    keep: Sequence[int],
    counts: Counter[str],
) -> list[str]:
    """Ids of the kept rows; one without an id is called by file and row, and counted."""
    if columns.id is None or columns.id not in batch.schema.names:
        return [f"{relative}:{first_row + i}" for i in keep]
    column = batch.column(columns.id)
    if types.is_integer(column.type):
        values = [None if value is None else str(value) for value in column.to_pylist()]
    else:
        values = [None if v is None else v.decode("utf-8", "replace") for v in _to_bytes(column)]
    missing = sum(not values[i] for i in keep)
    counts.update({NULL_ID: missing} if missing else {})
    return [values[i] or f"{relative}:{first_row + i}" for i in keep]


def _partition_column(name: str, n_rows: int, corpus: Corpus, source: ParquetSource) -> pa.Array:
    value, kind = dict(source.file.partitions)[name], corpus.partition_types[name]
    return pa.repeat(pa.scalar(value, pa.string()).cast(kind), n_rows)


def _plain(column: pa.Array) -> pa.Array:
    """A column without views and dictionaries of text, which few operations know; not validated."""
    if types.is_dictionary(column.type) and is_text(column.type):
        column = column.dictionary_decode()
    if types.is_string_view(column.type):
        column = column.cast(pa.binary_view()).cast(pa.large_binary()).view(pa.large_string())
    return column


def _valid(column: pa.Array, counts: Counter[str]) -> pa.Array:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return _null_invalid(column, counts)
    return column


def _null_invalid(column: pa.Array, counts: Counter[str]) -> pa.Array:
    """Null in place of values that hold invalid UTF-8, each counted."""
    valid = []
    for i in range(len(column)):
        try:
            column.slice(i, 1).validate(full=True)
            valid.append(True)
        except pa.ArrowInvalid:
            valid.append(False)
    counts[INVALID_METADATA] += valid.count(False)
    indices = pa.array([i if ok else None for i, ok in enumerate(valid)], pa.int64())
    return pc.take(column, indices)
