"""The command line. Heavy imports happen inside the commands, so `--help` is instant."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from jobs.cli.blend import blend_command
from jobs.cli.compact import compact_command
from jobs.cli.compare import compare_command
from jobs.cli.delete import delete_command
from jobs.cli.disambiguate import disambiguate_command
from jobs.cli.distil import distil_command
from jobs.cli.evaluate import evaluate_group, evaluate_senses_group, evaluate_words_command
from jobs.cli.evaluate_answers import evaluate_answer_command, evaluate_generate_command
from jobs.cli.evaluate_heads import (
    evaluate_classify_command,
    evaluate_classify_pairs_command,
    evaluate_tag_command,
)
from jobs.cli.evaluate_retrieval import evaluate_retrieval_command
from jobs.cli.evaluate_similarity import evaluate_similarity_command
from jobs.cli.export import export_command
from jobs.cli.finetune import finetune_group, finetune_similarity_command
from jobs.cli.finetune_answers import finetune_answer_command, finetune_generate_command
from jobs.cli.finetune_encoders import (
    finetune_retrieval_command,
    finetune_senses_command,
    finetune_senses_unsupervised_command,
)
from jobs.cli.finetune_heads import (
    finetune_classify_command,
    finetune_classify_pairs_command,
    finetune_tag_command,
)
from jobs.cli.index import index_command
from jobs.cli.info import info_command
from jobs.cli.map import map_command
from jobs.cli.neighbours import neighbours_command
from jobs.cli.predict import predict_command
from jobs.cli.pretrain import adapt_command, pretrain_command
from jobs.cli.search import search_command
from jobs.cli.sections import SectionedGroup
from jobs.cli.senses import senses_command
from jobs.cli.verify import verify_command
from jobs.cli.word_vectors import words_group

INTERRUPTED = 130


@click.group(
    cls=SectionedGroup,
    context_settings={
        "auto_envvar_prefix": "EMBEDDER",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(package_name="embedder")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.pass_obj
def cli(settings: dict[str, Any], traceback: bool) -> None:
    """Search Parquet text by meaning: a BERT encoder, a FAISS index, no network.

    \b
    embedder index corpus.parquet
    embedder search "bank"

    Every option can be set in the environment too, as EMBEDDER_<COMMAND>_<OPTION>.
    """
    settings["traceback"] = traceback


cli.set_sections(
    ("Index and search", [index_command, search_command, info_command]),
    ("Senses of words", [senses_command, neighbours_command, map_command, disambiguate_command]),
    ("Keep an index", [delete_command, compact_command, verify_command, export_command]),
    (
        "Train",
        [
            finetune_group,
            predict_command,
            evaluate_group,
            pretrain_command,
            distil_command,
            blend_command,
        ],
    ),
    ("What came before", [words_group, compare_command]),
)
evaluate_group.set_sections(
    (
        "Encoders",
        [evaluate_retrieval_command, evaluate_similarity_command, evaluate_senses_group],
    ),
    (
        "Heads",
        [
            evaluate_classify_command,
            evaluate_classify_pairs_command,
            evaluate_tag_command,
            evaluate_answer_command,
            evaluate_generate_command,
        ],
    ),
    ("Static vectors", [evaluate_words_command]),
)
finetune_group.set_sections(
    (
        "Encoders, for embedder index --model",
        [
            finetune_retrieval_command,
            finetune_similarity_command,
            finetune_senses_command,
            finetune_senses_unsupervised_command,
            adapt_command,
        ],
    ),
    (
        "Heads, for embedder predict",
        [
            finetune_classify_command,
            finetune_classify_pairs_command,
            finetune_tag_command,
            finetune_answer_command,
            finetune_generate_command,
        ],
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 130 interrupted."""
    arguments = [_as_utf8(a) for a in (sys.argv[1:] if arguments is None else arguments)]
    # Threads of OpenMP that wait for one another sleep. They would spin, which is as fast alone,
    # and takes several times as long where other work wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # texts are, whatever the locale says
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    for package in ("embedder", "indexes", "jobs"):
        logging.getLogger(package).setLevel(logging.INFO)
    sys.exit(_run(arguments))


def _as_utf8(argument: str) -> str:
    """An argument as the user typed it, whatever the locale made of it."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument  # a file name may be any bytes


def _run(arguments: list[str]) -> int:
    from embedder.errors import EmbedderError

    settings: dict[str, Any] = {}
    try:
        cli.main(args=arguments, prog_name="embedder", standalone_mode=False, obj=settings)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"Interrupted. {settings.get('after', '')}".strip(), err=True)
        return INTERRUPTED
    except EmbedderError as error:
        if settings.get("traceback"):
            raise
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    return 0
