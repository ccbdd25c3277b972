"""What a sense looks like on a map: a colour for light and dark, and a shape."""

from __future__ import annotations

from dataclasses import dataclass

PAPER = ("#fcfcfa", "#16181d")
"""What lies behind the points, in light and in dark."""


@dataclass(frozen=True)
class SenseStyle:
    """How one sense is drawn.

    Args:
        light: its colour on light paper.
        dark: its colour on dark paper.
        path: its shape, an SVG path about the origin, some two units wide.
        marker: the same shape, as matplotlib names it.
    """

    light: str
    dark: str
    path: str
    marker: str


STYLES = (
    SenseStyle("#0070a0", "#60b0f0", "M-1 0A1 1 0 1 0 1 0A1 1 0 1 0-1 0Z", "o"),
    SenseStyle("#e06000", "#f09020", "M0-1.15L1.1.8H-1.1Z", "^"),
    SenseStyle("#b000ff", "#8070ff", "M-.9-.9H.9V.9H-.9Z", "s"),
    SenseStyle("#00a0c0", "#80ff60", "M0-1.25L1.25 0L0 1.25L-1.25 0Z", "D"),
    SenseStyle("#501000", "#b0c0a0", "M0 1.15L1.1-.8H-1.1Z", "v"),
    SenseStyle(
        "#809070", "#d030b0", "M-.42-1.1H.42V-.42H1.1V.42H.42V1.1H-.42V.42H-1.1V-.42H-.42Z", "P"
    ),
    SenseStyle(
        "#a02040",
        "#a08060",
        "M0-1.3L.35-.45L1.24-.4L.55.17L.76 1.05L0 .57L-.76 1.05L-.55.17L-1.24-.4L-.35-.45Z",
        "*",
    ),
    SenseStyle(
        "#0000a0",
        "#ffffff",
        "M-1.08-.49L-.49-1.08L0-.59L.49-1.08L1.08-.49L.59 0L1.08.49L.49 1.08L0 .59L-.49 1.08"
        "L-1.08.49L-.59 0Z",
        "X",
    ),
)
"""As many as a word has senses. Any two colours lie apart for people who see no red, no green or
no blue too (Machado et al. 2009, distances in Oklab), and each stands out from its paper."""


def style_of(place: int) -> SenseStyle:
    """The look of a word's sense by its place among them, the most frequent first."""
    return STYLES[place % len(STYLES)]
