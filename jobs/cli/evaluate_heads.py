"""`embedder evaluate classify`, `classify-pairs` and `tag`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.streams import choose_output, writing_stdout
from jobs.cli.threads_option import threads_option

if TYPE_CHECKING:
    from embedder.heads.protocol import HeadOptions
    from jobs.evaluate_heads import HeadReport
    from jobs.tables import Format


def column_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that names a column."""
    return click.option(
        f"--{name}", metavar="COLUMN", help=f"{text}  [default: as in the head's training]"
    )


def head_options(command: Callable[..., None]) -> Callable[..., None]:
    """The head, the data, how it is run and where the measures go."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="No progress, only the measures."),
        click.option(
            "--format",
            type=click.Choice(["text", "json", "csv"]),
            help="[default: by the ending of --out, else text]",
        ),
        click.option("--out", metavar="FILE", help="Write the measures here."),
        click.option(
            "--max-batch-tokens",
            type=click.IntRange(1),
            default=4096,
            help="Padded tokens of one forward pass.",
        ),
        threads_option,
        click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32"),
        click.option(
            "--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.  [default: the best here]"
        ),
        click.argument("data", metavar="DATA.parquet"),
        click.argument("folder", metavar="FOLDER"),
    ):
        command = option(command)
    return command


@click.command("classify", short_help="Labelled texts.")
@head_options
@column_option("text", "The text.")
@column_option("label", "The label.")
def evaluate_classify_command(folder: str, data: str, **options: Any) -> None:
    """Measure the head in FOLDER on labelled texts.

    Precision, recall and F1 of each label; accuracy, macro F1 and, where there are two labels,
    Matthews' correlation, all by scikit-learn.
    """
    _classify("classify", folder, data, options)


@click.command("classify-pairs", short_help="Labelled pairs of texts.")
@head_options
@column_option("text1", "One text.")
@column_option("text2", "The other.")
@column_option("label", "The label.")
def evaluate_classify_pairs_command(folder: str, data: str, **options: Any) -> None:
    """Measure the head in FOLDER on labelled pairs of texts, as classify does."""
    _classify("classify-pairs", folder, data, options)


@click.command("tag", short_help="Sentences of tagged words.")
@head_options
@column_option("tokens", "The words: a list of texts.")
@column_option("tags", "Their tags: a list of as many.")
def evaluate_tag_command(folder: str, data: str, **options: Any) -> None:
    """Measure the head in FOLDER on sentences of tagged words.

    Of BIO tags precision, recall and F1 of each kind of span and of all, as CoNLL counts them,
    by seqeval; of other tags those of each tag, by scikit-learn; and accuracy.
    """
    from jobs.evaluate_heads import evaluate_tagger
    from jobs.progress import show_progress

    form = choose_measure_output(options, folder, data)
    with show_progress(quiet=options["quiet"]) as progress:
        report = evaluate_tagger(
            folder,
            data,
            columns=given_columns(options, "tokens", "tags"),
            options=read_head_options(options),
            progress=progress,
        )
    _show(report, form, options["out"])


def _classify(task: str, folder: str, data: str, options: dict[str, Any]) -> None:
    from embedder.heads.protocol import HeadTask
    from jobs.evaluate_heads import evaluate_classifier
    from jobs.progress import show_progress

    form = choose_measure_output(options, folder, data)
    with show_progress(quiet=options["quiet"]) as progress:
        report = evaluate_classifier(
            folder,
            data,
            HeadTask(task),
            columns=given_columns(options, "text", "text1", "text2", "label"),
            options=read_head_options(options),
            progress=progress,
        )
    _show(report, form, options["out"])


def given_columns(options: dict[str, Any], *roles: str) -> dict[str, str]:
    """Names of columns that the user gave, by role."""
    return {role: options[role] for role in roles if options.get(role) is not None}


def read_head_options(options: dict[str, Any], *settings: str) -> HeadOptions:
    """How the head is run, and which of its own settings are asked for."""
    from embedder.heads.protocol import HeadOptions
    from embedder.specs import Precision

    return HeadOptions(
        device=options["device"],
        precision=Precision(options["precision"]),
        threads=options["threads"],
        max_batch_tokens=options["max_batch_tokens"],
        settings={name: options[name] for name in settings if options[name] is not None},
    )


def choose_measure_output(options: dict[str, Any], folder: str, data: str) -> Format:
    """How the measures are written, decided before they are taken."""
    from embedder.errors import RequestError
    from jobs.tables import Format

    form = choose_output(options, folder, data)
    if form not in (Format.TEXT, Format.JSON, Format.CSV):
        raise RequestError(f"Measures are not written as {form}.", "Name a .json or .csv file.")
    return form


def _show(report: HeadReport, form: Format, out: str | None) -> None:
    from jobs.evaluate_heads import write_head_report

    with writing_stdout():
        write_head_report(report, form, out, sys.stdout)
