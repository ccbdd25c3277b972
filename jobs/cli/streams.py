"""Standard output, whose reader may go away."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from jobs.tables import Format

FORMATS = click.Choice(["text", "json", "jsonl", "csv", "parquet"])


def choose_output(options: dict[str, Any], *reads: str | Path | None) -> Format:
    """The format to write in, and --out checked, before the work whose result goes there.

    Args:
        options: with `format` and `out`.
        reads: files and folders that are read; None where there is none.

    Raises:
        RequestError: Parquet was asked for without a file to put it in.
        OutputError: there can be no such file; see `check_file_name`.
    """
    from jobs.output import check_file_name
    from jobs.tables import choose_format

    form = choose_format(options["format"], options["out"])
    if options["out"] is not None:
        check_file_name(options["out"], [path for path in reads if path is not None])
    return form


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
