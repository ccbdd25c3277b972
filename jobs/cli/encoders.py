"""The options that say how texts are encoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.threads_option import threads_option

if TYPE_CHECKING:
    from embedder.encoders import EncoderOptions
    from jobs.query_encoder import QueryOptions

ENGINES = click.Choice(["auto", "openvino", "torch", "static"])

MODEL = "A model folder, a name on the hub, or `default`, the bundled one."
ENGINE = "What runs the network; auto is openvino on a CPU, torch on others."
PRECISION = "Arithmetic; auto is bf16 where the device has it natively, else fp32."

Command = Callable[..., Any]


def query_encoder_options(command: Command) -> Command:
    """Add those for queries to an index to a command."""
    return _add(command, model="where the index found it", device="cpu")


def model_options(command: Command) -> Command:
    """Add those for a model of its own to a command."""
    return _add(command, model="default", device="the best here")


def _add(command: Command, *, model: str, device: str) -> Command:
    precisions = click.Choice(["auto", "fp32", "bf16"])
    for option in (
        threads_option,
        click.option(
            "--device", metavar="DEVICE", help=f"cpu, cuda, cuda:1 or mps.  [default: {device}]"
        ),
        click.option("--precision", type=precisions, default="auto", help=PRECISION),
        click.option("--engine", type=ENGINES, default="auto", help=ENGINE),
        click.option("--model", help=f"{MODEL}  [default: {model}]"),
    ):
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
