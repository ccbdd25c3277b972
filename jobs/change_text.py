"""Changes of senses as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from jobs.figures import plural
from jobs.screen import open_screen
from jobs.sense_changes import Over, SenseChange, Status

if TYPE_CHECKING:
    from rich.console import Console

LEAST_BESIDE = 36
"""Characters that a sense's name and typical words need beside its shares."""

STYLES = {Status.NEW: "green", Status.RISES: "green", Status.GONE: "red", Status.FALLS: "red"}


def write_between(changes: Sequence[SenseChange], stream: TextIO) -> None:
    """Changes between two indexes, a line each."""
    from rich.table import Table
    from rich.text import Text

    screen = open_screen(stream)
    if not changes:
        screen.print("no sense differs by more than chance")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("sense", "in the other", "", "share", "there", "typical words"):
        table.add_column(name, justify="right" if name in ("share", "there") else "left")
    for one in changes:
        table.add_row(
            Text(one.sense or "–", style="bold magenta"),
            Text(one.other_sense or "–", style="magenta"),
            Text(one.status, style=STYLES.get(one.status, "dim")),
            f"{one.share:.0%}",
            f"{one.other_share:.0%}",
            " · ".join(one.words),
        )
    screen.print(table, soft_wrap=False)


def write_over(over: Over, stream: TextIO) -> None:
    """Shares of senses over the values of a column."""
    from rich.text import Text

    screen = open_screen(stream)
    if not over.senses:
        screen.print(Text(f"no sense differs over {over.column} by more than chance"))
        return
    n_needed = sum(max(len(value), 4) + 2 for value in over.values)
    if n_needed > screen.width - LEAST_BESIDE:
        _write_blocks(over, screen)
    else:
        _write_table(over, screen)
    if over.n_without:
        screen.print(
            Text(f"{plural(over.n_without, 'document')} without {over.column}", style="dim")
        )


def _write_blocks(over: Over, screen: Console) -> None:
    """Each sense with its shares below it, for more values than a line has room for."""
    from rich.columns import Columns
    from rich.padding import Padding
    from rich.text import Text

    for one in over.senses:
        line = Text(one.sense, style="bold magenta")
        line.append(f"  {' · '.join(one.words)}", style="not bold default")
        screen.print(line)
        pairs = zip(over.values, one.shares, strict=True)
        cells = [Text.assemble((value, "dim"), f" {_percent(share)}") for value, share in pairs]
        screen.print(Padding(Columns(cells, equal=True, padding=(0, 3)), (0, 0, 1, 2)))


def _write_table(over: Over, screen: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(Text(over.column))
    for value in over.values:
        table.add_column(Text(value), justify="right")
    table.add_column("typical words")
    for one in over.senses:
        shares = map(_percent, one.shares)
        table.add_row(Text(one.sense, style="bold magenta"), *shares, " · ".join(one.words))
    screen.print(table, soft_wrap=False)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.0%}"
