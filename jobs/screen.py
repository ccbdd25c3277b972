"""The terminal, or whatever stands in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

CONTROLS = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\t\n"
}
"""Characters that a terminal would obey, which texts of a corpus are not to make it do; the last
are those that set the direction of what follows, and could show a line in another order."""


def open_screen(stream: TextIO) -> Console:
    """A console that writes to a stream; with colours where that is a terminal."""
    from rich.console import Console
    from rich.segment import Segment

    class PipeConsole(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else text.translate(CONTROLS), style, control)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # the command line decides what to do about it

    return PipeConsole(file=stream, highlight=False, soft_wrap=True)
