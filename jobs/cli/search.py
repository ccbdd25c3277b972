"""`embedder search`."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.encoders import query_encoder_options, query_options
from jobs.cli.index_option import index_option
from jobs.cli.names import COLUMN_NAMES
from jobs.cli.streams import FORMATS, choose_output, writing_stdout

if TYPE_CHECKING:
    from jobs.query import Answers, Hit, Index
    from jobs.tables import Format

QUERY_BLOCK = 256


@click.command("search")
@click.argument("query", nargs=-1, metavar="[QUERY]...")
@index_option("search")
@click.option("-k", type=click.IntRange(1), default=10, help="Documents a query.")
@click.option("--where", metavar="SQL", help='Only documents for which this holds: "year > 2020".')
@click.option("--sense", metavar="NAME", help="Only documents that use a word in it: bank/2.")
@click.option(
    "--in",
    "in",
    metavar="CONTEXT",
    help='Only the sense that QUERY, a word, has in it: "we sat on the [bank] of the river".',
)
@click.option(
    "--senses/--no-senses",
    default=True,
    help="Look at the senses of the queries' words, in an index that has them.",
)
@click.option("--exact", is_flag=True, help="Look at every passage, whatever it takes.")
@click.option("--explain-plan", is_flag=True, help="Say on stderr how the answer was found.")
@click.option(
    "--fields",
    type=COLUMN_NAMES,
    metavar="COLUMNS",
    help="Metadata to show, separated by commas as in CSV.",
)
@click.option("--queries", metavar="FILE", help="Queries from .parquet, .jsonl, .txt or -.")
@click.option("--column", help="Column or field of --queries that holds the query.")
@click.option("--out", metavar="FILE", help="Write the results here.")
@click.option(
    "--format",
    type=FORMATS,
    help="[default: by the ending of --out, else text]",
)
@query_encoder_options
def search_command(**options: Any) -> None:
    """Find the documents nearest in meaning to each QUERY.

    \b
    embedder search "bank"
    embedder search "river floods" --where "year > 2020" -k 5
    embedder search --sense bank/2
    embedder search --queries questions.parquet --out answers.parquet
    """
    from jobs.find import find_index
    from jobs.query import open_index
    from jobs.results import N_TEXT_FIELDS, write_file
    from jobs.tables import Format

    queries = _queries(options)
    form = choose_output(options, find_index(options["index"]), options["queries"])
    with open_index(options["index"], query_options(options)) as index:
        named = options["fields"]
        fields = index.resolve_fields(named)
        if form is Format.TEXT and named is None:
            fields = fields[:N_TEXT_FIELDS]
        queries = _with_sense(index, queries, options)
        results = _search(index, queries, options, fields, is_text=form is Format.TEXT)
        if options["out"]:
            write_file(results, form, options["out"], index, fields)
        else:
            _write_stdout(results, form, fields, index)


def _write_stdout(
    results: Iterator[list[Hit]], form: Format, fields: list[str], index: Index
) -> None:
    from jobs.results import write_results

    with writing_stdout():
        write_results(results, form, sys.stdout, fields, index)


def _queries(options: dict[str, Any]) -> Iterator[str]:
    from embedder.endings import JSON_LINES_ENDINGS, PARQUET_ENDINGS
    from embedder.errors import RequestError

    given, path = options["query"], options["queries"]
    if options["sense"] and not (given or path):
        given = (options["sense"].partition("/")[0],)
    if bool(given) == bool(path):
        raise RequestError(
            "Queries are given both as arguments and in --queries."
            if path
            else "No query was given.",
            'For example: embedder search "river bank"',
        )
    if options["column"] and not (
        path and path.lower().endswith(PARQUET_ENDINGS + JSON_LINES_ENDINGS)
    ):
        raise RequestError(
            "--column is of a Parquet or JSON lines file of --queries.", "Leave it out."
        )
    if path:
        from jobs.queries import read_queries

        return read_queries(path, options["column"])
    return iter(given)


def _with_sense(index: Index, queries: Iterator[str], options: dict[str, Any]) -> Iterator[str]:
    """The queries; the sense that --in asks for goes into --sense, and so does the word of a sense
    that is asked for by its number."""
    from embedder.errors import RequestError

    if options["in"] is None:
        if options["sense"] and options["sense"].isdecimal():
            words = list(itertools.islice(queries, 2))
            if len(words) == 1:
                options["sense"] = f"{words[0].strip()}/{options['sense']}"
            return itertools.chain(words, queries)
        return queries
    if options["sense"]:
        raise RequestError("--in and --sense both name a sense.", "Leave one of them out.")
    words = list(itertools.islice(queries, 2))
    if len(words) != 1:
        raise RequestError(
            "--in says what one word means, and several queries were given.",
            'For example: embedder search bank --in "we sat on the bank of the river"',
        )
    choice = index.meant(words[0], options["in"])
    click.echo(f"{choice.name} is meant (confidence {choice.confidence:.2f})", err=True)
    options["sense"] = choice.name
    return iter(words)


def _search(
    index: Index,
    queries: Iterator[str],
    options: dict[str, Any],
    fields: list[str],
    *,
    is_text: bool,
) -> Iterator[list[Hit]]:
    n_hits = n_cut = n_queries = 0
    while block := list(itertools.islice(queries, QUERY_BLOCK)):
        n_queries += len(block)
        answers = index.answer_many(
            block,
            options["k"],
            where=options["where"],
            fields=fields,
            exact=options["exact"],
            with_sentences=is_text,
            sense=options["sense"],
            with_senses=options["senses"],
        )
        if options["explain_plan"]:
            _explain(answers, is_text=is_text)
        n_cut += answers.n_cut
        n_hits += sum(map(len, answers.hits))
        yield from answers.hits
    if n_cut:
        limit = index.encoder.encoder.spec.max_tokens
        click.echo(
            f"queries of more than {limit:,} tokens, whose ends were not read: {n_cut:,}", err=True
        )
    if not n_hits:
        why = "the index holds no documents"
        if not n_queries:
            why = f"{options['queries']} holds no queries"
        elif index.manifest.n_documents:
            of_sense = f" and uses {options['sense']}" if options["sense"] else ""
            why = f"no document passes the filter{of_sense}"
        click.echo(f"nothing found: {why}", err=True)


def _explain(answers: Answers, *, is_text: bool) -> None:
    """Plans to stderr: for people a line a step, for programs a line of JSON a block."""
    for plan in answers.plans:
        lines = plan.lines() if is_text else [json.dumps(plan.to_json())]
        for line in lines:
            click.echo(f"plan: {line}" if is_text else line, err=True)
