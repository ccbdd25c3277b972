"""A comparison as one page of HTML that loads nothing, runs nothing and connects to nowhere."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template

from jobs.comparison import LEAST_NEARNESS, Comparison, LabelledNeighbour
from jobs.map_style import STYLES, style_of
from jobs.page_policy import page_policy
from jobs.senses import Sense
from jobs.use_texts import UseText


def render_comparison(found: Comparison) -> str:
    """The page."""
    templates = files("jobs") / "templates"
    page, style = ((templates / f"comparison.{end}").read_text("utf-8") for end in ("html", "css"))
    style += _colours()
    places = {sense.name: place for place, sense in enumerate(found.view.senses)}
    n_uses, n_senses = found.view.n_uses, len(places)
    values = {
        "policy": page_policy(style),
        "title": escape(f"{found.word} – one vector, {n_senses} senses"),
        "style": style,
        "word": escape(found.word),
        "verdict": escape(found.verdict()),
        "static_from": escape(found.title),
        "senses_from": escape(f"{found.index}: {n_uses:,} uses"),
        "static": "\n".join(_static(rank, one, places) for rank, one in enumerate(found.static, 1)),
        "senses": "\n".join(
            _sense(sense, place, found.n_static(sense))
            for place, sense in enumerate(found.view.senses)
        ),
        "least": f"{LEAST_NEARNESS:g}",
    }
    return Template(page).substitute(values)


def _colours() -> str:
    """The colour of each sense's sign, in light and in dark."""
    light = "".join(f".s{n} {{ color: {style.light}; }}\n" for n, style in enumerate(STYLES))
    dark = "".join(f".s{n} {{ color: {style.dark}; }}\n" for n, style in enumerate(STYLES))
    return f"{light}@media (prefers-color-scheme: dark) {{\n{dark}}}\n"


def _swatch(place: int | None) -> str:
    """A sense's sign; a ring where there is none."""
    kind = "none" if place is None else f"s{place % len(STYLES)}"
    path = style_of(place or 0).path
    return (
        f'<svg class="swatch {kind}" viewBox="-1.3 -1.3 2.6 2.6" aria-hidden="true">'
        f'<path d="{path}"/></svg>'
    )


def _static(rank: int, one: LabelledNeighbour, places: dict[str, int]) -> str:
    if one.sense is not None:
        label = f'<span class="label">{escape(one.sense)}</span>'
    else:
        reason = "no senses here" if one.through is None else "of no sense"
        label = f'<span class="label of-none">{reason}</span>'
    place = None if one.sense is None else places[one.sense]
    return (
        f'      <li><span class="rank">{rank}</span>{_swatch(place)}'
        f'<span class="word" dir="auto">{escape(one.neighbour)}</span>{label}'
        f'<span class="score">{one.score:.2f}</span></li>'
    )


def _sense(sense: Sense, place: int, n_static: int) -> str:
    missed = "" if n_static else ' class="missed"'
    found = f"{n_static} in the list" if n_static else "missed by the static vector"
    near = "".join(
        f'<li dir="auto">{escape(one.sense)} <small>{one.score:.2f}</small></li>'
        for one in sense.neighbours
    )
    return (
        f"      <li{missed}>\n"
        f'        <p class="head">{_swatch(place)}<span dir="auto">{escape(sense.name)}</span>'
        f'<span class="share">{sense.share:.0%} of its uses</span>'
        f'<span class="found">{found}</span></p>\n'
        f'        <p class="typical" dir="auto">{escape(" · ".join(sense.words))}</p>\n'
        f'        <ul class="near" aria-label="Nearest senses">{near}</ul>\n'
        f"{''.join(map(_example, sense.examples))}      </li>"
    )


def _example(use: UseText) -> str:
    first, last = use.sentence
    parts = (
        use.passage[first : use.start],
        use.passage[use.start : use.end],
        use.passage[use.end : last],
    )
    before, word, after = (escape(part) for part in parts)
    return f'        <p class="example" dir="auto">{before}<mark>{word}</mark>{after}</p>\n'
