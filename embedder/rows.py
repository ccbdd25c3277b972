"""Record batches to documents.

Nothing is repaired in silence: rows without usable text are left out and counted by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from embedder.columns import Columns, is_text

NULL_TEXT = "null text"
EMPTY_TEXT = "empty text"
BLANK_TEXT = "blank text"
INVALID_TEXT = "invalid UTF-8 in text"
NULL_ID = "null id"
INVALID_ID = "invalid UTF-8 in id"
INVALID_METADATA = "invalid UTF-8 in metadata"
LEFT_OUT = (NULL_TEXT, EMPTY_TEXT, BLANK_TEXT, INVALID_TEXT)
"""Reasons for which a row is not a document."""


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
class Batch:
    """Rows of one shard as they lie in its file.

    Args:
        shard: position of the shard in the sequence that is read.
        name: the file, for messages.
        label: what stands for the file in ids that are made.
        first_row: number of the first row in the file.
        rows: the rows, with the columns that the file has.
        partitions: values of the hive keys in the file's path.
        is_last: whether the shard ends here.
    """

    shard: int
    name: str
    label: str
    first_row: int
    rows: pa.RecordBatch
    partitions: Mapping[str, pa.Scalar]
    is_last: bool


@dataclass(frozen=True)
class EveryRow:
    """Rows of a corpus in order, those without usable text too.

    Args:
        name: the file, for messages.
        first_row: number of the first row in the file.
        ids: the rows' ids.
        texts: their texts, empty where there is no usable one.
        problems: why there is none, None where there is one.
        values: their other columns; those that the file lacks are missing.
        counts: how many ids and values had which defect.
    """

    name: str
    first_row: int
    ids: list[str]
    texts: list[str]
    problems: list[str | None]
    values: pa.Table
    counts: Counter[str]


@dataclass(frozen=True)
class PlainRows:
    """Rows of a corpus in order, as they are.

    Args:
        name: the file, for messages.
        first_row: number of the first row in the file.
        values: their columns, hive keys included; those that the file lacks are missing.
        counts: how many values were no valid UTF-8, by column; null stands in their place.
    """

    name: str
    first_row: int
    values: pa.Table
    counts: Counter[str]


def to_rows(batch: Batch, columns: Columns) -> Rows:
    """The documents of a batch."""
    texts, problems = _usable_texts(batch.rows.column(columns.text))
    counts = Counter(problem for problem in problems if problem)
    keep = [i for i, problem in enumerate(problems) if not problem]
    return Rows(
        shard=batch.shard,
        ids=_ids(batch, columns, keep, counts),
        texts=[texts[i] for i in keep],
        metadata=_metadata(batch, columns, keep, counts),
        n_rows=len(batch.rows),
        counts=counts,
        is_last=batch.is_last,
    )


def to_every_row(batch: Batch, columns: Columns) -> EveryRow:
    """All rows of a batch, each with what is wrong with its text."""
    counts = Counter[str]()
    every = range(len(batch.rows))
    texts, problems = _usable_texts(batch.rows.column(columns.text))
    ids = _ids(batch, columns, every, counts)
    values = _metadata(batch, columns, every, counts)
    return EveryRow(batch.name, batch.first_row, ids, texts, problems, values, counts)


def to_plain_rows(batch: Batch, columns: Columns) -> PlainRows:
    """All rows of a batch with all columns, the text among them."""
    counts = Counter[str]()
    values = {}
    for name in dict.fromkeys([columns.text, *columns.metadata]):
        if name in batch.rows.schema.names:
            found = Counter[str]()
            values[name] = _valid(_plain(batch.rows.column(name)), found)
            counts.update({f"invalid UTF-8 in {name!r}": n for n in found.values()})
        elif name in batch.partitions:
            values[name] = pa.repeat(batch.partitions[name], len(batch.rows))
    return PlainRows(batch.name, batch.first_row, pa.table(values), counts)


def _metadata(
    batch: Batch, columns: Columns, keep: Sequence[int], counts: Counter[str]
) -> pa.Table:
    """The metadata columns of the kept rows, those that the file or its path has."""
    there, partitions = batch.rows.schema.names, batch.partitions
    names = [name for name in columns.metadata if name in there]
    taken = pa.array(keep, pa.int64())
    kept = {name: _plain(batch.rows.column(name)).take(taken) for name in names}
    metadata = {
        name: _valid(kept[name], counts) if name in kept else pa.repeat(partitions[name], len(keep))
        for name in columns.metadata
        if name in kept or name in partitions
    }
    return pa.table(metadata) if metadata else pa.table({"": pa.nulls(len(keep))}).select([])


def _usable_texts(column: pa.Array) -> tuple[list[str], list[str | None]]:
    """The texts, empty where they cannot be embedded, and for these the reason."""
    texts: list[str] = []
    problems: list[str | None] = []
    for value in _to_bytes(column):
        reason, text = None, ""
        if value is None:
            reason = NULL_TEXT
        elif not value:
            reason = EMPTY_TEXT
        else:
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError:
                reason = INVALID_TEXT
            if reason is None and not text.strip():
                reason, text = BLANK_TEXT, ""
        texts.append(text)
        problems.append(reason)
    return texts, problems


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


def _ids(batch: Batch, columns: Columns, keep: Sequence[int], counts: Counter[str]) -> list[str]:
    """Ids of the kept rows; one without an id is called by file and row, and counted."""
    label, first_row = batch.label, batch.first_row
    if columns.id is None or columns.id not in batch.rows.schema.names:
        return [f"{label}:{first_row + i}" for i in keep]
    column = batch.rows.column(columns.id)
    if types.is_integer(column.type):
        values = [None if value is None else str(value) for value in column.to_pylist()]
    else:
        values = [None if v is None else v.decode("utf-8", "replace") for v in _to_bytes(column)]
        broken = sum("\ufffd" in (values[i] or "") for i in keep)
        counts.update({INVALID_ID: broken} if broken else {})
    missing = sum(not values[i] for i in keep)
    counts.update({NULL_ID: missing} if missing else {})
    return [values[i] or f"{label}:{first_row + i}" for i in keep]


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
            # Not a slice: one of a list has the values of all rows behind it.
            column.take(pa.array([i])).validate(full=True)
            valid.append(True)
        except pa.ArrowInvalid:
            valid.append(False)
    counts[INVALID_METADATA] += valid.count(False)
    indices = pa.array([i if ok else None for i, ok in enumerate(valid)], pa.int64())
    return pc.take(column, indices)
