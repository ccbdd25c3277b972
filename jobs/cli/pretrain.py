"""`embedder pretrain`, and `embedder finetune adapt`, which goes on with an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from jobs.cli.training import (
    Command,
    check_out,
    read_training_options,
    run_training,
    training_options,
)

if TYPE_CHECKING:
    from embedder.training.pretraining.options import PretrainingOptions

SIZES = ("tiny", "mini", "small", "medium", "base", "large")

FIELDS = {
    "whole_word": "is_whole_word",
    "from": "model",
    "vocabulary": "n_pieces",
    "cased": "is_cased",
    "next_sentence": "has_pairs",
}
"""What options are called in the job, where it is something else."""

CAREFUL = "  [for base, large and --from: 0.0001]"
CAREFUL_RATE = 1e-4
"""Learning rate of the large sizes, and of weights that have learnt already."""


def corpus_options(command: Command) -> Command:
    """The corpus, the folder, and how text becomes examples."""
    for option in (
        click.option(
            "--held-out",
            type=click.FloatRange(0, 0.5, min_open=True),
            default=0.02,
            help="Share of the documents that is kept for validation.",
        ),
        click.option(
            "--length",
            type=click.IntRange(16, 512),
            default=128,
            help="Most pieces of an example; short texts are packed.",
        ),
        click.option(
            "--mask-share",
            type=click.FloatRange(0, 0.8, min_open=True),
            default=0.15,
            help="Share of the pieces to find. Half of them teach a small network more in the same "
            "time.",
        ),
        click.option("--whole-word", is_flag=True, help="Mask whole words, not pieces."),
        click.option("--limit", type=click.IntRange(1), help="Read only the first so many rows."),
        click.option("--text", metavar="COLUMN", help="Column that holds the text."),
        click.option("--out", required=True, metavar="FOLDER", help="A new folder for the model."),
        click.argument("sources", nargs=-1, required=True, metavar="SOURCES..."),
    ):
        command = option(command)
    return command


@click.command("pretrain", short_help="Train a BERT and its vocabulary from scratch.")
@corpus_options
@click.option(
    "--size",
    type=click.Choice(SIZES),
    help="Of a new BERT, as published: 2x128, 4x256, 4x512, 8x512, 12x768, 24x1024."
    "  [default: tiny]",
)
@click.option("--from", "from", metavar="MODEL", help="Go on with this model.")
@click.option("--tokenizer", metavar="MODEL", help="Take this model's vocabulary.")
@click.option(
    "--vocabulary",
    type=click.IntRange(1),
    help="Pieces of a new vocabulary.  [default: 30522, or fewer for little text]",
)
@click.option("--cased", is_flag=True, help="Keep upper case and accents.")
@click.option(
    "--objective",
    type=click.Choice(["mlm", "causal"]),
    default="mlm",
    help="Find masked pieces, or the next one from those before it.",
)
@click.option(
    "--next-sentence/--no-next-sentence",
    default=None,
    help="Say too which of two segments follow each other.  [default: with masks, if it is new]",
)
@training_options(epochs=10, batch=32, learning_rate=5e-4, shard=True, careful=CAREFUL)
def pretrain_command(**options: Any) -> None:
    """Train a BERT and its vocabulary on the text of Parquet SOURCES.

    SOURCES and their text column are as for embedder index. The folder is a model for embedder
    index --model, for finetune --model, and to go on with by --from. A run that was stopped goes on
    when the same command is run again.

    On several devices: torchrun --nproc-per-node 2 -m jobs pretrain ...
    """
    is_careful = options["size"] in ("base", "large") or options["from"] is not None
    source = click.get_current_context().get_parameter_source("learning_rate")
    if is_careful and source is ParameterSource.DEFAULT:
        options["learning_rate"] = CAREFUL_RATE
    _run(options, options)


@click.command("adapt", short_help="Text: find its masked pieces, to be at home in it.")
@corpus_options
@click.option("--model", default="default", help="The encoder: a folder or a name.")
@training_options(epochs=3, batch=32, learning_rate=5e-5, shard=True)
def adapt_command(**options: Any) -> None:
    """Make an encoder at home in the text of SOURCES: it finds masked pieces of it.

    The result is an encoder with the pooling and the window that it had. Its vectors change with
    the text that it reads, and no task says how: train it for one afterwards, or measure it before
    it is used as it is.
    """
    _run(options, {**options, "is_adapted": True, "next_sentence": False})


def _read_options(options: dict[str, Any]) -> PretrainingOptions:
    from dataclasses import fields

    from embedder.training.pretraining.options import Objective, PretrainingOptions
    from embedder.training.pretraining.shapes import Size

    asked = {FIELDS.get(name, name): value for name, value in options.items()}
    values = {
        field.name: asked[field.name] for field in fields(PretrainingOptions) if field.name in asked
    }
    values["objective"] = Objective(options.get("objective", "mlm"))
    size = options.get("size")
    values["size"] = None if size is None else Size(size)
    return PretrainingOptions(**values)


def _run(options: dict[str, Any], asked: dict[str, Any]) -> None:
    """Train as a command's options say.

    Args:
        options: those of the command.
        asked: those of the task.
    """
    check_out(options)
    from jobs.pretraining import USAGE, PretrainOptions, estimate_pretrain, pretrain

    wanted = PretrainOptions(
        sources=options["sources"],
        out=options["out"],
        text=options["text"],
        limit=options["limit"],
        pretraining=_read_options(asked),
        training=read_training_options(options),
        restart=options["restart"],
    )
    run_training(
        options,
        USAGE.format(out=options["out"]),
        lambda progress: pretrain(wanted, progress),
        lambda progress: estimate_pretrain(wanted, progress),
    )
