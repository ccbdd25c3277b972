"""`embedder delete`."""

from __future__ import annotations

import json
from typing import Any

import click

from jobs.cli.index_option import index_option, named_index


@click.command("delete")
@click.argument("folder", required=False, metavar="[INDEX]")
@index_option("delete")
@click.option("--ids", metavar="FILE", help="Ids from .parquet, .jsonl, .txt or -.")
@click.option("--column", help="Column or field of --ids that holds the id.  [default: id]")
@click.option("--where", metavar="SQL", help='Documents for which this holds: "year < 2000".')
@click.option("--dry-run", is_flag=True, help="Say how many would go, and delete nothing.")
@click.option("--format", type=click.Choice(["text", "json"]), default="text")
def delete_command(**options: Any) -> None:
    """Delete documents by their ids or by a filter.

    They are gone from every search at once. Their room on disk is freed by `embedder compact`.
    They stay deleted although the sources still hold them, until they change there or
    `embedder index --undelete` brings them back.
    """
    from embedder.errors import RequestError
    from indexes.layout import Layout
    from jobs.delete import delete_ids, delete_where
    from jobs.figures import plural
    from jobs.ids import read_ids

    if (options["ids"] is None) == (options["where"] is None):
        raise RequestError(
            "Say what to delete: either --ids FILE or --where SQL.",
            'For example: embedder delete --where "year < 2000"',
        )
    layout = Layout(named_index(options["folder"], options["index"]))
    if options["where"] is not None:
        summary = delete_where(layout, options["where"], is_dry_run=options["dry_run"])
    else:
        ids = read_ids(options["ids"], options["column"])
        summary = delete_ids(layout, ids, is_dry_run=options["dry_run"])
    if options["format"] == "json":
        click.echo(json.dumps(summary.to_json(), indent=1))
        return
    n_left = plural(summary.n_documents, "document")
    done = "would delete" if summary.is_dry_run else "deleted"
    click.echo(f"{summary.index}: {done} {summary.n_deleted:,}, {n_left} left")
    if summary.n_unknown:
        click.echo(f"  not in the index: {plural(summary.n_unknown, 'id')}")
