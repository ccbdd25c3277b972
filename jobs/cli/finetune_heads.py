"""`embedder finetune classify`, `classify-pairs` and `tag`: what embedder predict runs."""

from __future__ import annotations

from typing import Any

import click

from jobs.cli.finetune import column_option, data_options, run_finetune
from jobs.cli.training import training_options

_label_option = click.option(
    "--label",
    metavar="COLUMN",
    help="The label: text, a whole number, or true or false.  [default: label_name, else label]",
)
_window_option = click.option(
    "--window",
    type=click.IntRange(8),
    help="Tokens that are read at once.  [default: what the model's folder says]",
)


@click.command("classify")
@data_options
@column_option("text", "The text.")
@_label_option
@_window_option
@training_options(epochs=4, batch=32, learning_rate=5e-5)
def finetune_classify_command(**options: Any) -> None:
    """Texts with labels: a label for each text.

    The model is for `embedder predict`. A text longer than the window loses its end. Measured by
    accuracy, macro F1 and, where there are two labels, Matthews' correlation.
    """
    run_finetune("classify", options, columns=("text", "label"), settings=("window",))


@click.command("classify-pairs", short_help="Pairs of texts with labels: a label for each.")
@data_options
@column_option("text1", "One text.")
@column_option("text2", "The other.")
@_label_option
@_window_option
@training_options(epochs=4, batch=32, learning_rate=5e-5)
def finetune_classify_pairs_command(**options: Any) -> None:
    """Pairs of texts with labels: a label for each pair, whose two texts are read together.

    The model is for `embedder predict`. Of a pair longer than the window the longer text loses
    its end first. Measured as classify is.
    """
    columns = ("text1", "text2", "label")
    run_finetune("classify-pairs", options, columns=columns, settings=("window",))


@click.command("tag")
@data_options
@column_option("tokens", "The words: a list of texts.")
@click.option(
    "--tags",
    metavar="COLUMN",
    help="Their tags: a list of as many texts or whole numbers.  [default: tags, else ner_tags, "
    "upos or pos_tags]",
)
@_window_option
@training_options(epochs=4, batch=16, learning_rate=1e-4)
def finetune_tag_command(**options: Any) -> None:
    """Sentences of words with tags: a tag for each word.

    The model is for `embedder predict`. A sentence longer than the window is read in windows that
    overlap. Tags that are all O, B-... or I-... are spans: the tags that are predicted are well
    formed, and F1 of spans is measured; other tags are measured by accuracy.
    """
    run_finetune("tag", options, columns=("tokens", "tags"), settings=("window",))
