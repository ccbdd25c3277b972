"""Parquet files as a corpus: shards with a content identity, read in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from embedder.columns import (
    ColumnRequest,
    Columns,
    check_names,
    check_text_column,
    choose_columns,
    is_id,
)
from embedder.errors import ColumnError, RequestError, SourceError, cause_of
from embedder.rows import Batch, EveryRow, PlainRows, Rows, to_every_row, to_plain_rows, to_rows
from embedder.sources import NO_LABELS, Labels, SourceFile, find_files

MAX_BATCH_ROWS = 1024
MAX_BATCH_BYTES = 8 << 20
READ_BUFFER_BYTES = 1 << 20

Read = TypeVar("Read")


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


def open_corpus(
    sources: Sequence[str],
    request: ColumnRequest | None = None,
    labels: Labels = NO_LABELS,
) -> Corpus:
    """Find the files, read their footers and decide the columns.

    Args:
        sources: files, folders, globs and URLs.
        request: columns that the user named.
        labels: those that files have already.

    Raises:
        SourceError: a file is missing, is no Parquet, or all are empty.
        ColumnError: the columns cannot be decided, or a file lacks the text column.
        RequestError: no sources were given.
    """
    opened = open_files(sources, labels)
    first = opened[0]
    columns = choose_columns(
        request or ColumnRequest(), first.schema, all_columns(opened), where=first.file.name
    )
    for source in opened:
        check_text_column(source.schema, columns.text, source.file.name)
        check_names(source.schema, columns, source.file.name)
    return Corpus(opened, columns, partition_types(opened))


def all_columns(sources: Sequence[ParquetSource]) -> dict[str, str]:
    """The columns of all files, in the order in which the files have them, then the hive keys; each
    with the first file that has it."""
    found: dict[str, str] = {}
    for source in sources:
        for name in source.schema.names:
            found.setdefault(name, source.file.name)
    for source in sources:
        for key, _ in source.file.partitions:
            found.setdefault(key, source.file.name)
    return found


def open_files(sources: Sequence[str], labels: Labels = NO_LABELS) -> list[ParquetSource]:
    """Find the files and read their footers; at least one of them has rows.

    Args:
        sources: files, folders, globs and URLs.
        labels: those that files have already.

    Raises:
        SourceError: a file is missing, is no Parquet, or all are empty.
        RequestError: no sources were given.
    """
    if not sources:
        raise RequestError("No sources were given.", "Name a Parquet file, folder, glob or URL.")
    opened = [_open_source(file) for file in find_files(sources, labels)]
    if not sum(source.metadata.num_rows for source in opened):
        raise SourceError(f"{opened[0].file.name} has no rows.", "Name a file that has some.")
    return opened


def _open_source(file: SourceFile) -> ParquetSource:
    try:
        with _open_parquet(file) as opened:
            return ParquetSource(file, opened.metadata, opened.schema_arrow, _stamp(file))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(
            f"{file.name} cannot be read as Parquet: {cause_of(error)}.",
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


def partition_types(sources: Sequence[ParquetSource]) -> dict[str, pa.DataType]:
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
    chunks = _chunks(shard, [name for name in names if name in source.schema.names])
    if chunks is None:  # then reading fails, and says why and where
        total.update(repr([source.file.path, source.stamp, shard.row_group]).encode())
        return total.hexdigest()
    if columns.id is None or not _is_complete(chunks, columns.id):
        total.update(repr([source.file.label, shard.first_row]).encode())
    kept = [(k, v) for k, v in source.file.partitions if k in columns.metadata]
    total.update(repr([kept, [str(corpus.partition_types[k]) for k, _ in kept]]).encode())
    try:
        with source.file.filesystem.open_input_file(source.file.path) as file:
            for path, chunk in chunks:
                total.update(f"{path}:{chunk.physical_type}:{chunk.compression};".encode())
                _digest_chunk(total, file, chunk)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{source.file.name} cannot be read: {cause_of(error)}.") from error
    total.update(
        str([source.schema.field(n).type for n in names if n in source.schema.names]).encode()
    )
    return total.hexdigest()


def _chunks(shard: Shard, names: Sequence[str]) -> list[tuple[str, pq.ColumnChunkMetaData]] | None:
    """Path and footer entry of the leaves of some columns; None if an entry is damaged.

    pyarrow ends the process when one asks for an entry that contradicts the schema, unless it has
    met that in a read, and when one asks such an entry for its statistics. So the first row is
    read before any entry is looked at, and the types are compared.

    Raises:
        SourceError: the file is gone or another one.
    """
    source, number = shard.source, shard.row_group
    try:
        with _open_parquet(source.file, source.metadata) as file:
            next(file.iter_batches(1, row_groups=[number], columns=list(names), use_threads=False))
    except (pa.ArrowException, OSError, ValueError, StopIteration) as error:
        if _stamp(source.file) != source.stamp:
            raise SourceError(f"{source.file.name} cannot be read: {cause_of(error)}.") from error
        return None
    group, schema = source.metadata.row_group(number), source.metadata.schema
    leaves = [schema.column(i) for i in range(group.num_columns)]
    chunks = [
        (leaf, group.column(i))
        for i, leaf in enumerate(leaves)
        if any(leaf.path == name or leaf.path.startswith(f"{name}.") for name in names)
    ]
    if any(chunk.physical_type != leaf.physical_type for leaf, chunk in chunks):
        return None
    return [(leaf.path, chunk) for leaf, chunk in chunks]


def _is_complete(chunks: Sequence[tuple[str, pq.ColumnChunkMetaData]], name: str) -> bool:
    """Whether a column of a shard surely has no nulls, by its statistics."""
    found = [chunk.statistics for path, chunk in chunks if path == name]
    return bool(found and found[0] is not None and found[0].null_count == 0)


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
    kept = "Check that the file is complete; what was indexed before it is kept."
    yield from _read(shards, corpus, to_rows, kept)


def read_every_row(shards: Sequence[Shard], corpus: Corpus) -> Iterator[EveryRow]:
    """All rows of the shards, in order, a bounded number of bytes at a time.

    Raises:
        SourceError: a file cannot be read, or changed while it was read.
    """
    yield from _read(shards, corpus, to_every_row, "Check that the file is complete.")


def _read(
    shards: Sequence[Shard], corpus: Corpus, convert: Callable[[Batch, Columns], Read], hint: str
) -> Iterator[Read]:
    """Batches of the shards, converted."""
    for number, shard in enumerate(shards):
        name = shard.source.file.name
        batches = _read_shard(number, shard, corpus)
        is_last = False
        while not is_last:
            try:
                batch = next(batches)
                is_last = batch.is_last
                converted = convert(batch, corpus.columns)
                has_changed = is_last and _stamp(shard.source.file) != shard.source.stamp
            except (pa.ArrowException, OSError, ValueError) as error:
                raise SourceError(
                    f"{name}, row group {shard.row_group}, cannot be read: {cause_of(error)}.", hint
                ) from error
            if has_changed:
                raise SourceError(
                    f"{name} changed while it was read.",
                    "Run the same command again once it is complete.",
                )
            yield converted


def read_plain_rows(shards: Sequence[Shard], corpus: Corpus) -> Generator[PlainRows, None, None]:
    """All rows of the shards as they are, in order, a bounded number of bytes at a time.

    Raises:
        SourceError: a file cannot be read, or changed while it was read.
    """
    kept = "Check that the file is complete; what was answered before it is kept."
    yield from _read(shards, corpus, to_plain_rows, kept)


def read_strings(path: str, column: str) -> Iterator[str]:
    """The values of one column of a Parquet file as text, nulls left out.

    Raises:
        SourceError: the file cannot be read.
        ColumnError: it has no such column, or one that is neither text nor whole numbers.
    """
    for file in find_files([path]):
        source = _open_source(file)
        if column not in source.schema.names:
            raise ColumnError(
                f"{file.name} has no column {column!r}; it has: {', '.join(source.schema.names)}.",
                "Name one with --column.",
            )
        kind = source.schema.field(column).type
        if not is_id(kind):
            raise ColumnError(f"The column {column!r} of {file.name} is {kind}; ids are wanted.")
        try:
            with _open_parquet(file, source.metadata) as opened:
                for batch in opened.iter_batches(MAX_BATCH_ROWS, columns=[column]):
                    yield from batch[column].cast(pa.string()).drop_null().to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SourceError(f"{file.name} cannot be read: {cause_of(error)}.") from error


def _read_shard(number: int, shard: Shard, corpus: Corpus) -> Iterator[Batch]:
    source, columns = shard.source, corpus.columns
    wanted = [columns.text, *([columns.id] if columns.id else []), *columns.metadata]
    names = [name for name in dict.fromkeys(wanted) if name in source.schema.names]
    group = source.metadata.row_group(shard.row_group)
    row_bytes = max(1, group.total_byte_size // max(1, group.num_rows))
    batch_rows = max(1, min(MAX_BATCH_ROWS, MAX_BATCH_BYTES // row_bytes))
    partitions = {
        key: pa.scalar(value, pa.string()).cast(corpus.partition_types[key])
        for key, value in source.file.partitions
    }
    done = 0
    with _open_parquet(source.file, source.metadata) as file:
        batches = file.iter_batches(
            batch_size=batch_rows, row_groups=[shard.row_group], columns=names, use_threads=False
        )
        for batch in batches:
            kept = batch.slice(0, shard.n_rows - done)
            first, done = shard.first_row + done, done + len(kept)
            is_last = done >= shard.n_rows
            yield Batch(
                shard=number,
                name=source.file.name,
                label=source.file.label,
                first_row=first,
                rows=kept,
                partitions=partitions,
                is_last=is_last,
            )
            if is_last:
                return
    raise OSError(f"{done} rows where the footer says {shard.n_rows}")
