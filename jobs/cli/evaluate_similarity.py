"""`embedder evaluate similarity`."""

from __future__ import annotations

import sys
from typing import Any

import click

from jobs.cli.encoders import encoder_options, model_options
from jobs.cli.streams import FORMATS, choose_output, writing_stdout


@click.command("similarity", short_help="Cosines of pairs of texts against scores.")
@click.argument("data", nargs=-1, required=True, metavar="DATA.parquet...")
@click.option("--text1", metavar="COLUMN", help="Column of the first text.  [default: text1]")
@click.option("--text2", metavar="COLUMN", help="Column of the second.  [default: text2]")
@click.option("--score", metavar="COLUMN", help="Column of the score.  [default: score]")
@model_options
@click.option("--out", metavar="FILE", help="Write the result here.")
@click.option("--format", type=FORMATS, help="[default: by the ending of --out, else text]")
def evaluate_similarity_command(data: tuple[str, ...], **options: Any) -> None:
    """Compare the cosines of pairs of texts with how people scored them.

    \b
    Parquet, a row a pair:
      text1, text2  the texts
      score         how near they are in meaning, on any scale; more is nearer

    Spearman's and Pearson's correlation, for each file.
    """
    from embedder.encoders import open_encoder
    from jobs.evaluate_similarity import SIMILARITY_COLUMNS, evaluate_similarity
    from jobs.measure_table import write_measures
    from jobs.tables import write_table

    form = choose_output(options, options["model"], *data)
    columns = {name: options[name] for name in ("text1", "text2", "score") if options[name]}
    encoder = open_encoder(encoder_options(options))
    rows = [score.to_json() for score in evaluate_similarity(encoder, data, columns)]
    name = f"{encoder.encoder.spec.model}, {encoder.encoder.description}"
    with writing_stdout():
        write_table(
            rows,
            SIMILARITY_COLUMNS,
            form,
            options["out"],
            sys.stdout,
            lambda stream: write_measures(rows, SIMILARITY_COLUMNS, name, stream),
        )
