"""A map as a picture."""

from __future__ import annotations

import io
from textwrap import wrap

import numpy as np

from jobs.map_points import MapPoints
from jobs.map_projection import Plane
from jobs.map_style import PAPER, style_of

INK, FAINT = "#1d1f24", "#5c6068"

SIZES = {"^": 1.3, "v": 1.3, "D": 0.85, "P": 1.7, "*": 2.6, "X": 1.7}
"""Areas of markers that look as large as a circle of area 1."""


def render_picture(points: MapPoints, plane: Plane) -> bytes:
    """The picture, as PNG.

    Args:
        points: what it shows.
        plane: where, shape (n, 2).
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Other settings of the user's would change the picture.
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = Figure(figsize=(9, 6.4), dpi=160, facecolor=PAPER[0])
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.03, 0.04, 0.68, 0.82))
        axes.set_axis_off()
        axes.set_aspect("equal")
        axes.invert_yaxis()  # as on a screen
        senses = np.array([use.sense for use in points.uses])
        size = float(np.clip(60 / np.log10(len(senses) + 9), 8, 40))
        for place, sense in enumerate(points.senses):
            own, style = plane[senses == place], style_of(place)
            lines = [f"{sense.name}   {sense.share:.0%}", *wrap(", ".join(sense.words), 26)]
            axes.scatter(
                own[:, 0],
                own[:, 1],
                s=size * SIZES.get(style.marker, 1.0),
                c=style.light,
                marker=style.marker,
                label="\n".join(lines),
                linewidths=0.5,
                edgecolors=PAPER[0],
                zorder=2 + place / 100,
            )
        figure.text(0.04, 0.95, points.word, size=19, color=INK, family="serif", va="top")
        figure.text(0.04, 0.885, _caption(points), size=9, color=FAINT, va="top")
        figure.legend(
            loc="upper left",
            bbox_to_anchor=(0.73, 0.86),
            frameon=False,
            fontsize=9,
            labelcolor=INK,
            labelspacing=0.9,
            markerscale=1.5,
        )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": "embedder"})
    return buffer.getvalue()


def _caption(points: MapPoints) -> str:
    shown, every = len(points.uses), points.n_uses
    count = f"{every:,}" if shown == every else f"{shown:,} of {every:,}"
    return f"{count} uses; alike uses lie near each other"
