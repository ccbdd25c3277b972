"""Which column is the text, which the id, and which come along as metadata."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import types

from embedder.errors import ColumnError

TEXT_NAMES = ("text", "content", "body", "passage", "document", "paragraph", "sentence", "abstract")
ID_NAMES = ("id", "_id", "doc_id", "document_id", "docid", "uuid")
RESERVED = ("__row", "__id", "__text", "__segment", "file_index")
"""Names that are ours, or DuckDB's, where an index's documents are queried."""


@dataclass(frozen=True, kw_only=True)
class ColumnRequest:
    """Columns that the user named; None means: find them.

    Args:
        text: the column that holds the text.
        id: the column that identifies a document.
        metadata: columns that come along; None means all the others.
        is_metadata_required: whether a metadata column that is nowhere is an error.
    """

    text: str | None = None
    id: str | None = None
    metadata: tuple[str, ...] | None = None
    is_metadata_required: bool = True


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns of a corpus.

    Args:
        text: the column that holds the text.
        id: the column that identifies a document; None when ids are made from file and row.
        metadata: columns that come along, partition keys included.
        no_ids: those that are called as ids are, where none is one, for their types hold no ids.
    """

    text: str
    id: str | None
    metadata: tuple[str, ...]
    no_ids: tuple[str, ...] = ()


def choose_columns(
    request: ColumnRequest, schema: pa.Schema, available: Mapping[str, str], *, where: str
) -> Columns:
    """Decide the columns of a corpus: text and id by its first file, metadata by all.

    Args:
        request: what the user named.
        schema: columns of the first file.
        available: columns and hive keys of all files, each with the first file that has it.
        where: the first file's name, for messages.

    Raises:
        ColumnError: a named column is not there, holds no text, or no single one is sensible.
    """
    text = request.text if request.text is not None else _find_text(schema, where)
    check_text_column(schema, text, where)
    id_column = request.id if request.id is not None else _find_id(schema, text)
    if id_column is not None:
        _check_there(schema.names, id_column, "--id", where)
        _check_id_type(schema.field(id_column), where)
    if request.metadata is None:
        metadata = [name for name in available if name not in (text, id_column)]
        # A name that later files write in another case is told where these are checked.
        folded = {name.casefold() for name in schema.names}
        metadata = [n for n in metadata if n in schema.names or n.casefold() not in folded]
    else:
        metadata = list(dict.fromkeys(request.metadata))
        for name in metadata if request.is_metadata_required else ():
            _check_there(available, name, "--metadata", where)
    _check_names(metadata, available, where)
    no_ids = _id_fields(schema, text) if id_column is None else []
    return Columns(
        text=text,
        id=id_column,
        metadata=tuple(metadata),
        no_ids=tuple(f"{field.name} ({field.type})" for field in no_ids),
    )


def check_text_column(schema: pa.Schema, name: str, where: str) -> None:
    """Raise ColumnError unless the column is there, once, and holds text."""
    _check_there(schema.names, name, "--text", where)
    if schema.names.count(name) > 1:
        raise ColumnError(f"{where} has several columns named {name!r}.", "Rename one of them.")
    found = schema.field(name).type
    if not is_text(found):
        raise ColumnError(
            f"The column {name!r} of {where} is of type {found}, and text is wanted.",
            f"Name a text column with --text: {_listed(text_columns(schema))}.",
        )


def check_names(schema: pa.Schema, columns: Columns, where: str) -> None:
    """Raise ColumnError if a file has one of the columns twice, or under a name of other case."""
    for name in filter(None, (columns.id, *columns.metadata)):
        alike = [other for other in schema.names if other.casefold() == name.casefold()]
        if alike.count(name) > 1:
            raise ColumnError(
                f"{where} has several columns named {name!r}.",
                "List the columns you want with --metadata.",
            )
        if alike and name not in alike:
            raise ColumnError(
                f"{where} has a column {alike[0]!r}, which other files name {name!r}.",
                "Rename it, or list the columns you want with --metadata.",
            )


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds text: string, large_string, string_view, or a dictionary of these."""
    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def text_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that hold text."""
    return [field.name for field in schema if is_text(field.type)]


def _find_text(schema: pa.Schema, where: str) -> str:
    candidates = text_columns(schema)
    named = {name.lower(): name for name in reversed(candidates)}
    if "text" in named:
        return named["text"]
    sensible = [named[name] for name in TEXT_NAMES if name in named]
    others = [name for name in candidates if name.lower() not in ID_NAMES]
    for group in (sensible, others, candidates):
        if len(group) == 1:
            return group[0]
    if not candidates:
        found = _listed(f"{field.name} ({field.type})" for field in schema)
        raise ColumnError(f"{where} has no text column; its columns are: {found}.")
    raise ColumnError(
        f"{where} has several text columns: {_listed(candidates)}.",
        f"Say which one to embed, as in: --text {candidates[0]}",
    )


def _find_id(schema: pa.Schema, text: str) -> str | None:
    found = _id_fields(schema, text)
    return next((field.name for field in found if is_id(field.type)), None)


def _id_fields(schema: pa.Schema, text: str) -> list[pa.Field]:
    """Columns that are called as ids are."""
    named = {field.name.lower(): field for field in schema if field.name != text}
    return [named[name] for name in ID_NAMES if name in named]


def is_id(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold ids: text and whole numbers can."""
    return is_text(kind) or types.is_integer(kind)


def _check_id_type(field: pa.Field, where: str) -> None:
    if not is_id(field.type):
        raise ColumnError(
            f"The column {field.name!r} of {where} is of type {field.type}; an id is text or an "
            "integer.",
            "Name another column with --id.",
        )


def _check_there(names: Collection[str], name: str, option: str, where: str) -> None:
    if name not in names:
        raise ColumnError(
            f"{where} has no column {name!r}; it has: {_listed(names)}.",
            f"Give {option} one of these names.",
        )


def _check_names(names: Sequence[str], files: Mapping[str, str], first: str) -> None:
    """Metadata is queried with SQL, where names differ by more than case."""
    by_folded: dict[str, str] = {}
    for name in names:
        folded, where = name.casefold(), files.get(name, first)
        if not name:
            raise ColumnError(
                f"{where} has a column without a name.",
                "List the columns you want with --metadata, or name it.",
            )
        if folded in RESERVED:
            raise ColumnError(
                f"{where} has a column {name!r}, and that name is reserved.",
                "List the columns you want with --metadata, or rename it.",
            )
        if folded in by_folded:
            raise ColumnError(
                f"{where} has a column {name!r}, and there is {by_folded[folded]!r}, which SQL "
                "cannot tell apart.",
                "List the columns you want with --metadata, or rename one.",
            )
        by_folded[folded] = name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
