"""`embedder disambiguate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jobs.cli.encoders import ENGINE, ENGINES, PRECISION
from jobs.cli.index_option import index_option
from jobs.cli.names import COLUMN_NAMES
from jobs.cli.threads_option import threads_option

if TYPE_CHECKING:
    from jobs.disambiguate import DisambiguateOptions, DisambiguateSummary


@click.command("disambiguate", short_help="Say which sense words in Parquet text have.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCES...")
@click.option("--out", required=True, metavar="FILE", help="Where to write.")
@index_option("disambiguate", "The index whose senses are meant.")
@click.option("--text", metavar="COLUMN", help="Column that holds the text.")
@click.option("--id", metavar="COLUMN", help="Column that identifies a row.")
@click.option(
    "--word",
    metavar="COLUMN",
    help="The word that is meant; beside a place, the word whose senses are, as a lemma.",
)
@click.option("--start", metavar="COLUMN", help="First character of the word that is meant.")
@click.option("--end", metavar="COLUMN", help="One past its last character.")
@click.option(
    "--target-index",
    metavar="COLUMN",
    help="Number of the word that is meant among the tokens, from 0.",
)
@click.option(
    "--tokens",
    metavar="COLUMN",
    help="List of the text's tokens.  [default: the text cut at each space]",
)
@click.option(
    "--fields",
    type=COLUMN_NAMES,
    metavar="COLUMNS",
    default=(),
    help="Columns to write beside, separated by commas as in CSV.",
)
@click.option(
    "--format",
    type=click.Choice(["parquet", "jsonl", "csv"]),
    help="[default: by the ending of --out]",
)
@click.option("--limit", type=click.IntRange(1), help="Read only the first so many rows.")
@click.option("--model", help="Where the model is now.  [default: where the index found it]")
@click.option("--engine", type=ENGINES, default="auto", help=ENGINE)
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", help=PRECISION
)
@click.option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.  [default: cpu]")
@threads_option
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary, only errors.")
def disambiguate_command(**options: Any) -> None:
    """Say which sense words in the text of Parquet SOURCES have, by the senses of an index.

    \b
    --word COLUMN          the word, which the text has once
    --start, --end         its characters, the end one past the last
    --target-index         its number among the tokens
    none of these          every word that has senses in the index

    With a word named, FILE has a row for each row of SOURCES, else one for each word, in order:
    id, the --fields, word, start, end, sense (as bank/2), confidence and status. A row without a
    sense has a status that says why: unknown word, word not in text, null text and so on.
    """
    from indexes.layout import Layout
    from jobs.disambiguate import disambiguate
    from jobs.find import find_index
    from jobs.progress import show_progress

    asked = _options(options)
    layout = Layout(find_index(options["index"]))
    with show_progress(quiet=options["quiet"]) as progress:
        summary = disambiguate(layout, asked, progress)
    if not options["quiet"]:
        for line in _lines(summary):
            click.echo(line)


def _options(options: dict[str, Any]) -> DisambiguateOptions:
    from embedder.specs import Engine, Precision
    from jobs.disambiguate import DisambiguateOptions
    from jobs.query_encoder import QueryOptions
    from jobs.row_files import RowFormat
    from jobs.targets import TargetColumns

    engine, precision = options["engine"], options["precision"]
    return DisambiguateOptions(
        sources=options["sources"],
        out=options["out"],
        format=RowFormat(options["format"]) if options["format"] else None,
        text=options["text"],
        id=options["id"],
        targets=TargetColumns(
            word=options["word"],
            start=options["start"],
            end=options["end"],
            target_index=options["target_index"],
            tokens=options["tokens"],
        ),
        fields=options["fields"],
        limit=options["limit"],
        encoder=QueryOptions(
            model=options["model"],
            engine=None if engine == "auto" else Engine(engine),
            precision=None if precision == "auto" else Precision(precision),
            device=options["device"],
            threads=options["threads"],
        ),
    )


def _lines(summary: DisambiguateSummary) -> list[str]:
    from jobs.figures import number_lines, plural

    rate = summary.n_rows / max(summary.seconds, 1e-9)
    return [
        f"{summary.out}: {plural(summary.n_rows, 'row')}, {plural(summary.n_words, 'word')}, "
        f"{summary.n_answered:,} with a sense, in {summary.seconds:.1f} s "
        f"({rate:,.0f} rows/s)",
        *number_lines({f"no sense: {reason}": n for reason, n in summary.counts.items()}),
        *number_lines({f"no row: {reason}": n for reason, n in summary.left_out.items()}),
        *number_lines(summary.defects),
    ]
