"""`embedder verify`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from jobs.cli.index_option import index_option, named_index

if TYPE_CHECKING:
    from embedder.errors import EmbedderError
    from indexes.problems import Problem
    from indexes.recall import MeasuredRecall
    from jobs.verify import Report


@click.command("verify", short_help="Read an index from end to end, and say what is wrong.")
@click.argument("folder", required=False, metavar="[INDEX]")
@index_option("verify")
@click.option(
    "--recall", is_flag=True, help="Measure recall@10 anew too, and compare it with the contract."
)
@click.option("--format", type=click.Choice(["text", "json"]), default="text")
@click.option("-q", "--quiet", is_flag=True, help="No progress, and nothing about a whole index.")
def verify_command(
    folder: str | None, index: str | None, recall: bool, format: str, quiet: bool
) -> None:
    """Read an index from end to end and say all that is wrong with it.

    Files are compared with their digests, and what they hold with each other: texts, passages,
    vectors, deletions, ids, FAISS structures, uses of words and their senses. Exit code 0: whole;
    1: damaged, or the recall measured is below the contract.
    """
    from indexes.layout import Layout
    from jobs.progress import show_progress
    from jobs.verify import verify_index

    layout = Layout(named_index(folder, index))
    with show_progress(quiet=quiet) as progress:
        report = verify_index(layout, progress, with_recall=recall)
    error = _error(report)
    if format == "json":
        click.echo(json.dumps(report.to_json(), indent=1, ensure_ascii=False))
    elif error is not None or not quiet:
        for line in _lines(report):
            click.echo(line)
    if error is not None:
        raise error


def _lines(report: Report) -> Iterator[str]:
    from jobs.figures import bytes_text, plural

    for problem in report.problems:
        yield problem.message
    for leftover in report.leftovers:
        kind = "no part of the index"
        if leftover.is_removed:
            kind = "left over, or being written now; embedder index removes what is left over"
        yield f"{leftover.file}: {kind}"
    if not report.is_finished:
        yield f"{report.index}: a run has not finished; run embedder index again"
    yield (
        f"{report.index}: {'whole' if report.is_whole else 'damaged'}, "
        f"{plural(report.n_files, 'file')} of {bytes_text(report.n_bytes)} read in "
        f"{report.seconds:.1f} s: {plural(report.n_documents, 'document')}, "
        f"{plural(report.n_passages, 'passage')}, {plural(report.n_segments, 'segment')}, "
        f"{plural(report.n_vectors, 'vector')} in FAISS"
        + (f", {plural(report.n_occurrences, 'use')} of words" if report.n_occurrences else "")
    )
    if report.recall is not None:
        yield f"  {_recall_line(report.recall)}"


def _recall_line(found: MeasuredRecall) -> str:
    return (
        f"recall@10 {found.recall:.3f} ± {found.error:.3f} on {found.n_queries:,} passages; "
        f"recorded {found.recorded:.3f}, contract {found.contract:g}; "
        f"{found.latency_ms:.2f} ms a search (median)"
    )


def _advice(problems: Sequence[Problem]) -> str:
    """What repairs all: the most thorough of what the problems ask for."""
    from indexes.problems import REBUILD, RESTORE

    repairs = list(dict.fromkeys(problem.repair for problem in problems))
    thorough = [repair for repair in repairs if repair.startswith(REBUILD)][:1]
    return " ".join(thorough or [r for r in repairs if r != RESTORE] or [RESTORE])


def _error(report: Report) -> EmbedderError | None:
    """What makes the command fail."""
    from embedder.errors import EmbedderError, IndexFormatError
    from jobs.figures import plural

    if report.problems:
        found = plural(len(report.problems), "problem")
        return IndexFormatError(f"{report.index} is damaged: {found}.", _advice(report.problems))
    recall = report.recall
    if recall is not None and not recall.is_kept:
        return EmbedderError(
            f"{report.index} does not keep its contract: recall@10 is {recall.recall:.3f}, and "
            f"{recall.contract:g} was asked for.",
            "Remove its folder ann and run embedder index again.",
        )
    return None
