"""`embedder map`: a word's uses as points in a picture, alike uses near each other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from embedder.errors import RequestError
from indexes.layout import Layout
from jobs.map_page import render_page
from jobs.map_picture import render_picture
from jobs.map_points import read_points
from jobs.map_projection import project_uses
from jobs.output import appearing, check_file_name
from jobs.senses import open_senses


class MapFormat(StrEnum):
    """What is written."""

    HTML = "html"
    """One page that needs nothing else, to explore in a browser."""

    PNG = "png"
    """A picture."""


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """What to draw, and where.

    Args:
        word: the word.
        out: the file.
        format: what to write; None for what the ending of `out` says.
        limit: most uses to show; of more a uniform sample.
        fields: metadata columns to show with a use; the first one by default.
    """

    word: str
    out: str | Path
    format: MapFormat | None = None
    limit: int = 5000
    fields: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class MapSummary:
    """What was drawn.

    Args:
        file: where it is.
        word: the form that was looked up.
        n_shown: uses in the picture.
        n_uses: uses that there are.
        n_senses: senses of the word.
        n_bytes: size of the file.
        seconds: how long it took.
    """

    file: Path
    word: str
    n_shown: int
    n_uses: int
    n_senses: int
    n_bytes: int
    seconds: float


def write_map(layout: Layout, options: MapOptions) -> MapSummary:
    """Draw the uses of a word, coloured by sense; the file appears when it is complete.

    Args:
        layout: the index.
        options: what to draw, and where.

    Raises:
        RequestError: the ending says no format, or metadata are asked for in a picture.
        WordError: the index has no senses of the word.
        IndexNotFoundError: there is no index.
        FilterError: there is no such metadata column.
        OutputError: the file cannot be written.
    """
    started = time.monotonic()
    final, form = _target(layout, options)
    if form is MapFormat.PNG and options.fields is not None:
        raise RequestError("A picture shows no metadata.", "Leave --fields out, or draw a page.")
    with open_senses(layout.root) as senses:
        points = read_points(senses, options.word, limit=options.limit, fields=options.fields)
    render = render_page if form is MapFormat.HTML else render_picture
    content = render(points, project_uses(points.rows, points.centroids))
    with appearing(final) as [file]:
        file.write(content)
    return MapSummary(
        file=final,
        word=points.word,
        n_shown=len(points.uses),
        n_uses=points.n_uses,
        n_senses=len(points.senses),
        n_bytes=len(content),
        seconds=time.monotonic() - started,
    )


def _target(layout: Layout, options: MapOptions) -> tuple[Path, MapFormat]:
    final = check_file_name(options.out, [layout.root])
    if options.format is not None:
        return final, options.format
    endings = {".html": MapFormat.HTML, ".htm": MapFormat.HTML, ".png": MapFormat.PNG}
    form = endings.get(final.suffix.lower())
    if form is None:
        raise RequestError(
            f"{final} has {f'the ending {final.suffix}' if final.suffix else 'no ending'}, and a "
            "map goes to .html or .png.",
            "Choose one with --format, or another ending.",
        )
    return final, form
