"""`embedder distil`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.streams import writing_stdout

if TYPE_CHECKING:
    from jobs.static_distillation import DistilStaticSummary


@click.command("distil")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCES...")
@click.option("--static", is_flag=True, help="One vector a piece, for numpy alone.")
@click.option("--out", required=True, metavar="FOLDER", help="A new folder for the model.")
@click.option("--model", default="default", help="The teacher: a folder or a name.")
@click.option("--text", metavar="COLUMN", help="Column that holds the text.")
@click.option("--limit", type=click.IntRange(1), help="Read only the first so many rows.")
@click.option(
    "--eval",
    "eval",
    metavar="PAIRS.parquet",
    help="Scored pairs (text1, text2, score) by which teacher and student are measured.",
)
@click.option(
    "--width",
    type=click.IntRange(1),
    help="Components of a static vector.  [default: 256, or as many as the teacher has]",
)
@click.option(
    "--smoothing",
    type=click.FloatRange(0, min_open=True),
    help="a of the weights a / (a + p), by a piece's share p of the corpus.  [default: 0.0001]",
)
@click.option(
    "--sample",
    type=click.IntRange(0),
    help="Documents to whose vectors static ones are fitted, 0 for none.  [default: 10000]",
)
@click.option("--seed", type=click.IntRange(0), default=1, help="Of all that is drawn by chance.")
@click.option("--device", help="cpu, cuda or mps.  [default: the best there is]")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: all]")
@click.option("--format", type=click.Choice(["text", "json"]), default="text")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary, only errors.")
def distil_command(**options: Any) -> None:
    """Make a smaller, faster model that gives the text of SOURCES about the vectors of a teacher.

    With --static it is a table: each piece of the vocabulary has one vector, and that of a text is
    their weighted mean. Nothing is trained, and nothing but numpy runs it.
    """
    from jobs.progress import show_progress
    from jobs.static_distillation import DistilStaticOptions, distil_static

    form, quiet = options["format"], options["quiet"]
    given = {
        name: options[name]
        for name in ("width", "smoothing", "sample")
        if options[name] is not None
    }
    asked = DistilStaticOptions(
        sources=options["sources"],
        out=options["out"],
        model=options["model"],
        text=options["text"],
        limit=options["limit"],
        dev=options["eval"],
        seed=options["seed"],
        device=options["device"],
        threads=options["threads"],
        **given,
    )
    with show_progress(quiet=quiet) as progress:
        summary = distil_static(asked, progress)
    with writing_stdout():
        if form == "json":
            print(json.dumps(summary.to_json(), ensure_ascii=False), file=sys.stdout)
        elif not quiet:
            print(*_static_lines(summary), sep="\n", file=sys.stdout)


def _static_lines(summary: DistilStaticSummary) -> list[str]:
    from jobs.cli.words import bytes_text, clock, number_lines, plural

    lines = [
        f"{summary.folder}: a static model of {summary.model}, {plural(summary.n_pieces, 'piece')}"
        f" of {summary.width} components, {bytes_text(summary.n_bytes)} in "
        f"{clock(summary.seconds)}",
        f"  weights from {plural(summary.n_tokens, 'token')} in "
        f"{plural(summary.n_documents, 'document')}, fitted to "
        f"{plural(summary.n_fitted, 'text')}",
    ]
    names = {
        "agreement": "order of cosines of held-out texts, Spearman with the teacher's",
        "spearman": "scored pairs, Spearman",
        "teacher_spearman": "the teacher's",
    }
    lines += [f"  {names[name]}: {value:.4f}" for name, value in summary.measures.items()]
    return [
        *lines,
        *number_lines(summary.counts),
        "Next:",
        f"  embedder index corpus.parquet --model {summary.folder}",
    ]
