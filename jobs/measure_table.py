"""Measures as a table for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

DECIMALS = 3


def write_measures(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], representation: str, stream: TextIO
) -> None:
    """Write a line for each row, and last what was measured.

    Args:
        rows: values by the names of their columns.
        columns: those that are shown; the first holds names.
        representation: what was measured.
        stream: where to write.
    """
    lines = [list(columns)] + [[_cell(row[name]) for name in columns] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for first, *rest in lines:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]).rstrip(), file=stream)
    print(f"\n{representation}", file=stream)


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.{DECIMALS}f}"
    return str(value)
