"""A comparison on one screen: the static vector's list left, the senses right."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import TYPE_CHECKING, TextIO

from jobs.comparison import Comparison, LabelledNeighbour
from jobs.screen import open_screen
from jobs.sense_text import sense_line
from jobs.senses import Sense

if TYPE_CHECKING:
    from rich.text import Text

LEFT_COLUMNS = 44
SENSE_NEIGHBOURS = 5
"""That are shown of each sense, so that all fits on one screen."""


def write_comparison(found: Comparison, stream: TextIO) -> None:
    """Write a comparison as people read it."""
    from rich.text import Text

    screen = open_screen(stream)
    left = [_heading(f"{found.word}: one static vector"), *_static_lines(found.static)]
    right = [_heading(f"{found.word}: its senses in {found.index}"), *_sense_lines(found)]
    for one, other in zip_longest(left, right):
        line = one or Text()
        line.append(" " * max(2, LEFT_COLUMNS - line.cell_len))
        line.append_text(other or Text())
        line.rstrip()
        screen.print(line)
    screen.print()
    screen.print(Text(found.verdict(), style="bold"))
    screen.print(Text(found.title, style="dim"))


def _heading(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="bold")


def _static_lines(neighbours: Iterable[LabelledNeighbour]) -> Iterable[Text]:
    from rich.text import Text

    for rank, one in enumerate(neighbours, 1):
        line = Text(f"{rank:>3}. {one.score:.2f}  ")
        line.append(one.neighbour.ljust(16), style="bold")
        if one.sense is not None:
            line.append(f" {one.sense}", style="magenta")
        else:
            line.append(" no senses" if one.through is None else " of no sense", style="dim")
        yield line


def _sense_lines(found: Comparison) -> Iterable[Text]:
    from rich.text import Text

    for sense in found.view.senses:
        n = found.n_static(sense)
        line = sense_line(sense.name, sense.share, ())
        line.append(f"{n} at the left" if n else "missed", style="not bold" if n else "bold")
        yield line
        yield Text("  " + " · ".join(sense.words))
        yield Text("  " + _near(sense), style="cyan")


def _near(sense: Sense) -> str:
    near = "  ".join(one.sense for one in sense.neighbours[:SENSE_NEIGHBOURS])
    return near or "no neighbours"
