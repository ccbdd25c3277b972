"""Changes of senses as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TextIO

from jobs.screen import open_screen
from jobs.sense_changes import Over, SenseChange, Status

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
    """Shares of senses over the values of a column, as a table."""
    from rich.table import Table
    from rich.text import Text

    screen = open_screen(stream)
    if not over.senses:
        screen.print(Text(f"no sense differs over {over.column} by more than chance"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(Text(over.column))
    for value in over.values:
        table.add_column(Text(value), justify="right")
    table.add_column("typical words")
    for one in over.senses:
        shares = ["–" if math.isnan(share) else f"{share:.0%}" for share in one.shares]
        table.add_row(Text(one.sense, style="bold magenta"), *shares, " · ".join(one.words))
    screen.print(table, soft_wrap=False)
    if over.n_without:
        screen.print(Text(f"{over.n_without:,} documents have no {over.column}", style="dim"))
