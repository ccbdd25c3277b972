"""Which columns a head reads, and which are written beside its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from embedder.columns import ColumnRequest, Columns, choose_columns, is_text
from embedder.corpus import Corpus, ParquetSource, all_columns, open_files, partition_types
from embedder.errors import ColumnError, RequestError
from jobs.column_types import column_types
from jobs.output import column_names
from jobs.targets import check_fields, check_there, is_list_of_text

ROLES = ("text", "text1", "text2", "tokens", "question", "context")
"""What the columns of all heads are for; each is an option of its name."""


@dataclass(frozen=True)
class PredictColumns:
    """Columns of a corpus.

    Args:
        roles: names of those that the head reads, by what they are for.
        guessed: those of them that have neither the name of training nor the role's.
        kept: those that are written beside, at the types that they are written at.
        schema: all that is written, the answers last.
    """

    roles: dict[str, str]
    guessed: tuple[str, ...]
    kept: pa.Schema
    schema: pa.Schema


def open_columns(
    sources: Sequence[str],
    inputs: Sequence[str],
    answers: pa.Schema,
    *,
    asked: Mapping[str, str],
    trained: Mapping[str, str],
    kept: Sequence[str] | None,
) -> tuple[Corpus, PredictColumns]:
    """Open the sources, and decide their columns.

    Args:
        sources: files, folders, globs and URLs.
        inputs: roles of the columns that the head reads.
        answers: the columns that it gives.
        asked: names that the user gave, by role.
        trained: names that the columns had in training, by role.
        kept: columns to write beside; None for all.

    Raises:
        SourceError: a file is missing, is no Parquet, or all are empty.
        ColumnError: a column is missing, there twice or of a wrong type.
        RequestError: a column is named for a role that the head has not.
    """
    _check_roles(inputs, asked)
    opened = open_files(sources)
    roles = {role: _find(opened[0], role, asked, trained) for role in inputs}
    for source in opened:
        for role, name in roles.items():
            _check(source, role, name)
    types = partition_types(opened)
    names = list(all_columns(opened)) if kept is None else list(dict.fromkeys(kept))
    check_fields(opened, names, types)
    first, *others = [*roles.values(), *names]
    columns = Columns(text=first, id=None, metadata=tuple(dict.fromkeys(others)))
    corpus = Corpus(opened, columns, types)
    beside = column_types(corpus, names, "--fields")
    shown = column_names(answers.names, beside.names)
    schema = pa.schema(
        [
            *(kind.with_name(name) for kind, name in zip(beside, shown, strict=True)),
            *(kind.with_nullable(True) for kind in answers),
        ]
    )
    known = {*asked.values(), *trained.values(), *inputs}
    guessed = tuple(name for name in roles.values() if name not in known)
    return corpus, PredictColumns(roles, guessed, beside, schema)


def _check_roles(inputs: Sequence[str], asked: Mapping[str, str]) -> None:
    for role in asked:
        if role not in inputs:
            wanted = " and ".join(f"--{name}" for name in inputs)
            raise RequestError(
                f"--{role} names a column, and this head reads no {role}.",
                f"Name its columns with {wanted}.",
            )


def _find(
    first: ParquetSource, role: str, asked: Mapping[str, str], trained: Mapping[str, str]
) -> str:
    """The column named, else that of training, else that of the role's name, else any text."""
    if role in asked:
        return asked[role]
    for name in (trained.get(role), role):
        if name in first.schema.names:
            return str(name)
    if role == "text":
        request = ColumnRequest(metadata=())
        return choose_columns(request, first.schema, {}, where=first.file.name).text
    return role


def _check(source: ParquetSource, role: str, name: str) -> None:
    """Raise ColumnError unless a file has a column once, of the role's type."""
    check_there(source.schema, name, f"--{role}", source.file.name)
    is_right, wanted = _KINDS.get(role, (is_text, "text is"))
    kind = source.schema.field(name).type
    if not is_right(kind):
        raise ColumnError(
            f"The column {name!r} of {source.file.name} is of type {kind}, and {wanted} wanted.",
            f"Name another column with --{role}.",
        )


_KINDS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "tokens": (is_list_of_text, "a list of texts is"),
}
