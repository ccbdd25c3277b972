"""The options that say how texts are encoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from embedder.encoders import EncoderOptions
    from jobs.query_encoder import QueryOptions

ENGINES = click.Choice(["auto", "openvino", "torch", "static"])

_QUERY_MODEL = click.option(
    "--model", help="Where the model is now.  [default: where the index found it]"
)
_MODEL = click.option("--model", help="A model folder or a name.  [default: the bundled one]")
_OPTIONS = (
    click.option("--engine", type=ENGINES, default="auto"),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto"),
    click.option("--device", metavar="DEVICE", help="cpu, cuda, mps.  [default: cpu]"),
    click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: all cores]"),
)


def query_encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those for queries to an index to a command."""
    return _add(command, _QUERY_MODEL)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those for a model of its own to a command."""
    return _add(command, _MODEL)


def _add(command: Callable[..., Any], model: Callable[..., Any]) -> Callable[..., Any]:
    for option in (*reversed(_OPTIONS), model):
        command = option(command)
    return command


def query_options(options: dict[str, Any]) -> QueryOptions:
    """What those for queries ask for."""
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


def encoder_options(options: dict[str, Any]) -> EncoderOptions:
    """What those for a model of its own ask for."""
    from embedder.encoders import EncoderOptions
    from embedder.specs import Engine, Precision

    engine, precision = options["engine"], options["precision"]
    return EncoderOptions(
        model=options["model"],
        engine=None if engine == "auto" else Engine(engine),
        precision=None if precision == "auto" else Precision(precision),
        device=options.get("device"),
        threads=options["threads"],
    )
