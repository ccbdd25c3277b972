"""`embedder finetune retrieval`, `senses` and `senses-unsupervised`: encoders for an index."""

from __future__ import annotations

from typing import Any

import click

from jobs.cli.finetune import data_options, run_finetune
from jobs.cli.training import training_options
from jobs.cli.use_columns import LABEL, USE_COLUMNS, use_column_options

window_option = click.option(
    "--window",
    type=click.IntRange(4),
    help="Tokens of a text that are read.  [default: the model's]",
)


@click.command("retrieval", short_help="Queries and the texts that answer them.")
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
    help="Texts of one forward pass, whatever the batch, and 0 for all of it: large batches in the "
    "memory of small ones, for one more forward pass.",
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


@click.command("senses", short_help="Uses of words: one sense or not.")
@data_options
@use_column_options("label or same of pairs, sense, class_id or label of uses")
@window_option
@training_options(epochs=3, batch=32, learning_rate=1e-4)
def finetune_senses_command(**options: Any) -> None:
    """Pairs of uses of a word, and whether they have one sense: those that have get near.

    \b
    Parquet, a row a pair, as for embedder evaluate senses pairs:
      text1, start1, end1, text2, start2, end2
                       the texts, and the word's characters in them, half-open
      or tokens1, target_index1, ..., or text1, target1, ...
      label            true or false

    \b
    Or a row a use, as for embedder evaluate senses centroid:
      word, sense      the word, and which sense it has
      text, start, end, or tokens, target_index, or text, target
    Then pairs are drawn from the uses of each word, all its senses with the same chance, at most
    200 of one sense and 200 of two.

    The vectors are those that an index has of words, so that the model is for `embedder index
    --model` and its senses. Measured by accuracy, with a threshold of the cosine that is fitted on
    half of the rows and tried on the other. Rows are held out by their words.
    """
    columns = (*(name for name, _ in USE_COLUMNS), LABEL)
    run_finetune("senses", options, columns=columns, settings=("window",))


@click.command("senses-unsupervised", short_help="Text: senses of words without labels.")
@click.argument("train", nargs=-1, required=True, metavar="CORPUS.parquet...")
@click.option("--model", default="default", help="Where to start: a folder or a name.")
@click.option("--out", required=True, metavar="FOLDER", help="A new folder for the model.")
@click.option(
    "--eval",
    metavar="DEV.parquet",
    help="Labelled pairs to evaluate on, as for finetune senses.  [default: uses are held out]",
)
@click.option("--text", metavar="COLUMN", help="Column of the text.  [default: found]")
@click.option("--limit", type=click.IntRange(1), help="Only so many rows of the corpus.")
@click.option("--uses", type=click.IntRange(2), default=10_000, help="How many to train on.")
@click.option(
    "--masked",
    type=click.IntRange(0),
    default=3,
    help="Tokens that are hidden on either side of the word in one view.",
)
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of states that are dropped in each view.  [default: the model's]",
)
@click.option(
    "--scale", type=click.FloatRange(0, min_open=True), default=25.0, help="Of cosines in the loss."
)
@click.option(
    "--window",
    type=click.IntRange(8),
    help="Tokens around a word.  [default: 64, or as many as the model reads]",
)
@training_options(epochs=1, batch=128, learning_rate=2e-5)
def finetune_senses_unsupervised_command(**options: Any) -> None:
    """Senses from a corpus alone, without labels: two views of one use of a word get near.

    Uses of words are drawn from the CORPUS, function words left out. Both views of a use are read
    with a dropout of their own, and one with parts of the context hidden; they have to be nearer to
    each other than to all other uses of a batch (MirrorWiC, Liu et al. 2021). Measured by accuracy
    on labelled pairs where --eval names some, else by the loss on uses that are held out.
    """
    names = ("uses", "masked", "dropout", "scale", "window", "limit")
    run_finetune("senses-unsupervised", options, columns=("text",), settings=names)
