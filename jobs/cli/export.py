"""`embedder export`."""

from __future__ import annotations

from typing import Any

import click

from jobs.cli.index_option import index_option, named_index
from jobs.cli.names import COLUMN_NAMES


@click.command("export", short_help="Write vectors and metadata for other tools.")
@click.argument("folder", required=False, metavar="[INDEX]")
@index_option("export")
@click.option("--out", required=True, metavar="FILE", help="Where to write.")
@click.option(
    "--format",
    type=click.Choice(["parquet", "npy"]),
    help="[default: by the ending of --out, else parquet]",
)
@click.option("--where", metavar="SQL", help='Only documents for which this holds: "year > 2020".')
@click.option(
    "--fields",
    type=COLUMN_NAMES,
    metavar="COLUMNS",
    help="Metadata, separated by commas as in CSV.  [default: all]",
)
@click.option("--no-text", is_flag=True, help="Leave out the passages' texts.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary, only errors.")
def export_command(**options: Any) -> None:
    """Write vectors and metadata for other tools, a row a passage, in the order of the corpus.

    \b
    parquet: one file with id, passage (its number in the document, from 0), start, end, text,
             the metadata columns, and vector, a list of float32.
    npy:     FILE.npy with the vectors as float16, for numpy.load with mmap_mode="r", and
             FILE.rows.parquet with the other columns, row for row.

    A metadata column that is named like one of these gets `metadata.` before it.
    """
    from indexes.layout import Layout
    from jobs.export import ExportFormat, ExportOptions, export_index
    from jobs.figures import bytes_text, plural
    from jobs.progress import show_progress

    form = options["format"]
    asked = ExportOptions(
        out=options["out"],
        format=ExportFormat(form) if form else None,
        where=options["where"],
        fields=options["fields"],
        with_text=not options["no_text"],
    )
    layout = Layout(named_index(options["folder"], options["index"]))
    with show_progress(quiet=options["quiet"]) as progress:
        summary = export_index(layout, asked, progress)
    if not options["quiet"]:
        click.echo(
            f"{' and '.join(map(str, summary.files))}: {plural(summary.n_documents, 'document')} "
            f"in {plural(summary.n_passages, 'passage')}, vectors of {summary.width} components, "
            f"{bytes_text(summary.n_bytes)} in {summary.seconds:.1f} s"
        )
