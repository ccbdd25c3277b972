"""What some passages lose of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.vectors import Rows
from indexes.stored_rows import Positions


@dataclass(frozen=True)
class Penalty:
    """Amounts by which the scores of some passages are lowered.

    Args:
        positions: the passages, ascending, shape (n,).
        amounts: what each loses, not negative, float32, shape (n,).
    """

    positions: Positions
    amounts: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if (np.diff(self.positions) <= 0).any() or (self.amounts < 0).any():
            raise ValueError("positions should ascend, and amounts not be negative")

    @classmethod
    def none(cls) -> Penalty:
        """One that lowers nothing."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    @classmethod
    def sum(cls, parts: Sequence[Penalty]) -> Penalty:
        """All of some penalties together."""
        every = np.concatenate([part.positions for part in parts])
        positions, places = np.unique(every, return_inverse=True)
        amounts = np.bincount(
            places, np.concatenate([p.amounts for p in parts]), minlength=len(positions)
        )
        return cls(positions, amounts.astype(np.float32))

    def lower(self, positions: Positions, scores: Rows) -> Rows:
        """Scores of some passages, lowered; in any shape."""
        if not len(self.positions):
            return scores
        places = np.minimum(np.searchsorted(self.positions, positions), len(self.positions) - 1)
        is_one = self.positions[places] == positions
        lowered: Rows = scores - np.where(is_one, self.amounts[places], np.float32(0))
        return lowered
