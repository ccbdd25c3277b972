"""A map as one page of HTML that loads nothing and connects to nowhere."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from string import Template
from typing import Any

from jobs.map_points import MapPoints, MapUse
from jobs.map_projection import Plane
from jobs.map_style import style_of

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
        "policy": _policy(style, script),
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


def _policy(style: str, script: str) -> str:
    """Our own style and script, by their digests, and nothing else from anywhere."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src {_digest(style)}",
            f"script-src {_digest(script)}",
            "img-src data:",  # the empty icon, for which a browser would ask the server
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


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
