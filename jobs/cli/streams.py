"""Standard output, whose reader may go away."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import click

FORMATS = click.Choice(["text", "json", "jsonl", "csv", "parquet"])


@contextlib.contextmanager
def writing_stdout() -> Iterator[None]:
    """Around what writes to standard output.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; the rest is of no use to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        from embedder.errors import OutputError

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"stdout cannot be written: {error.strerror}.") from error
