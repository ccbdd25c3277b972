"""The terminal, or whatever stands in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def open_screen(stream: TextIO) -> Console:
    """A console that writes to a stream; with colours where that is a terminal."""
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # the command line decides what to do about it

    return PipeConsole(file=stream, highlight=False, soft_wrap=True)
