"""`embedder predict`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.names import COLUMN_NAMES
from jobs.cli.streams import writing_stdout
from jobs.cli.threads_option import threads_option
from jobs.cli.training import again

if TYPE_CHECKING:
    from jobs.predict import PredictSummary
    from jobs.predict_estimate import PredictEstimate
    from jobs.predict_plan import PredictOptions

ROLES = {
    "text": "the text",
    "text1": "the first text of a pair",
    "text2": "the second",
    "tokens": "the list of a text's words",
    "question": "the question",
    "context": "the text that holds its answer",
}


def role_options(command: Any) -> Any:
    """An option for each column that some head reads."""
    for role, words in reversed(ROLES.items()):
        command = click.option(f"--{role}", metavar="COLUMN", help=f"Column of {words}.")(command)
    return command


@click.command("predict", short_help="Answer for every row of Parquet text with a head.")
@click.argument("model", metavar="FOLDER")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCES...")
@click.option("--out", required=True, metavar="FILE", help="Where to write.")
@role_options
@click.option(
    "--fields",
    type=COLUMN_NAMES,
    metavar="COLUMNS",
    help="Columns to write beside, separated by commas as in CSV.  [default: all]",
)
@click.option(
    "--format",
    type=click.Choice(["parquet", "jsonl", "csv"]),
    help="[default: by the ending of --out]",
)
@click.option(
    "--probabilities",
    is_flag=True,
    default=None,
    help="With classify: write the probability of each label too.",
)
@click.option(
    "--null-threshold",
    type=float,
    metavar="SCORE",
    help="With answer: the score above which there is one.  [default: as in training]",
)
@click.option(
    "--beams",
    type=click.IntRange(1),
    help="With generate: texts that are followed at once.  [default: as in training]",
)
@click.option("--limit", type=click.IntRange(1), help="Read only the first so many rows.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32")
@click.option(
    "--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.  [default: the best here]"
)
@threads_option
@click.option(
    "--max-batch-tokens",
    type=click.IntRange(1),
    default=4096,
    help="Padded tokens of one forward pass.",
)
@click.option("--restart", is_flag=True, help="Begin anew what an earlier run has begun.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and take; write nothing.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary, only errors.")
def predict_command(**options: Any) -> None:
    """Answer for every row of Parquet SOURCES with the head in FOLDER, as embedder finetune made.

    \b
    classify         label and score of a text
    classify-pairs   the same of two texts
    tag              a tag for each word
    answer           the answer to a question in a text
    generate         a text for a text, such as its summary

    FILE has a row for each row of SOURCES, in order: their columns, then the answer. A row whose
    text is null, empty or blank has a null answer, and is counted. A column that is named like
    one of the answer's gets `metadata.` before it. Run the same command again to go on after an
    interruption; FILE appears when all is done, in place of an older one.
    """
    from jobs.progress import show_progress

    asked, quiet = _options(options), options["quiet"]
    if options["dry_run"]:
        from jobs.predict_estimate import estimate_predict

        found = estimate_predict(asked)
        _say([] if quiet else _estimate_lines(found))
        return
    from jobs.predict import predict_rows

    try:
        with show_progress(quiet=quiet) as progress:
            summary = predict_rows(asked, progress)
    except KeyboardInterrupt:
        click.get_current_context().obj["after"] = again(options)
        raise
    _say([] if quiet else _summary_lines(summary))


def _say(lines: Sequence[str]) -> None:
    with writing_stdout():
        for line in lines:
            print(line, file=sys.stdout)


def _options(options: dict[str, Any]) -> PredictOptions:
    from embedder.heads.protocol import HeadOptions
    from embedder.specs import Precision
    from jobs.predict_plan import SETTINGS, PredictOptions
    from jobs.row_files import RowFormat

    return PredictOptions(
        model=options["model"],
        sources=options["sources"],
        out=options["out"],
        format=RowFormat(options["format"]) if options["format"] else None,
        columns={role: options[role] for role in ROLES if options[role] is not None},
        kept=options["fields"],
        limit=options["limit"],
        head=HeadOptions(
            device=options["device"],
            precision=Precision(options["precision"]),
            threads=options["threads"],
            max_batch_tokens=options["max_batch_tokens"],
            settings={name: options[name] for name in SETTINGS if options[name] is not None},
        ),
        restart=options["restart"],
    )


def _summary_lines(summary: PredictSummary) -> list[str]:
    from jobs.figures import number_lines, plural

    before = f", {summary.n_before:,} of them before" if summary.n_before else ""
    return [
        f"{summary.out}: {plural(summary.n_rows, 'row')}, {summary.n_answered:,} with an answer"
        f"{before}, in {summary.seconds:.1f} s ({summary.rows_per_second:,.0f} rows/s once "
        "the head was open)",
        _reads(summary.columns),
        f"  {summary.task}: {summary.engine}",
        *number_lines(summary.counts),
    ]


def _reads(columns: Mapping[str, str]) -> str:
    return f"  reads: {', '.join(f'{name} as {role}' for role, name in columns.items())}"


def _estimate_lines(estimate: PredictEstimate) -> list[str]:
    from jobs.figures import clock, plural

    before = f", {estimate.n_before:,} of them done already" if estimate.n_before else ""
    return [
        f"{estimate.out}: the sources hold {plural(estimate.n_rows, 'row')}{before}",
        _reads(estimate.columns),
        f"  writes: {', '.join(estimate.written)}",
        f"  {estimate.task}: {estimate.engine}, {estimate.rows_per_second:,.0f} rows/s on a sample"
        + (
            f", of which {estimate.share_unanswered:.1%} can have no answer"
            if estimate.share_unanswered
            else ""
        ),
        f"  to do: about {clock(estimate.seconds)}" if estimate.seconds else "  to do: nothing",
        "Nothing was written.",
    ]
