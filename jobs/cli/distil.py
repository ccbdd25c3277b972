"""`embedder distil`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from jobs.cli.streams import writing_stdout
from jobs.cli.training import (
    check_out,
    read_training_options,
    run_training,
    training_options,
)

if TYPE_CHECKING:
    from jobs.layer_distillation import DistilLayersOptions
    from jobs.static_distillation import DistilStaticOptions, DistilStaticSummary

SHARED = ("sources", "out", "model", "text", "limit", "eval", "seed", "device", "threads")
SHARED_FLAGS = ("static", "layers", "format", "quiet")
OF_STATIC = ("width", "smoothing", "sample")


@click.command("distil", short_help="Make a smaller, faster model from a teacher.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCES...")
@click.option("--static", is_flag=True, help="A table of one vector a piece, for numpy alone.")
@click.option("--layers", type=click.IntRange(1), help="A network with so many layers.")
@click.option("--out", required=True, metavar="FOLDER", help="A new folder for the model.")
@click.option("--model", default="default", help="The teacher: a folder or a name.")
@click.option(
    "--text",
    metavar="COLUMN",
    multiple=True,
    help="Column that holds text; may be given several times.",
)
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
    help="Static: components of a vector.  [default: 256, or as many as the teacher has]",
)
@click.option(
    "--smoothing",
    type=click.FloatRange(0, min_open=True),
    default=1e-4,
    help="Static: a of the weights a / (a + p), by a piece's share p of the corpus.",
)
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=10_000,
    help="Static: documents to whose vectors the table is fitted, 0 for none.",
)
@click.option(
    "--length",
    type=click.IntRange(16),
    help="Layers: most pieces of a text that is trained on.  [default: 128, or the window]",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.02,
    help="Layers: share of the documents that is kept to measure on.",
)
@click.option(
    "--objective",
    type=click.Choice(["sentence", "mlm"]),
    default="sentence",
    help="Layers: give the teacher's vectors of texts, or its scores of masked pieces.",
)
@training_options(epochs=3, batch=32, learning_rate=1e-4)
def distil_command(**options: Any) -> None:
    """Make a smaller, faster model that gives the text of SOURCES about the vectors of a teacher.

    With --static it is a table: each piece of the vocabulary has one vector, and that of a text is
    their weighted mean. It is made in minutes, and nothing but numpy runs it. With --layers it is
    a network with some of the teacher's layers, trained to give the teacher's vectors, or with
    --objective mlm its scores of masked pieces; the options of training are for it alone.
    """
    _check_kind(options)
    if options["static"]:
        _run_static(options)
    else:
        _run_layers(options)


def _check_kind(options: dict[str, Any]) -> None:
    """Raise RequestError unless one kind of student is asked for, with its own options alone."""
    from embedder.errors import RequestError

    if options["static"] == (options["layers"] is not None):
        found = "both" if options["static"] else "neither"
        raise RequestError(
            f"A student is a table or a network with fewer layers, and {found} was asked for.",
            "Give --static or --layers N.",
        )
    context = click.get_current_context()
    for name in options:
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        is_fitting = name not in OF_STATIC
        if options["static"]:
            is_fitting = name in (*SHARED, *SHARED_FLAGS, *OF_STATIC)
        if given and not is_fitting:
            kind, other = ("static", "layers N") if options["static"] else ("layers", "static")
            raise RequestError(
                f"--{name.replace('_', '-')} says nothing to --{kind}; it is for --{other}.",
                "Leave it out.",
            )


def _run_static(options: dict[str, Any]) -> None:
    from jobs.progress import show_progress
    from jobs.static_distillation import distil_static

    with show_progress(quiet=options["quiet"]) as progress:
        summary = distil_static(_static_options(options), progress)
    with writing_stdout():
        if options["format"] == "json":
            print(json.dumps(summary.to_json(), ensure_ascii=False), file=sys.stdout)
        elif not options["quiet"]:
            print(*_static_lines(summary), sep="\n", file=sys.stdout)


def _static_options(options: dict[str, Any]) -> DistilStaticOptions:
    from jobs.static_distillation import DistilStaticOptions

    values = {name: options[name] for name in (*SHARED, *OF_STATIC) if name != "eval"}
    return DistilStaticOptions(**values, dev=options["eval"])


def _static_lines(summary: DistilStaticSummary) -> list[str]:
    from jobs.figures import bytes_text, clock, number_lines, plural

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


def _run_layers(options: dict[str, Any]) -> None:
    """Train as the options say."""
    check_out(options)
    from jobs.layer_distillation import USAGE, distil_layers, estimate_distil_layers

    asked = _layer_options(options)
    run_training(
        options,
        USAGE.format(out=options["out"]),
        lambda progress: distil_layers(asked, progress),
        lambda progress: estimate_distil_layers(asked, progress),
    )


def _layer_options(options: dict[str, Any]) -> DistilLayersOptions:
    from dataclasses import fields

    from embedder.training.distillation.options import DistillationOptions, Objective
    from jobs.layer_distillation import DistilLayersOptions

    names = [field.name for field in fields(DistillationOptions)]
    options = {**options, "objective": Objective(options["objective"])}
    return DistilLayersOptions(
        sources=options["sources"],
        out=options["out"],
        distillation=DistillationOptions(**{n: options[n] for n in names if n in options}),
        text=options["text"],
        limit=options["limit"],
        dev=options["eval"],
        training=read_training_options(options),
        restart=options["restart"],
    )
