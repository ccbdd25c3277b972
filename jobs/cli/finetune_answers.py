"""`embedder finetune answer`: what embedder predict answers questions with."""

from __future__ import annotations

from typing import Any

import click

from jobs.cli.finetune import column_option, data_options, run_finetune
from jobs.cli.training import training_options


@click.command("answer")
@data_options
@column_option("question", "The question.")
@column_option("context", "The text that holds the answer.")
@column_option("answer_texts", "The answers: a list of texts, or one; empty or null for none.")
@column_option("answer_starts", "Their first characters in the text, from 0: a list, or one.")
@click.option(
    "--window",
    type=click.IntRange(24),
    help="Tokens that are read at once.  [default: 384, or what the model can take]",
)
@click.option(
    "--question-tokens",
    type=click.IntRange(1),
    default=64,
    help="Tokens of a question that are read, at most half of the window.",
)
@click.option(
    "--overlap",
    type=click.IntRange(0),
    default=128,
    help="Tokens that two windows over a text share, at most half of what fits.",
)
@click.option("--answer-tokens", type=click.IntRange(1), default=30, help="Of the longest answer.")
@training_options(epochs=2, batch=16, learning_rate=3e-5)
def answer_command(**options: Any) -> None:
    """Questions about texts: where in the text the answer stands, or that it has none.

    The model is for `embedder predict`. The columns are those of SQuAD. A text longer than the
    window is read in windows that overlap. Measured by exact match and F1 as SQuAD defines them;
    where some questions have no answer, the score from which on there is one is fitted to DEV.
    """
    run_finetune(
        "answer",
        options,
        columns=("question", "context", "answer_texts", "answer_starts"),
        settings=("window", "question_tokens", "overlap", "answer_tokens"),
    )
