"""`embedder blend`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from jobs.cli.streams import writing_stdout


@click.command("blend", short_help="Mix a trained model with the one it started from.")
@click.argument("model", metavar="MODEL")
@click.argument("other", metavar="OTHER")
@click.option("--out", required=True, metavar="FOLDER", help="A new folder for the model.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    default=0.5,
    help="Of OTHER's weights in the result.",
)
@click.option("--format", type=click.Choice(["text", "json"]), default="text")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def blend_command(**options: Any) -> None:
    """Write the encoder whose weights lie between those of MODEL and OTHER.

    One that was trained for a task forgets some of what it could do before. Half way between it and
    the model that it was trained from is one that has most of what was learnt, and often more of
    what was known:

    \b
    embedder finetune retrieval pairs.parquet --out tuned.model
    embedder blend default tuned.model --out both.model

    Measure it by embedder evaluate before it is used. A head that a folder has is left out.
    """
    from jobs.blending import BlendOptions, blend
    from jobs.progress import show_progress

    asked = {name: options[name] for name in ("model", "other", "out", "share")}
    with show_progress(quiet=options["quiet"]) as progress:
        made = blend(BlendOptions(**asked), progress)
    with writing_stdout():
        if options["format"] == "json":
            print(json.dumps({**asked, "out": str(made)}, ensure_ascii=False), file=sys.stdout)
        elif not options["quiet"]:
            one, other, share = asked["model"], asked["other"], asked["share"]
            print(
                f"{made}: {1 - share:g} of {one} and {share:g} of {other}. Next:",
                f"  embedder index corpus.parquet --model {made}",
                sep="\n",
                file=sys.stdout,
            )
