"""`embedder map`."""

from __future__ import annotations

from typing import Any

import click

from jobs.cli.index_option import index_option
from jobs.cli.names import COLUMN_NAMES


@click.command("map", short_help="Draw the uses of a word as points, coloured by sense.")
@click.argument("word", metavar="WORD")
@index_option("map")
@click.option("--out", required=True, metavar="FILE", help="Where to write.")
@click.option(
    "--format", type=click.Choice(["html", "png"]), help="[default: by the ending of --out]"
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=5000,
    help="Most uses to show; of more a uniform sample.",
)
@click.option(
    "--fields",
    type=COLUMN_NAMES,
    metavar="COLUMNS",
    help="Metadata to show with a use, separated by commas as in CSV.  [default: the first column]",
)
@click.option("-q", "--quiet", is_flag=True, help="No summary, only errors.")
def map_command(**options: Any) -> None:
    """Draw the uses of WORD as points, coloured by sense, alike uses near each other.

    \b
    html: a page to explore in a browser, complete in one file: point at a use to read its
          sentence, click to keep it, or use the arrow keys.
    png:  a picture.
    """
    from indexes.layout import Layout
    from jobs.figures import bytes_text, plural
    from jobs.find import find_index
    from jobs.word_map import MapFormat, MapOptions, write_map

    form = options["format"]
    asked = MapOptions(
        word=options["word"],
        out=options["out"],
        format=MapFormat(form) if form else None,
        limit=options["limit"],
        fields=options["fields"],
    )
    summary = write_map(Layout(find_index(options["index"])), asked)
    if not options["quiet"]:
        of = "" if summary.n_shown == summary.n_uses else f" of {summary.n_uses:,}"
        click.echo(
            f"{summary.file}: {summary.n_shown:,}{of} uses of {summary.word!r} in "
            f"{plural(summary.n_senses, 'sense')}, {bytes_text(summary.n_bytes)} in "
            f"{summary.seconds:.1f} s"
        )
