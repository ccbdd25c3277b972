"""`embedder index`."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.encoders import ENGINE, ENGINES, MODEL, PRECISION
from jobs.cli.names import COLUMN_NAMES
from jobs.cli.sizes import MEMORY
from jobs.cli.threads_option import threads_option

if TYPE_CHECKING:
    from jobs.estimate import Estimate
    from jobs.plan import BuildOptions
    from jobs.summary import BuildSummary


@click.command("index", short_help="Embed Parquet text into an index, or bring it up to date.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCES...")
@click.option("--out", metavar="FOLDER", help="The index.  [default: <stem>.index]")
@click.option("--text", metavar="COLUMN", help="Column that holds the text.")
@click.option("--id", metavar="COLUMN", help="Column that identifies a document.")
@click.option(
    "--metadata",
    type=COLUMN_NAMES,
    metavar="COLUMNS",
    help="Columns to keep for filters and results, separated by commas as in CSV; '' for none."
    "  [default: all others]",
)
@click.option("--model", help=f"{MODEL}  [default: as built, or default]")
@click.option("--engine", type=ENGINES, default="auto", help=ENGINE)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "int8"]),
    default="auto",
    help=f"{PRECISION} int8 is calibrated on the corpus's own texts.",
)
@click.option(
    "--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.  [default: the best here]"
)
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "max", "weighted"]),
    help="How token states become one vector.  [default: as the model folder says]",
)
@click.option("--layers", type=click.IntRange(1), help="Average so many last layers.  [default: 1]")
@click.option("--query-prompt", help="Text before each query.  [default: the model's]")
@click.option("--passage-prompt", help="Text before each passage.  [default: the model's]")
@click.option(
    "--overflow",
    type=click.Choice(["window", "truncate", "error"]),
    help="What to do with a document longer than the window.  [default: window]",
)
@click.option("--window", type=click.IntRange(4), help="Window in tokens.  [default: the model's]")
@click.option(
    "--stride",
    type=click.IntRange(1),
    help="Tokens from window to window.  [default: 7/8 of the window]",
)
@click.option(
    "--add",
    is_flag=True,
    help="Keep documents that SOURCES do not hold; one with the id of a new document is replaced.",
)
@click.option(
    "--undelete",
    is_flag=True,
    help="Bring back what embedder delete has removed and SOURCES hold.",
)
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    help="Least recall@10 of the FAISS structure.  [default: as built, or 0.95]",
)
@click.option(
    "--memory",
    type=MEMORY,
    metavar="SIZE",
    help="Most memory to build and search it, as 4G or 500M.  [default: as built, or 4G]",
)
@click.option(
    "--structure",
    type=click.Choice(
        ["auto", "flat", "sq8", "hnsw", "ivf-fp16", "ivf-sq8", "ivf-pq", "ivf-rabitq"]
    ),
    help="Kind of FAISS structure over more than 2,000 passages; fewer are scanned."
    "  [default: as built, or auto]",
)
@click.option(
    "--senses/--no-senses",
    default=None,
    help="Keep the uses of words, for their senses.  [default: as built, or --senses]",
)
@click.option(
    "--most-uses",
    type=click.IntRange(1),
    metavar="N",
    help="Most uses of one word that are kept, a uniform sample.  [default: as built, or 10000]",
)
@click.option("--limit", type=click.IntRange(1), help="Index only the first so many rows.")
@click.option(
    "--max-batch-tokens",
    type=click.IntRange(1),
    default=4096,
    help="Padded tokens of one forward pass.",
)
@threads_option
@click.option("--dry-run", is_flag=True, help="Say what would be done and cost; write nothing.")
@click.option("--format", type=click.Choice(["text", "json"]), default="text")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary, only errors.")
def index_command(**options: Any) -> None:
    """Embed the text of Parquet SOURCES into an index, or bring it up to date.

    SOURCES are files, folders, globs, hive-partitioned folders or URLs. Run the same command
    again to resume after an interruption or to follow changed sources: what is done already is
    not done again, and what the sources no longer hold is removed, or stays with --add.
    """
    from jobs.progress import show_progress

    dry_run, form, quiet = options["dry_run"], options["format"], options["quiet"]
    if quiet:
        logging.getLogger().setLevel(logging.ERROR)
        for package in ("embedder", "indexes", "jobs"):
            logging.getLogger(package).setLevel(logging.ERROR)
    asked = _build_options(options)
    if dry_run:
        from jobs.estimate import estimate_build

        estimate = estimate_build(asked)
        if not (quiet and form == "text"):
            _print(estimate.to_json(), form, _estimate_lines(estimate, keeps_gone=options["add"]))
        return
    from jobs.build import build_index

    try:
        with show_progress(quiet=quiet) as progress:
            summary = build_index(asked, progress)
    except KeyboardInterrupt:
        click.get_current_context().obj["after"] = (
            "What was committed is kept; run the same command to go on."
        )
        raise
    if form == "json":
        _print(summary.to_json(), form, [])
    elif not quiet:
        for line in _summary_lines(summary):
            click.echo(line)


def _build_options(options: dict[str, Any]) -> BuildOptions:
    from embedder.columns import ColumnRequest
    from embedder.encoders import EncoderOptions
    from embedder.specs import Engine, Overflow, Pooling, Precision
    from indexes.manifest import StructureKind
    from jobs.plan import BuildOptions

    engine, precision = options["engine"], options["precision"]
    return BuildOptions(
        sources=options["sources"],
        out=options["out"],
        columns=ColumnRequest(text=options["text"], id=options["id"], metadata=options["metadata"]),
        encoder=EncoderOptions(
            model=options["model"],
            engine=None if engine == "auto" else Engine(engine),
            precision=None if precision == "auto" else Precision(precision),
            device=options["device"],
            threads=options["threads"],
            pooling=Pooling(options["pooling"]) if options["pooling"] else None,
            layers=options["layers"],
            max_tokens=options["window"],
            query_prompt=options["query_prompt"],
            passage_prompt=options["passage_prompt"],
            max_batch_tokens=options["max_batch_tokens"],
        ),
        overflow=Overflow(options["overflow"]) if options["overflow"] else None,
        stride=options["stride"],
        limit=options["limit"],
        add=options["add"],
        undelete=options["undelete"],
        recall=options["recall"],
        memory=options["memory"],
        structure=StructureKind(options["structure"]) if options["structure"] else None,
        senses=options["senses"],
        most_uses=options["most_uses"],
    )


def _print(values: dict[str, Any], form: str, lines: list[str]) -> None:
    if form == "json":
        click.echo(json.dumps(values, indent=1, ensure_ascii=False))
    else:
        for line in lines:
            click.echo(line)


def _summary_lines(summary: BuildSummary) -> list[str]:
    from jobs.figures import number_lines, plural

    index = f"{summary.index}: {plural(summary.n_documents, 'document')}"
    if summary.n_passages != summary.n_documents:
        index += f" in {plural(summary.n_passages, 'passage')}"
    if summary.structures:
        recall = "exact" if summary.is_exact else f"recall@10 {summary.recall:.3f}"
        index += f", {' + '.join(summary.structures)} ({recall})"
    if summary.is_up_to_date:
        return [f"{index}. Up to date."]
    seconds = max(summary.seconds, 1e-9)
    lines = [
        index,
        f"  added {plural(summary.n_added, 'document')}"
        + (f", removed {summary.n_removed:,}" if summary.n_removed else "")
        + (f", wrote {summary.n_written:,}" if summary.n_written != summary.n_added else "")
        + f" in {summary.seconds:.1f} s ({summary.n_written / seconds:,.0f} documents/s, "
        f"{summary.n_tokens / seconds:,.0f} tokens/s, {summary.padding_share:.0%} padding)",
        f"  encoder: {summary.engine}",
    ]
    if summary.n_words:
        lines.append(
            f"  senses: {plural(summary.n_senses, 'sense')} of {plural(summary.n_words, 'word')}"
        )
    if summary.n_reused:
        lines.append(f"  {plural(summary.n_reused, 'passage')} had a text with a vector already")
    counts = dict(summary.counts)
    counts |= {"deleted, until the index is compacted": summary.n_deleted}
    counts |= {"duplicate id": summary.n_duplicate_ids}
    counts |= {"cut into several passages": summary.n_windowed, "truncated": summary.n_truncated}
    return lines + number_lines(counts)


def _to_encode(estimate: Estimate) -> str:
    from jobs.figures import plural

    rows = plural(estimate.n_rows_missing, "row")
    if not estimate.share_known:
        return rows
    n_new = round(estimate.n_rows_missing * (1 - estimate.share_known))
    return f"about {n_new:,} of {rows} to read, for the others' texts have vectors"


def _estimate_lines(estimate: Estimate, *, keeps_gone: bool) -> list[str]:
    from jobs.figures import bytes_text, clock, plural

    identity = estimate.id or "made from file and row"
    return [
        f"{estimate.index}: the sources hold {plural(estimate.n_documents, 'row')}, in about "
        f"{estimate.n_passages:,} passages, {estimate.n_tokens:,} tokens",
        f"  columns: text {estimate.text}, id {identity}, metadata "
        f"{', '.join(estimate.metadata) or 'none'}",
        f"  longer than the window: {estimate.share_windowed:.1%} cut into several passages, "
        f"{estimate.share_truncated:.1%} truncated",
        f"  encoder: {estimate.engine}, {estimate.tokens_per_second:,.0f} tokens/s on a sample",
        *(
            [
                f"  not in these sources: {plural(estimate.n_gone, 'document')}, which stay unless "
                "one with their id comes"
                if keeps_gone
                else f"  in row groups that have changed or are gone: "
                f"{plural(estimate.n_gone, 'document')}, of which those that are as they were stay"
            ]
            if estimate.n_gone
            else []
        ),
        f"  to encode: {_to_encode(estimate)}, about {clock(estimate.seconds)}"
        if estimate.n_rows_missing and estimate.share_known < 1
        else "  to encode: nothing",
        f"  disk: about {bytes_text(estimate.disk_bytes)}, FAISS structure {estimate.structure}",
        f"  memory: about {bytes_text(estimate.memory_bytes)}",
        "Nothing was written.",
    ]
