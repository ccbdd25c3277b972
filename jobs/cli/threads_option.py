"""The option that says how many cores a command may take."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
"""What libraries look at when they are imported, or when they first start their threads: FAISS,
NumPy and torch, and tokenizers."""


def threads_option(command: Command) -> Command:
    """`--threads`, which binds the libraries that a command imports when it runs, too."""
    return click.option(
        "--threads",
        type=click.IntRange(1),
        callback=_bind,
        help="CPU threads.  [default: all cores that may be used]",
    )(command)


def _bind(context: click.Context, _: click.Parameter, n_threads: int | None) -> int | None:
    if n_threads is None and VARIABLES[0] not in os.environ:
        from jobs.cores import count_cores, scheduled_cores

        cores = count_cores()
        n_threads = cores if cores < scheduled_cores() else None  # libraries would take all
    if n_threads is not None and not context.resilient_parsing:
        before = {name: os.environ.get(name) for name in VARIABLES}
        os.environ.update(dict.fromkeys(VARIABLES, str(n_threads)))
        context.call_on_close(lambda: _restore(before))
    return n_threads


def _restore(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
