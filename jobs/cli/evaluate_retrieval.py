"""`embedder evaluate retrieval`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.encoders import encoder_options, model_options
from jobs.cli.streams import FORMATS, choose_output, writing_stdout

if TYPE_CHECKING:
    from embedder.collection import Collection

FILES = ("corpus.parquet", "queries.parquet", "qrels.parquet")


@click.command("retrieval", short_help="Queries whose relevant documents are known.")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("--query", metavar="COLUMN", help="In pairs.  [default: query, question or anchor]")
@click.option(
    "--positive", metavar="COLUMN", help="In pairs.  [default: positive, context or passage]"
)
@click.option("--document-id", metavar="COLUMN", default="doc_id", help="Of documents.")
@click.option("--query-id", metavar="COLUMN", default="query_id", help="Of queries.")
@click.option("--text", metavar="COLUMN", default="text", help="Of documents and queries.")
@click.option("--title", metavar="COLUMN", default="title", help="Put before a document's text.")
@click.option("--no-title", is_flag=True, help="Texts of documents alone.")
@click.option("--relevance", metavar="COLUMN", default="relevance", help="Grade of a judgement.")
@click.option(
    "--overflow",
    type=click.Choice(["window", "truncate"]),
    default="window",
    help="What to do with a document longer than the model's window: several passages, of which "
    "the nearest counts, as in an index, or its beginning.",
)
@model_options
@click.option("--out", metavar="FILE", help="Write the result here.")
@click.option("--format", type=FORMATS, help="[default: by the ending of --out, else text]")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def evaluate_retrieval_command(data: tuple[str, ...], **options: Any) -> None:
    """Search for queries whose relevant documents are known.

    \b
    DATA is a folder with a test collection:
      corpus.parquet   doc_id, text, and title if there is one
      queries.parquet  query_id, text
      qrels.parquet    query_id, doc_id, relevance (above 0 is relevant)
    or a Parquet file of pairs, whose different texts are the documents:
      query, positive  a query and a text that answers it

    nDCG@10, mean average precision, MRR@10, recall@10 and recall@100 of an exact search, averaged
    over the queries that have a judgement.
    """
    from embedder.encoders import open_encoder
    from embedder.specs import Overflow
    from jobs.evaluate_retrieval import RETRIEVAL_COLUMNS, evaluate_retrieval
    from jobs.measure_table import write_measures
    from jobs.progress import show_progress
    from jobs.tables import write_table

    form = choose_output(options, options["model"], *_files(data))
    collections = [_open(Path(path), options) for path in data]
    encoder = open_encoder(encoder_options(options))
    overflow = Overflow(options["overflow"])
    with show_progress(quiet=options["quiet"]) as progress:
        scores = [
            evaluate_retrieval(collection, encoder, overflow=overflow, progress=progress)
            for collection in collections
        ]
    for score in scores:
        for reason, n in score.counts.items():
            if n:
                click.echo(f"{score.data}: {n:,} {reason}", err=True)
    rows = [score.to_json() for score in scores]
    name = f"{encoder.encoder.spec.model}, {encoder.encoder.description}"
    with writing_stdout():
        write_table(
            rows,
            RETRIEVAL_COLUMNS,
            form,
            options["out"],
            sys.stdout,
            lambda stream: write_measures(rows, RETRIEVAL_COLUMNS, name, stream),
        )


def _files(data: tuple[str, ...]) -> list[Path]:
    """The files that are read."""
    paths = [Path(path) for path in data]
    inside = [path / name for path in paths if path.is_dir() for name in FILES]
    return [*inside, *(path for path in paths if not path.is_dir())]


def _open(path: Path, options: dict[str, Any]) -> Collection:
    from embedder.collection import CollectionColumns, open_collection, pairs_as_collection
    from embedder.errors import SourceError
    from embedder.retrieval_pairs import read_retrieval_pairs

    if not path.is_dir():
        names = {role: options[role] for role in ("query", "positive") if options[role]}
        return pairs_as_collection(read_retrieval_pairs(path, names), name=str(path))
    missing = [name for name in FILES if not (path / name).exists()]
    if missing:
        raise SourceError(
            f"The folder {path} has no {' and no '.join(missing)}.",
            f"A test collection is {', '.join(FILES)}.",
        )
    columns = CollectionColumns(
        document=options["document_id"],
        text=options["text"],
        title=None if options["no_title"] else options["title"],
        query=options["query_id"],
        relevance=options["relevance"],
    )
    corpus, queries, judgements = (path / name for name in FILES)
    return open_collection(corpus, queries, judgements, columns, name=str(path))
