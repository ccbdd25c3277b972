"""Which index is meant when none is named."""

from __future__ import annotations

import os
from pathlib import Path

from embedder.errors import IndexNotFoundError
from indexes.layout import INDEX_ENDING, Layout

INDEX_VARIABLE = "EMBEDDER_INDEX"


def find_index(named: str | Path | None = None) -> Path:
    """The index to use: the one named, else EMBEDDER_INDEX, else the one in the working folder.

    Raises:
        IndexNotFoundError: none, or several, and then they are listed.
    """
    chosen = named or os.environ.get(INDEX_VARIABLE)
    if chosen:
        return Path(chosen)
    found = sorted(
        path for path in Path().glob(f"*{INDEX_ENDING}") if Layout(path).manifest.exists()
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise IndexNotFoundError(
            f"There is no index ({'*' + INDEX_ENDING}) in {Path().absolute()}.",
            "Name one with --index, or build one with: embedder index SOURCES",
        )
    raise IndexNotFoundError(
        f"There are several indexes here: {', '.join(str(path) for path in found)}.",
        f"Name one, as in: --index {found[0]}",
    )
