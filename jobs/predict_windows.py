"""Rows of a corpus in windows: what a head answers for at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from embedder.heads.protocol import input_type
from embedder.rows import PlainRows
from jobs.column_types import to_types
from jobs.predict_columns import PredictColumns


@dataclass(frozen=True, kw_only=True)
class WindowLimits:
    """A window ends with the row that reaches one of these. So where a window ends depends on the
    rows from its first on, and on nothing else.

    Args:
        rows: rows.
        characters: characters of what the head reads; it sorts them by length.
        bytes: bytes of all columns.
    """

    rows: int
    characters: int = 200_000
    bytes: int = 32 << 20


@dataclass(frozen=True)
class Window:
    """Rows that are answered for at once.

    Args:
        inputs: what the head reads, by role, of the rows that can be answered for.
        places: for each row its place among them, null for one that cannot be answered for.
        kept: the columns that are written beside.
        counts: rows that cannot be answered for, by reason.
        defects: values that were no valid UTF-8, by column.
    """

    inputs: dict[str, list[Any]]
    places: pa.Array
    kept: pa.Table
    counts: Counter[str]
    defects: Counter[str]


@dataclass(frozen=True)
class _Piece:
    """Rows of one read batch: what the head reads, by role, and what is written beside."""

    inputs: dict[str, list[Any]]
    kept: pa.Table
    defects: Counter[str]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def part(self, first: int, last: int) -> _Piece:
        """The rows from `first` up to `last`; the defects go with the first of them."""
        inputs = {role: values[first:last] for role, values in self.inputs.items()}
        kept = self.kept.slice(first, last - first)
        return _Piece(inputs, kept, self.defects if first == 0 else Counter())


def cut_windows(
    rows: Iterable[PlainRows], columns: PredictColumns, limits: WindowLimits, skip: int = 0
) -> Iterator[Window]:
    """All rows but the first `skip`, in order."""
    waiting: list[_Piece] = []
    n_rows = n_characters = n_bytes = 0
    for read in rows:
        piece = _piece(read, columns)
        first = min(skip, len(piece))
        skip -= first
        row_bytes = -(-read.values.nbytes // max(1, len(piece)))
        start = first
        for end, cost in enumerate(_characters(piece)[first:], first + 1):
            n_rows, n_characters, n_bytes = n_rows + 1, n_characters + cost, n_bytes + row_bytes
            is_full = n_rows >= limits.rows or n_characters >= limits.characters
            if is_full or n_bytes >= limits.bytes:
                yield _window([*waiting, piece.part(start, end)], columns)
                waiting, start = [], end
                n_rows = n_characters = n_bytes = 0
        if start < len(piece):
            waiting.append(piece.part(start, len(piece)))
    if waiting:
        yield _window(waiting, columns)


def _piece(read: PlainRows, columns: PredictColumns) -> _Piece:
    inputs = {
        role: read.values[name].cast(input_type(role)).to_pylist()
        for role, name in columns.roles.items()
    }
    return _Piece(inputs, to_types(read.values, columns.kept), read.counts)


def _characters(piece: _Piece) -> list[int]:
    """Characters that the head reads of each row."""
    totals = [0] * len(piece)
    for values in piece.inputs.values():
        for i, value in enumerate(values):
            texts = value if isinstance(value, list) else [value]
            totals[i] += sum(len(text or "") for text in texts)
    return totals


def _window(pieces: Sequence[_Piece], columns: PredictColumns) -> Window:
    """Join pieces, and tell the rows that can be answered for from the others."""
    inputs = {role: [v for p in pieces for v in p.inputs[role]] for role in columns.roles}
    kept = pa.concat_tables([piece.kept for piece in pieces]).combine_chunks()
    reasons = [_reason(row, columns.roles) for row in zip(*inputs.values(), strict=True)]
    usable = [i for i, reason in enumerate(reasons) if reason is None]
    places: list[int | None] = [None] * len(reasons)
    for place, i in enumerate(usable):
        places[i] = place
    return Window(
        inputs={role: [values[i] for i in usable] for role, values in inputs.items()},
        places=pa.array(places, pa.int64()),
        kept=kept,
        counts=Counter(reason for reason in reasons if reason),
        defects=sum((piece.defects for piece in pieces), Counter()),
    )


def _reason(values: Sequence[Any], roles: Iterable[str]) -> str | None:
    """Why a row cannot be answered for; None if it can."""
    for role, value in zip(roles, values, strict=True):
        if value is None:
            return f"null {role}"
        if not value:
            return f"empty {role}"
        if isinstance(value, str) and not value.strip():
            return f"blank {role}"
    return None
