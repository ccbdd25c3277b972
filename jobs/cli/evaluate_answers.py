"""`embedder evaluate answer` and `generate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.evaluate_heads import (
    choose_measure_output,
    column_option,
    given_columns,
    head_options,
    read_head_options,
)
from jobs.cli.streams import writing_stdout

if TYPE_CHECKING:
    from jobs.evaluate_answers import AnswerReport
    from jobs.tables import Format


@click.command("answer", short_help="Questions about texts.")
@head_options
@column_option("question", "The question.")
@column_option("context", "The text that holds the answer.")
@column_option("answer-texts", "The answers: a list of texts, or one; empty or null for none.")
@click.option(
    "--null-threshold",
    type=float,
    metavar="SCORE",
    help="The score above which there is an answer.  [default: as in training]",
)
def evaluate_answer_command(folder: str, data: str, **options: Any) -> None:
    """Measure the head in FOLDER on questions about texts.

    Exact match and F1 as SQuAD defines them, against the nearest of the answers that people gave;
    where some questions have no answer, also of those with one and without one alone.
    """
    from jobs.evaluate_answers import ANSWER_COLUMNS, evaluate_answerer
    from jobs.progress import show_progress

    form = choose_measure_output(options, folder, data)
    with show_progress(quiet=options["quiet"]) as progress:
        report = evaluate_answerer(
            folder,
            data,
            columns=given_columns(options, "question", "context", "answer_texts"),
            options=read_head_options(options, "null_threshold"),
            progress=progress,
        )
    _show(report, ANSWER_COLUMNS, form, options["out"])


@click.command("generate", short_help="Texts with targets.")
@head_options
@column_option("source", "The text that is read.")
@column_option("target", "The text to be written, or a list of texts of which each would do.")
@click.option(
    "--beams",
    type=click.IntRange(1),
    help="Texts that are followed at once.  [default: as in training]",
)
@click.option("--length-penalty", type=float, help="[default: as in training]")
@click.option("--no-repeat-ngram", type=click.IntRange(0), help="[default: as in training]")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many rows.")
def evaluate_generate_command(folder: str, data: str, **options: Any) -> None:
    """Measure the head in FOLDER on texts with targets.

    ROUGE-1, ROUGE-2 and ROUGE-L (F1, words stemmed) by rouge_score, against the nearest target,
    and beside them what the first sentence of each text would get.
    """
    from jobs.evaluate_answers import GENERATE_COLUMNS, evaluate_generator
    from jobs.progress import show_progress

    form = choose_measure_output(options, folder, data)
    with show_progress(quiet=options["quiet"]) as progress:
        report = evaluate_generator(
            folder,
            data,
            columns=given_columns(options, "source", "target"),
            limit=options["limit"],
            options=read_head_options(options, "beams", "length_penalty", "no_repeat_ngram"),
            progress=progress,
        )
    _show(report, GENERATE_COLUMNS, form, options["out"])


def _show(report: AnswerReport, columns: Sequence[str], form: Format, out: str | None) -> None:
    from jobs.measure_table import write_measures
    from jobs.tables import write_table

    with writing_stdout():
        write_table(
            report.rows,
            columns,
            form,
            out,
            sys.stdout,
            lambda stream: write_measures(report.rows, columns, report.title, stream),
        )
