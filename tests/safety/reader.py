"""A process that searches an index again and again while others write it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from contents import Answer, ask

from embedder.errors import IndexNotFoundError
from indexes.layout import Layout
from indexes.lock import hold_open
from indexes.manifest_file import read_manifest
from indexes.searcher import Searcher
from jobs.query import open_index

FULL_EVERY = 5


def search_until(arguments: Sequence[str]) -> None:
    """Search the index of the first argument until there is a file named by the second.

    Prints a JSON object: how often it searched, and every answer that it got. An error that is
    not "there is no index" ends the process.
    """
    layout, ends = Layout(Path(arguments[0])), Path(arguments[1])
    answers: list[Answer] = []
    n_missing = n_searches = 0
    while not ends.exists():
        try:
            found = _search_with_model(layout) if n_searches % FULL_EVERY == 0 else _search(layout)
        except IndexNotFoundError:
            n_missing += 1
            continue
        n_searches += 1
        if not any(found.is_like(answer) for answer in answers):
            answers.append(found)
    shown = [answer.to_json() for answer in answers]
    json.dump({"n_searches": n_searches, "n_missing": n_missing, "answers": shown}, sys.stdout)


def _search(layout: Layout) -> Answer:
    with hold_open(layout.readers):
        manifest = read_manifest(layout).finished()
        searcher = Searcher(layout, manifest)
        try:
            return ask(searcher, manifest)
        finally:
            searcher.close()


def _search_with_model(layout: Layout) -> Answer:
    """As the command line opens an index; asked the same questions all the same."""
    with open_index(layout.root) as index:
        assert len(index.search("river", 1)) == min(1, index.manifest.n_documents)
        return ask(index.searcher, index.manifest)
