"""A map as one page of HTML that loads nothing and connects to nowhere."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from string import Template
from typing import Any

from jobs.map_points import MapPoints, MapUse
from jobs.map_projection import Plane
from jobs.map_style import style_of
from jobs.page_policy import page_policy

ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
"""What could end a script, or open a comment in one, stands in JSON only inside strings."""


def render_page(points: MapPoints, plane: Plane) -> bytes:
    """The page.

    Args:
        points: what it shows.
        plane: where, shape (n, 2).
    """
    templates = files("jobs") / "templates"
    page, style, script = (
        (templates / name).read_text("utf-8") for name in ("map.html", "map.css", "map.js")
    )
    values = {
        "policy": page_policy(style, script),
        "title": html.escape(f"{points.word} – map of its uses"),
        "style": style,
        "data": embedded_json(_data(points, plane)),
        "script": script,
    }
    return Template(page).substitute(values).encode()


def embedded_json(value: Any) -> str:
    """JSON that is safe between the tags of a script, whatever the texts in it hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(ESCAPES)


def _data(points: MapPoints, plane: Plane) -> dict[str, Any]:
    return {
        "word": points.word,
        "nUses": points.n_uses,
        "senses": [
            {
                "name": sense.name,
                "nUses": sense.n_uses,
                "share": round(sense.share, 6),
                "words": sense.words,
                "light": style_of(place).light,
                "dark": style_of(place).dark,
                "path": style_of(place).path,
            }
            for place, sense in enumerate(points.senses)
        ],
        "uses": [_use(use, x, y) for use, (x, y) in zip(points.uses, plane.tolist(), strict=True)],
    }


def _use(use: MapUse, x: float, y: float) -> dict[str, Any]:
    return {
        "x": round(x, 4),
        "y": round(y, 4),
        "sense": use.sense,
        "confidence": round(use.confidence, 3),
        "before": use.before,
        "word": use.word,
        "after": use.after,
        "document": use.document,
        "metadata": [[name, str(value)] for name, value in use.metadata.items()],
    }
