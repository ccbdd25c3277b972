"""Static vectors of words: time and memory of training, and how well they answer.

Takes a corpus and, where they are to be measured, questions about words and labelled uses of
words. None of them is part of the project; their columns are as `embedder evaluate words --help`
and `embedder evaluate senses --help` say.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from harness import environment, measure, print_machine, print_table, tool

METHODS = ("word2vec", "glove")
SHOWN = ("WS-353-ALL", "SIMLEX-999", "MEN-TR-3k", "all")
"""Data sets and sections of which the table tells: `all` stands for all analogies."""

HEAD = ["", "words", "seconds", "peak MiB", *SHOWN, "macro recall"]
PUBLISHED = ["fastText (Loureiro et al. 2021, 20 words)", *[""] * (len(HEAD) - 2), ".765 to .849"]


def main() -> None:
    """Measure and print."""
    options = _options()
    room = Path(tempfile.mkdtemp(prefix="words-"))
    try:
        rows = [_row(method, room / method, options) for method in METHODS]
    finally:
        shutil.rmtree(room)
    print_table(HEAD, [*rows, PUBLISHED])
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="Parquet to train on")
    parser.add_argument("--questions", nargs="*", default=[], help="pairs of words and analogies")
    parser.add_argument("--train", help="labelled uses to learn senses from")
    parser.add_argument("--test", nargs="*", default=[], help="labelled uses to tell senses of")
    return parser.parse_args()


def _row(method: str, folder: Path, options: argparse.Namespace) -> list[str]:
    asked = ("words", "train", options.corpus, "--method", method, "--out", folder)
    done = measure(tool(*asked, "--format", "json", "-q"), environment())
    trained: dict[str, Any] = done.json()
    scores: dict[str, float] = {}
    if options.questions:
        for one in _json("evaluate", "words", folder, *options.questions, "--format", "json"):
            scores[one["name"]] = one["score"]
    uses = ""
    if options.train and options.test:
        asked = ("static", options.train, *options.test, "--static", folder, "--format", "json")
        uses = f"{_json('evaluate', 'senses', *asked)['summary']['macro_recall']:.3f}"
    shown = [f"{scores[name]:.3f}" if name in scores else "" for name in SHOWN]
    return [
        method,
        f"{trained['n_words']:,}",
        f"{done.seconds:.0f}",
        f"{done.peak_bytes / 2**20:,.0f}",
        *shown,
        uses,
    ]


def _json(*arguments: str | Path) -> Any:
    return json.loads(measure(tool(*arguments), environment()).output)


if __name__ == "__main__":
    main()
