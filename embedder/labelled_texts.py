"""Texts, or pairs of texts, with a label each, out of Parquet: what a classifier learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedder.columns import is_text
from embedder.errors import ColumnError, LabelError
from embedder.heads.protocol import Label
from embedder.whole_table import check_columns, choose_column, read_whole_table

LABEL_NAMES = ("label_name", "label")
"""Columns that are taken for the label, in this order: names say more than numbers."""

MOST_NAMED = 5
"""Rows that an error names."""

LEAVE_OUT = "Leave such rows out of the file."


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """The rows of one file.

    Args:
        path: the file.
        columns: the name of the column of each role, `label` included.
        sides: texts by role, in the order of the roles; each has one for every row.
        labels: one for every row, all of one type.
    """

    path: str
    columns: Mapping[str, str]
    sides: tuple[Sequence[str], ...]
    labels: Sequence[Label]

    def __len__(self) -> int:
        return len(self.labels)


def read_labelled_texts(
    path: str | Path, roles: Sequence[str], columns: Mapping[str, str]
) -> LabelledTexts:
    """The labelled texts of a Parquet file, in order.

    Args:
        path: the file.
        roles: `("text",)`, or `("text1", "text2")` for pairs.
        columns: names of columns by role, where they are not called as the role is; for `label`
            the first of `LABEL_NAMES` that is there.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column is missing, or of a type that holds no texts or no labels.
        LabelError: rows without a text or a label.
    """
    table = read_whole_table(path)
    names = {role: columns.get(role) or role for role in roles}
    names["label"] = choose_column(columns.get("label"), LABEL_NAMES, table, path, "--label")
    check_columns(list(names.values()), table, path)
    sides = tuple(_texts(table, names[role], path) for role in roles)
    labels = _labels(table, names["label"], path)
    return LabelledTexts(path=str(path), columns=names, sides=sides, labels=labels)


def is_label_type(kind: pa.DataType) -> bool:
    """Whether values of a type are labels: texts, whole numbers, or true and false."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return is_text(kind) or bool(pa.types.is_integer(inner) or pa.types.is_boolean(inner))


def refuse_rows(numbers: Sequence[int], path: str | Path, what: str, hint: str = LEAVE_OUT) -> None:
    """Raise LabelError if there are rows that are wrong.

    Args:
        numbers: their numbers, from 1.
        path: their file.
        what: what is wrong with them.
        hint: what to do about it.
    """
    if numbers:
        raise LabelError(f"{name_rows(numbers)} of {path}: {what}.", hint)


def name_rows(numbers: Sequence[int]) -> str:
    """Rows by their numbers: the first few, and how many there are beside them."""
    shown = [f"{number:,}" for number in numbers[:MOST_NAMED]]
    if len(numbers) > MOST_NAMED:
        return f"Rows {', '.join(shown)} and {len(numbers) - MOST_NAMED:,} more"
    if len(shown) == 1:
        return f"Row {shown[0]}"
    return f"Rows {', '.join(shown[:-1])} and {shown[-1]}"


def _texts(table: pa.Table, name: str, path: str | Path) -> list[str]:
    kind = table.schema.field(name).type
    if not is_text(kind):
        raise ColumnError(f"The column {name!r} of {path} is {kind}, and text is wanted.")
    values: list[Any] = table[name].to_pylist()
    refuse_rows(
        [number for number, text in enumerate(values, 1) if not (text and text.strip())],
        path,
        f"no text in the column {name!r}",
    )
    return values


def _labels(table: pa.Table, name: str, path: str | Path) -> list[Label]:
    kind = table.schema.field(name).type
    if not is_label_type(kind):
        raise ColumnError(
            f"The column {name!r} of {path} is {kind}, and labels are texts, whole numbers, or "
            "true and false."
        )
    values: list[Any] = table[name].to_pylist()
    refuse_rows(
        [number for number, label in enumerate(values, 1) if is_no_label(label)],
        path,
        f"no label in the column {name!r}",
    )
    refuse_blanks([[label] for label in values], path, name)
    return values


def is_no_label(value: object) -> bool:
    """Whether a value is null, or a text with nothing in it."""
    return value is None or (isinstance(value, str) and not value.strip())


def refuse_blanks(labels: Sequence[Sequence[Label]], path: str | Path, name: str) -> None:
    """Raise LabelError if two labels differ in blanks around them alone.

    Args:
        labels: those of each row.
        path: the file.
        name: the column.
    """
    texts = {label for row in labels for label in row if isinstance(label, str)}
    twins = {label for label in texts if label != label.strip() and label.strip() in texts}
    if twins:
        shown = min(twins)
        refuse_rows(
            [number for number, row in enumerate(labels, 1) if any(x in twins for x in row)],
            path,
            f"{shown!r} in the column {name!r} differs from {shown.strip()!r} in blanks alone",
            "Remove the blanks.",
        )


def label_set(labels: Sequence[Label], path: str | Path, name: str) -> tuple[Label, ...]:
    """The labels that there are, sorted.

    Raises:
        LabelError: there is only one, and nothing to tell apart.
    """
    found = tuple(sorted(set(labels)))
    if len(found) < 2:
        raise LabelError(
            f"All rows of {path} have {found[0]!r} in the column {name!r}.",
            "A classifier needs two labels at least.",
        )
    return found


def refuse_unseen(
    labels: Sequence[Sequence[Label]], known: Sequence[Label], path: str | Path, name: str
) -> None:
    """Raise LabelError if a row has labels that were not there in training.

    Args:
        labels: those of each row.
        known: those of the training rows.
        path: the file.
        name: the column.
    """
    seen = set(known)
    unseen = [(n, x) for n, row in enumerate(labels, 1) for x in row if not _is_in(x, seen)]
    if unseen:
        names = ", ".join(repr(x) for x in list(dict.fromkeys(x for _, x in unseen))[:MOST_NAMED])
        rows = list(dict.fromkeys(number for number, _ in unseen))
        raise LabelError(
            f"{name_rows(rows)} of {path}: {names} in the column {name!r} was no label in "
            "training.",
            f"The labels are: {name_labels(known)}.",
        )


def _is_in(label: Label, known: set[Label]) -> bool:
    """Whether a label is known; true is not 1 here."""
    return label in known and any(type(label) is type(x) for x in known)


def name_labels(labels: Sequence[Label], most: int = 12) -> str:
    """Labels as a message names them: the first few, and how many there are beside them."""
    rest = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(repr(label) for label in labels[:most]) + rest
