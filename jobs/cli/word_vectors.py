"""`embedder words`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.sizes import MEMORY

if TYPE_CHECKING:
    from jobs.word_training import TrainWordsSummary


@click.group("words")
def words_group() -> None:
    """Static vectors: one a word, whatever it means. What came before senses, to compare with."""


@words_group.command("train")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCES...")
@click.option("--method", type=click.Choice(["word2vec", "glove"]), default="word2vec")
@click.option("--out", required=True, metavar="FOLDER", help="A new folder for the vectors.")
@click.option("--text", metavar="COLUMN", help="Column that holds the text.")
@click.option("--limit", type=click.IntRange(1), help="Read only the first so many rows.")
@click.option("--width", type=click.IntRange(1), default=100, help="Components of a vector.")
@click.option(
    "--window",
    type=click.IntRange(1, 255),
    help="Words on either side that count.  [default: 5 with word2vec, 10 with glove]",
)
@click.option(
    "--least-count",
    type=click.IntRange(1),
    default=5,
    help="Words with fewer uses get no vector.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="[default: 25 with glove; with word2vec 5, up to 30 where there is little text]",
)
@click.option("--seed", type=click.IntRange(0), default=1, help="Of all that is drawn by chance.")
@click.option(
    "--memory", type=MEMORY, metavar="SIZE", default="1G", help="Most memory for it, about."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    help="Of word2vec; with more, vectors differ a little from run to run.",
)
@click.option("--format", type=click.Choice(["text", "json"]), default="text")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary, only errors.")
def train_command(**options: Any) -> None:
    """Train static vectors of words on the text of Parquet SOURCES.

    SOURCES and their text column are as for embedder index. Equal text and options give equal
    vectors. The folder holds config.json, vectors.npy (float32) and words.parquet (word, count),
    row for row.
    """
    from jobs.progress import show_progress
    from jobs.word_training import train_words
    from jobs.word_training_options import Method, TrainWordsOptions

    form, quiet = options.pop("format"), options.pop("quiet")
    asked = TrainWordsOptions(**{**options, "method": Method(options["method"])})
    with show_progress(quiet=quiet) as progress:
        summary = train_words(asked, progress)
    if form == "json":
        click.echo(json.dumps(summary.to_json(), indent=1, ensure_ascii=False))
    elif not quiet:
        for line in _summary_lines(summary):
            click.echo(line)


def _summary_lines(summary: TrainWordsSummary) -> list[str]:
    from jobs.figures import bytes_text, clock, number_lines, plural

    lines = [
        f"{summary.folder}: {summary.method}, {plural(summary.n_words, 'word')}, vectors of "
        f"{summary.width} components, {bytes_text(summary.n_bytes)} in {clock(summary.seconds)}",
        f"  {summary.n_used:,} of {plural(summary.n_running_words, 'running word')} in "
        f"{plural(summary.n_documents, 'document')}",
    ]
    if summary.n_cells is not None and summary.loss is not None:
        pairs = plural(summary.n_cells, "pair")
        lines.append(f"  {pairs} of words near each other, loss {summary.loss:.4f} a pair")
    counts = dict(summary.counts)
    counts |= {"uses not counted, for want of --memory": summary.n_forgotten}
    return lines + number_lines(counts)
