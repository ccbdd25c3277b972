"""`embedder senses`."""

from __future__ import annotations

import sys
from typing import Any

import click
from click.core import ParameterSource

from jobs.cli.index_option import index_option
from jobs.cli.names import COLUMN_NAMES
from jobs.cli.streams import FORMATS, choose_output, writing_stdout


@click.command("senses", short_help="Show the senses of a word, and how they change.")
@click.argument("word", required=False)
@index_option("senses")
@click.option("--list", "list", is_flag=True, help="The words whose uses lie furthest apart.")
@click.option(
    "--diff", metavar="INDEX", help="What rises, falls, is new or gone in another, later index."
)
@click.option(
    "--by", metavar="COLUMN", help="What rises or falls over a metadata column, such as a year."
)
@click.option(
    "-k", type=click.IntRange(1), default=20, help="Most words of --list, or changes of --diff."
)
@click.option(
    "--least", type=click.IntRange(1), default=50, help="Fewest uses of a word for --list."
)
@click.option("--neighbours", type=click.IntRange(0), default=5, help="Nearest senses to show.")
@click.option("--words", type=click.IntRange(0), default=8, help="Typical words to show.")
@click.option("--examples", type=click.IntRange(0), default=2, help="Examples to show.")
@click.option(
    "--fields",
    type=COLUMN_NAMES,
    metavar="COLUMNS",
    help="Metadata of the examples, separated by commas as in CSV.",
)
@click.option("--out", metavar="FILE", help="Write the result here.")
@click.option("--format", type=FORMATS, help="[default: by the ending of --out, else text]")
def senses_command(**options: Any) -> None:
    """Show the senses of a WORD: shares, neighbours, typical words, examples.

    \b
    embedder senses bank
    embedder senses --list
    embedder senses bank --by year
    embedder senses --index 2023.index --diff 2024.index
    """
    from embedder.errors import RequestError
    from jobs.find import find_index
    from jobs.senses import open_senses
    from jobs.tables import write_table

    is_list, word = options["list"], options["word"]
    if is_list and (word or options["diff"] or options["by"]):
        raise RequestError(
            "--list is of all words, and goes with no word, --diff or --by.",
            "Leave one of both out.",
        )
    if options["diff"] and options["by"]:
        raise RequestError("--diff and --by are two questions.", "Ask one at a time.")
    if not (is_list or word or options["diff"] or options["by"]):
        raise RequestError(
            "No word was given.", "For example: embedder senses bank, or embedder senses --list"
        )
    _check_options(options)
    form = choose_output(options, find_index(options["index"]), options["diff"])
    with open_senses(options["index"]) as senses, writing_stdout():
        rows, columns, write_text = _answer(senses, options)
        write_table(rows, columns, form, options["out"], sys.stdout, write_text)


OF_WORD = ("neighbours", "words", "examples", "fields")
OF_LIST = ("k", "least")
"""Options that not every question has."""


def _check_options(options: dict[str, Any]) -> None:
    """Raise RequestError if an option is given that says nothing to the question."""
    from embedder.errors import RequestError

    if options["list"]:
        asked, fitting = "--list", set(OF_LIST)
    elif options["diff"] or options["by"]:
        asked = "--diff" if options["diff"] else "--by"
        fitting = {"k"} if options["diff"] or not options["word"] else set()
    else:
        asked, fitting = "a word", set(OF_WORD)
    context = click.get_current_context()
    for name in (*OF_WORD, *OF_LIST):
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in fitting:
            option = f"-{name}" if name == "k" else f"--{name}"
            raise RequestError(f"{option} says nothing to {asked}.", "Leave it out.")


def _answer(senses: Any, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Rows, their columns, and what writes them for people."""
    word = options["word"]
    if options["list"]:
        from jobs.sense_lists import AMBIGUOUS_COLUMNS, most_ambiguous, write_ambiguous

        found = most_ambiguous(senses, options["k"], least=options["least"])
        return (
            [one.to_json() for one in found],
            AMBIGUOUS_COLUMNS,
            lambda stream: write_ambiguous(found, stream, least=options["least"]),
        )
    if options["diff"] or options["by"]:
        return _changes(senses, options)
    from jobs.sense_text import write_word
    from jobs.senses import SENSE_COLUMNS

    view = senses.describe(
        senses.find(word),
        n_neighbours=options["neighbours"],
        n_words=options["words"],
        n_examples=options["examples"],
        fields=options["fields"] or (),
    )
    return view.rows(), SENSE_COLUMNS, lambda stream: write_word(view, stream)


def _changes(senses: Any, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    from jobs.change_text import write_between, write_over
    from jobs.sense_changes import BY_COLUMNS, DIFF_COLUMNS, changes_between, changes_over
    from jobs.senses import open_senses

    word, k = options["word"], options["k"]
    if options["by"]:
        over = changes_over(senses, options["by"], word, k)
        return over.rows(), BY_COLUMNS, lambda stream: write_over(over, stream)
    with open_senses(options["diff"]) as other:
        between = changes_between(senses, other, word, k)
    rows = [change.to_json() for change in between]
    return rows, DIFF_COLUMNS, lambda stream: write_between(between, stream)
