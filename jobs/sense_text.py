"""Senses, neighbours and uses of words as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from jobs.neighbours import SenseNeighbours, SenseTitle, UseNeighbours
from jobs.screen import open_screen
from jobs.senses import WordView
from jobs.use_texts import UseText

if TYPE_CHECKING:
    from rich.text import Text

LINE_WIDTH = 96
NAME_COLUMNS = 16


def write_word(view: WordView, stream: TextIO) -> None:
    """A word's inventory, readable at a glance."""
    from rich.text import Text

    screen = open_screen(stream)
    n = len(view.senses)
    head = Text(view.word, style="bold")
    head.append(f"  {view.n_uses:,} uses")
    if view.n_found > view.n_uses:
        head.append(f" of {view.n_found:,} found")
    head.append(f", {n} sense{'' if n == 1 else 's'}")
    screen.print(head)
    for sense in view.senses:
        screen.print()
        screen.print(sense_line(sense.name, sense.share, sense.words))
        if sense.neighbours:
            near = "  ".join(f"{one.sense} {one.score:.2f}" for one in sense.neighbours)
            screen.print(Text(f"  near: {near}", style="cyan"))
        for example in sense.examples:
            line = use_line(example, is_plain=not screen.is_terminal)
            for value in example.metadata.values():
                line.append(f"  {_short(value)}", style="cyan")
            screen.print(line)


def sense_line(name: str, share: float, words: Sequence[str]) -> Text:
    """Name, share and typical words of a sense."""
    from rich.text import Text

    line = Text(name.ljust(NAME_COLUMNS), style="bold magenta")
    line.append(f"{share:>4.0%}  ", style="not bold default")
    line.append(" · ".join(words), style="not bold default")
    return line


def write_neighbours(found: SenseNeighbours, stream: TextIO) -> None:
    """Neighbours, sense by sense."""
    from rich.text import Text

    screen = open_screen(stream)
    for number, (title, neighbours) in enumerate(found.groups):
        if number:
            screen.print()
        screen.print(_title_line(title))
        for rank, near in enumerate(neighbours, 1):
            line = Text(f"{rank:>3}.  {near.score:.3f}  ")
            line.append(near.sense.ljust(NAME_COLUMNS), style="bold")
            line.append(f" {near.share:.0%} of {near.n_uses / near.share:,.0f} uses", style="dim")
            screen.print(line)


def write_uses(found: UseNeighbours, stream: TextIO) -> None:
    """Uses of a word, sense by sense, each in its sentence."""
    from rich.text import Text

    screen = open_screen(stream)
    for number, (title, uses) in enumerate(found.groups):
        if number:
            screen.print()
        screen.print(_title_line(title))
        for rank, use in enumerate(uses, 1):
            line = Text(f"{rank:>3}.  {use.score:.3f}  ")
            line.append(f"{use.sense} {use.confidence:.2f}  ", style="cyan")
            line.append(use.id, style="bold")
            for value in use.metadata.values():
                line.append(f"  {_short(value)}", style="cyan")
            screen.print(line)
            screen.print(use_line(use, is_plain=not screen.is_terminal, indent=5))


def _title_line(title: SenseTitle) -> Text:
    line = sense_line(title.choice.name, title.share, title.words)
    if title.choice.confidence < 1:
        line.append(f"  (confidence {title.choice.confidence:.2f})", style="dim")
    return line


def use_line(use: UseText, *, is_plain: bool, indent: int = 4) -> Text:
    """The words around a use on one line, the word bold, or in brackets where there is no bold."""
    from rich.text import Text

    first, last = use.sentence
    before = " ".join(use.passage[first : use.start].split())
    word = use.passage[use.start : use.end]
    after = " ".join(use.passage[use.end : last].split())
    room = LINE_WIDTH - indent - len(word) - 4
    n_before = min(len(before), max(room // 2, room - len(after)))
    n_after = min(len(after), room - n_before)
    line = Text(" " * indent + _last_words(before, n_before))
    line.append(" " if use.passage[first : use.start].endswith((" ", "\n")) else "")
    line.append(f"[{word}]" if is_plain else word, style="bold")
    line.append(" " if use.passage[use.end : last].startswith((" ", "\n")) else "")
    line.append(_first_words(after, n_after))
    return line


def _first_words(text: str, room: int) -> str:
    """Whole words from the start of a text, with a sign where the rest was left out."""
    if len(text) <= room:
        return text
    return text[: max(room - 1, 0)].rpartition(" ")[0] + " …"


def _last_words(text: str, room: int) -> str:
    """Whole words from the end of a text."""
    if len(text) <= room:
        return text
    return "… " + text[len(text) - max(room - 2, 0) :].partition(" ")[2]


def _short(value: Any) -> str:
    import textwrap

    return textwrap.shorten(" ".join(str(value).split()), 60, placeholder="…")
