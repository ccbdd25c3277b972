"""What a distillation to fewer layers is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from embedder.errors import RequestError
from embedder.model_location import DEFAULT_MODEL

SHORTEST, USUAL = 16, 128
"""Pieces of an example."""

MOST_HELD_OUT = 0.5


class Objective(StrEnum):
    """What the student is to give as its teacher gives it."""

    SENTENCE = "sentence"
    """Vectors of texts."""

    MLM = "mlm"
    """Scores of pieces in place of masked ones (Sanh et al. 2019)."""


@dataclass(frozen=True, kw_only=True)
class DistillationOptions:
    """Student and teacher, and how text becomes examples.

    Args:
        layers: of the student.
        model: the teacher: `default`, a model folder, or a name on the hub.
        objective: what the student is to give.
        length: the most pieces of an example, special ones included; None for 128, or the
            teacher's window if that is shorter.
        held_out: share of the documents that is kept to measure on.

    Raises:
        RequestError: a number makes no sense.
    """

    layers: int
    model: str = DEFAULT_MODEL
    objective: Objective = Objective.SENTENCE
    length: int | None = None
    held_out: float = 0.02

    def __post_init__(self) -> None:
        if self.length is not None and self.length < SHORTEST:
            raise RequestError(
                f"Examples of {self.length} pieces were asked for.",
                f"Give --length at least {SHORTEST}.",
            )
        if not 0 < self.held_out <= MOST_HELD_OUT:
            raise RequestError(
                f"A share of {self.held_out} is to be held out.",
                f"Give --held-out a number above 0, up to {MOST_HELD_OUT}: 0.02.",
            )
