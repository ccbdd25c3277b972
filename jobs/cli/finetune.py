"""`embedder finetune`: one command a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from jobs.cli.encoders import MODEL
from jobs.cli.sections import SectionedGroup
from jobs.cli.training import (
    Command,
    check_out,
    read_training_options,
    run_training,
    training_options,
)


@click.group("finetune", cls=SectionedGroup)
def finetune_group() -> None:
    """Train a model further, for a task of your own.

    The model folder that comes out holds measures, a learning curve and a model card too. A run
    that was stopped goes on when the same command is run again.
    """


def data_options(command: Command) -> Command:
    """The files, the model and the folder of a task."""
    for option in (
        click.option("--model", default="default", help=f"Where to start. {MODEL}"),
        click.option("--out", required=True, metavar="FOLDER", help="A new folder for the model."),
        click.option(
            "--eval",
            metavar="DEV.parquet",
            help="Rows to evaluate on.  [default: a tenth of TRAIN, equal texts together]",
        ),
        click.argument("train", metavar="TRAIN.parquet"),
    ):
        command = option(command)
    return command


def column_option(name: str, text: str) -> Callable[[Command], Command]:
    """An option that names a column, called as its usual name with dashes.

    Args:
        name: what the column holds, as the task calls it: `text1`.
        text: what that is.
    """
    return click.option(
        f"--{name.replace('_', '-')}", name, metavar="COLUMN", help=f"{text}  [default: {name}]"
    )


@click.command("similarity", short_help="Scored pairs of texts: cosines in their order.")
@data_options
@column_option("text1", "One text.")
@column_option("text2", "The other.")
@column_option("score", "How near they are in meaning.")
@click.option(
    "--window",
    type=click.IntRange(4),
    help="Tokens of a text that are read.  [default: the model's]",
)
@training_options(epochs=4, batch=32, learning_rate=3e-5)
def finetune_similarity_command(**options: Any) -> None:
    """Pairs of texts with scores: cosines get the order of the scores.

    The model is for `embedder index --model`. Measured by Spearman's correlation.
    """
    run_finetune("similarity", options, columns=("text1", "text2", "score"), settings=("window",))


def run_finetune(
    task: str,
    options: dict[str, Any],
    *,
    columns: tuple[str, ...],
    settings: tuple[str, ...] = (),
) -> None:
    """Train for a task as a command's options say.

    Args:
        task: its name.
        options: all options of the command, by name.
        columns: which of them name columns.
        settings: which of them are the task's own.
    """
    check_out(options)
    from jobs.finetuning import USAGES, FinetuneOptions, estimate_finetune, finetune

    asked = FinetuneOptions(
        task=task,
        train=_sources(options["train"]),
        dev=options.get("eval"),
        out=options["out"],
        model=options["model"],
        columns=_given(options, columns),
        settings=_given(options, settings),
        training=read_training_options(options),
        restart=options["restart"],
    )
    run_training(
        options,
        USAGES[task].format(out=options["out"]),
        lambda progress: finetune(asked, progress),
        lambda progress: estimate_finetune(asked, progress),
    )


def _sources(train: str | tuple[str, ...]) -> tuple[str, ...]:
    return (train,) if isinstance(train, str) else train


def _given(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: options[name] for name in names if options[name] is not None}
