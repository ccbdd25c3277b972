"""The published sizes of BERT."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Size(StrEnum):
    """How large a BERT is."""

    TINY = "tiny"
    MINI = "mini"
    SMALL = "small"
    MEDIUM = "medium"
    BASE = "base"
    LARGE = "large"


@dataclass(frozen=True)
class Shape:
    """Layers of a BERT and the components of a state; a head of attention has 64 of them, and the
    layer in between four times as many."""

    n_layers: int
    width: int


SHAPES = {
    Size.TINY: Shape(2, 128),
    Size.MINI: Shape(4, 256),
    Size.SMALL: Shape(4, 512),
    Size.MEDIUM: Shape(8, 512),
    Size.BASE: Shape(12, 768),
    Size.LARGE: Shape(24, 1024),
}
"""Devlin et al. 2019 (base, large), Turc et al. 2019 (the others)."""
