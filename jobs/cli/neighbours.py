"""`embedder neighbours`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from jobs.cli.encoders import query_encoder_options, query_options
from jobs.cli.index_option import index_option
from jobs.cli.names import COLUMN_NAMES
from jobs.cli.streams import FORMATS, choose_output, writing_stdout

if TYPE_CHECKING:
    from jobs.senses import Senses
    from jobs.tables import Format


@click.command("neighbours", short_help="Show what lies nearest to each sense of a word.")
@click.argument("word")
@index_option("neighbours")
@click.option("--sense", metavar="NAME", help="Only this sense of the word: bank/2.")
@click.option(
    "--in",
    "in",
    metavar="CONTEXT",
    help='Only the sense that the word has in it: "we sat on the [bank] of the river".',
)
@click.option(
    "--occurrences", is_flag=True, help="Uses of the word in the corpus, not senses of others."
)
@click.option(
    "--static",
    metavar="FOLDER",
    help="Nearest words of its one static vector, of embedder words train; needs no index.",
)
@click.option("-k", type=click.IntRange(1), default=10, help="Neighbours of each sense.")
@click.option(
    "--fields",
    type=COLUMN_NAMES,
    metavar="COLUMNS",
    help="Metadata of --occurrences, separated by commas as in CSV.",
)
@click.option("--out", metavar="FILE", help="Write the result here.")
@click.option("--format", type=FORMATS, help="[default: by the ending of --out, else text]")
@query_encoder_options
def neighbours_command(**options: Any) -> None:
    """Show what lies nearest to each sense of a WORD: senses of other words, as `shore/1`.

    \b
    embedder neighbours bank
    embedder neighbours bank/2
    embedder neighbours bank --in "we sat on the bank of the river" --occurrences
    embedder neighbours bank --static word2vec.words
    """
    from embedder.errors import RequestError
    from jobs.find import find_index
    from jobs.tables import write_table

    if options["in"] and options["sense"]:
        raise RequestError("--in and --sense both name a sense.", "Leave one of them out.")
    if options["static"] is not None:
        _write_static(choose_output(options, options["static"]), options)
        return
    form = choose_output(options, find_index(options["index"]))
    with _opened(options) as (senses, row):
        rows, columns, write_text = _answer(senses, row, options, form)
        with writing_stdout():
            write_table(rows, columns, form, options["out"], sys.stdout, write_text)


def _write_static(form: Format, options: dict[str, Any]) -> None:
    from embedder.errors import RequestError
    from jobs.static_neighbours import STATIC_COLUMNS, StaticNeighbours, write_static_neighbours
    from jobs.tables import write_table
    from jobs.word_folder import open_words

    if click.get_current_context().get_parameter_source("index") is ParameterSource.COMMANDLINE:
        raise RequestError("--static needs no index, and --index names one.", "Leave one out.")
    for name in ("sense", "in", "occurrences", "fields"):
        if options[name]:
            raise RequestError(
                f"--static has one vector a word, and --{name} is about senses.",
                "Leave one of them out.",
            )
    found = StaticNeighbours.find(open_words(options["static"]), options["word"], options["k"])
    with writing_stdout():
        write_table(
            found.rows(),
            STATIC_COLUMNS,
            form,
            options["out"],
            sys.stdout,
            lambda stream: write_static_neighbours(found, stream),
        )


@contextlib.contextmanager
def _opened(options: dict[str, Any]) -> Iterator[tuple[Senses, Any]]:
    """The senses, and the vector of the word in its context; the encoder only where needed."""
    if options["in"] is None:
        from jobs.senses import open_senses

        with open_senses(options["index"]) as senses:
            yield senses, None
        return
    from jobs.query import open_index

    with open_index(options["index"], query_options(options)) as index:
        index.senses.find(options["word"])
        yield index.senses, index.use_row(options["word"], options["in"])


def _answer(
    senses: Senses, row: Any, options: dict[str, Any], form: Format
) -> tuple[Any, Any, Any]:
    """Rows, their columns, and what writes them for people."""
    from jobs.neighbours import NEIGHBOUR_COLUMNS, USE_COLUMNS, SenseNeighbours, UseNeighbours
    from jobs.sense_text import write_neighbours, write_uses
    from jobs.tables import Format

    if options["occurrences"]:
        fields = options["fields"] or ()
        uses = UseNeighbours.find(
            senses,
            options["word"],
            options["sense"],
            row,
            options["k"],
            fields=fields,
        )
        is_flat = form in (Format.CSV, Format.PARQUET)
        rows, columns = uses.flat_rows(fields) if is_flat else (uses.rows(), USE_COLUMNS)
        return rows, columns, lambda stream: write_uses(uses, stream)
    found = SenseNeighbours.find(senses, options["word"], options["sense"], row, options["k"])
    return found.rows(), NEIGHBOUR_COLUMNS, lambda stream: write_neighbours(found, stream)
