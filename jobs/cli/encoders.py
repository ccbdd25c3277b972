"""The options that say how queries are encoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from jobs.query_encoder import QueryOptions

_OPTIONS = (
    click.option("--model", help="Where the model is now.  [default: where the index found it]"),
    click.option("--engine", type=click.Choice(["auto", "openvino", "torch"]), default="auto"),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto"),
    click.option("--device", metavar="DEVICE", help="cpu, cuda, mps.  [default: cpu]"),
    click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: all cores]"),
)


def query_encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def query_options(options: dict[str, Any]) -> QueryOptions:
    """What they ask for."""
    from embedder.specs import Engine, Precision
    from jobs.query_encoder import QueryOptions

    engine, precision = options["engine"], options["precision"]
    return QueryOptions(
        model=options["model"],
        engine=None if engine == "auto" else Engine(engine),
        precision=None if precision == "auto" else Precision(precision),
        device=options["device"],
        threads=options["threads"],
    )
