"""Types of columns that come along from files whose schemas may differ."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from embedder.columns import is_text
from embedder.corpus import Corpus
from embedder.errors import ColumnError


def column_types(corpus: Corpus, names: Sequence[str], option: str) -> pa.Schema:
    """Columns that are written beside, each at a type that holds what all files have.

    Args:
        corpus: the files.
        names: the columns.
        option: the option that chooses them, for messages.

    Raises:
        ColumnError: files have types that do not go together.
    """
    return pa.schema([(name, _type(corpus, name, option)) for name in dict.fromkeys(names)])


def _type(corpus: Corpus, name: str, option: str) -> pa.DataType:
    kinds = [
        source.schema.field(name).type for source in corpus.sources if name in source.schema.names
    ]
    if not kinds:
        return corpus.partition_types[name]
    schemas = [pa.schema([(name, pa.string() if is_text(kind) else kind)]) for kind in kinds]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(name).type
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        found = " and ".join(dict.fromkeys(map(str, kinds)))
        raise ColumnError(
            f"The column {name!r} is of type {found} in different files.",
            f"Leave it out of {option}, or give it one type.",
        ) from error


def to_types(values: pa.Table, types: pa.Schema) -> pa.Table:
    """The columns of a schema out of a table, null where it lacks one."""
    n = values.num_rows
    columns = [
        values[kind.name].cast(kind.type)
        if kind.name in values.column_names
        else pa.nulls(n, kind.type)
        for kind in types
    ]
    if not columns:  # a table without columns has no rows either
        return pa.table({"": pa.nulls(n)}).select([])
    return pa.Table.from_arrays(columns, schema=types)
