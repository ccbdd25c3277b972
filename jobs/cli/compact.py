"""`embedder compact`."""

from __future__ import annotations

import json

import click

from jobs.cli.index_option import index_option, named_index
from jobs.cli.threads_option import threads_option


@click.command("compact", short_help="Free the room of deleted documents, merge segments.")
@click.argument("folder", required=False, metavar="[INDEX]")
@index_option("compact")
@threads_option
@click.option("--format", type=click.Choice(["text", "json"]), default="text")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary, only errors.")
def compact_command(
    folder: str | None, index: str | None, threads: int | None, format: str, quiet: bool
) -> None:
    """Free the room of deleted documents and merge small segments."""
    from indexes.layout import Layout
    from jobs.compact import compact_index
    from jobs.figures import bytes_text, plural
    from jobs.progress import show_progress

    layout = Layout(named_index(folder, index))
    with show_progress(quiet=quiet) as progress:
        summary = compact_index(layout, progress, threads=threads)
    if format == "json":
        click.echo(json.dumps(summary.to_json(), indent=1))
    elif not summary.is_changed and not quiet:
        click.echo(f"{summary.index}: nothing to compact.")
    elif not quiet:
        click.echo(
            f"{summary.index}: {summary.n_segments_before:,} segments became "
            f"{summary.n_segments:,}, {plural(summary.n_dropped, 'deleted document')} dropped, "
            f"{bytes_text(summary.bytes_before)} became {bytes_text(summary.bytes)}"
        )
