"""`embedder finetune answer` and `generate`: what embedder predict answers with texts."""

from __future__ import annotations

from typing import Any

import click

from jobs.cli.finetune import column_option, data_options, run_finetune
from jobs.cli.training import training_options


@click.command("answer", short_help="Questions about texts: where the answer stands.")
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
def finetune_answer_command(**options: Any) -> None:
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


@click.command("generate", short_help="Texts with targets, such as summaries.")
@data_options
@column_option("source", "The text that is read.")
@click.option(
    "--target",
    metavar="COLUMN",
    help="The text that is to be written, or a list of texts of which each would do.  "
    "[default: targets, else target]",
)
@click.option(
    "--window",
    type=click.IntRange(8),
    help="Tokens of a text that are read.  [default: what the model can take]",
)
@click.option(
    "--target-tokens",
    type=click.IntRange(2),
    default=64,
    help="Of the longest text that is written.",
)
@click.option("--beams", type=click.IntRange(1), default=4, help="Of the search, for predict.")
@click.option(
    "--length-penalty",
    type=float,
    default=1.0,
    help="More favours long texts, less than 0 short ones.",
)
@click.option(
    "--no-repeat-ngram",
    type=click.IntRange(0),
    default=3,
    help="So many tokens never come twice in a text; 0 for no such rule.",
)
@click.option(
    "--copy/--no-copy",
    default=True,
    help="Pieces of the text can be copied, so that few examples are enough; without, the model is "
    "an EncoderDecoderModel of transformers and nothing else.",
)
@click.option(
    "--tie-embeddings/--no-tie-embeddings",
    default=True,
    help="One table of word embeddings for encoder and decoder while they are trained.",
)
@click.option(
    "--eval-rows", type=click.IntRange(1), help="Only the first so many of DEV.  [default: all]"
)
@training_options(epochs=10, batch=16, learning_rate=1e-4)
def finetune_generate_command(**options: Any) -> None:
    """Texts with targets, such as summaries: a text for each text.

    The model is for `embedder predict`. It becomes an encoder and, from the same weights, a
    decoder, which can also copy what is read. Of several targets the first is learnt. A text
    longer than the window loses its end. Measured by ROUGE, against the nearest target and without
    beams, beside the first sentence of the text. --lora and --freeze are for the encoder.
    """
    run_finetune(
        "generate",
        options,
        columns=("source", "target"),
        settings=(
            "window",
            "target_tokens",
            "beams",
            "length_penalty",
            "no_repeat_ngram",
            "copy",
            "tie_embeddings",
            "eval_rows",
        ),
    )
