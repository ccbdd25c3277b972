"""`embedder compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from jobs.cli.index_option import index_option
from jobs.cli.streams import choose_output, writing_stdout

PAGE_ENDINGS = (".html", ".htm")


@click.command("compare", short_help="Set a word's one static vector beside its senses.")
@click.argument("word")
@click.option(
    "--static", required=True, metavar="FOLDER", help="Static vectors, of embedder words train."
)
@index_option("compare", "The index whose senses are shown.")
@click.option("-k", type=click.IntRange(1), default=20, help="Neighbours.")
@click.option("--out", metavar="FILE", help="Write the result here.")
@click.option(
    "--format",
    type=click.Choice(["text", "html", "json", "jsonl", "csv", "parquet"]),
    help="[default: by the ending of --out, else text]",
)
def compare_command(**options: Any) -> None:
    """Set the one static vector of WORD beside its senses: what it mixes up, and what it misses.

    Each neighbour of the static vector gets the sense of WORD whose uses lie nearest to its own.

    \b
    embedder compare bank --static word2vec.words
    embedder compare bank --static word2vec.words --out bank.html
    """
    from jobs.comparison import COMPARISON_COLUMNS, compare_word
    from jobs.comparison_page import render_comparison
    from jobs.comparison_text import write_comparison
    from jobs.find import find_index
    from jobs.senses import open_senses
    from jobs.tables import write_table
    from jobs.word_folder import open_words

    asked, out = options["format"], options["out"]
    is_page = asked == "html" or (
        asked is None and out is not None and Path(out).suffix.lower() in PAGE_ENDINGS
    )
    index, shown = find_index(options["index"]), "text" if is_page else asked
    form = choose_output({"format": shown, "out": out}, options["static"], index)
    words = open_words(options["static"])
    with open_senses(index) as senses:
        found = compare_word(words, senses, options["word"], k=options["k"])

    def write_text(stream: Any) -> None:
        if is_page:
            stream.write(render_comparison(found))
        else:
            write_comparison(found, stream)

    with writing_stdout():
        write_table(found.rows(), COMPARISON_COLUMNS, form, out, sys.stdout, write_text)
