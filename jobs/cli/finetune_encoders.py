"""`embedder finetune retrieval`: encoders for an index."""

from __future__ import annotations

from typing import Any

import click

from jobs.cli.finetune import data_options, run_finetune
from jobs.cli.training import training_options

window_option = click.option(
    "--window",
    type=click.IntRange(4),
    help="Tokens of a text that are read.  [default: the model's]",
)


@click.command("retrieval")
@data_options
@click.option("--query", metavar="COLUMN", help="[default: query, question or anchor]")
@click.option("--positive", metavar="COLUMN", help="[default: positive, context or passage]")
@click.option(
    "--negative", metavar="COLUMN", help="[default: negatives or negative, if there is one]"
)
@click.option(
    "--hard-negatives",
    type=click.IntRange(0),
    default=0,
    help="Find so many for each pair: texts near to its query, among the positives of others.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 2),
    default=0.05,
    help="How much lower than the positive's cosine theirs is at least.",
)
@click.option(
    "--chunk",
    type=click.IntRange(0),
    default=0,
    help="Texts of one forward pass, whatever the batch: large batches in the memory of small ones,"
    " for one more forward pass.  [default: 0, the whole batch]",
)
@click.option(
    "--scale", type=click.FloatRange(0, min_open=True), default=20.0, help="Of cosines in the loss."
)
@click.option("--symmetric", is_flag=True, help="Texts pick their queries, too.")
@window_option
@training_options(epochs=1, batch=64, learning_rate=2e-5)
def finetune_retrieval_command(**options: Any) -> None:
    """Queries and texts that answer them: a query gets near to its text and away from others.

    \b
    Parquet, a row a pair:
      query, positive  a query and a text that answers it
      negative         a text that does not, or a list of such texts, or nothing

    The others are the texts of all rows of a batch but those that answer the same query, so a
    larger --batch is a better one. The model is for `embedder index --model`. Measured by nDCG@10,
    MRR@10 and recall@10 of the search among the texts of the rows to evaluate on.
    """
    run_finetune(
        "retrieval",
        options,
        columns=("query", "positive", "negative"),
        settings=("hard_negatives", "margin", "chunk", "scale", "symmetric", "window"),
    )
