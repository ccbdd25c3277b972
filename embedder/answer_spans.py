"""Which stretch of a text answers a question, by scores of where answers start and end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
"""A score for each piece, shape (n_pieces,)."""


class Span(NamedTuple):
    """Pieces `first` to `last`, both included, and the sum of their scores."""

    first: int
    last: int
    score: float


def best_span(starts: Scores, ends: Scores, most_pieces: int) -> Span | None:
    """The span of at most `most_pieces` pieces whose start and end have the highest sum.

    All spans are looked at. Of equal ones the shortest counts, and of these the first.

    Args:
        starts: how well an answer starts at each piece, shape (n_pieces,).
        ends: how well one ends there, shape (n_pieces,).
        most_pieces: longest answer, at least 1.

    Returns:
        The span; None where there are no pieces.
    """
    best = None
    for length in range(min(most_pieces, len(starts))):
        sums = starts[: len(starts) - length] + ends[length:]
        first = int(sums.argmax())
        if best is None or sums[first] > best.score:
            best = Span(first, first + length, float(sums[first]))
    return best


def fit_threshold(
    margins: npt.NDArray[np.float64],
    if_answered: npt.NDArray[np.float64],
    if_not: npt.NDArray[np.float64],
) -> float:
    """The margin above which to answer so that the mean of a measure is highest.

    As `find_best_thresh` of SQuAD 2.0's evaluate-v2.0.py, but in the middle of a gap.

    Args:
        margins: how much better the best span is than no answer, for each question, shape (n,).
        if_answered: what the measure gives for the best span, shape (n,).
        if_not: what it gives for no answer, shape (n,).
    """
    order = np.argsort(-margins, kind="stable")
    ordered = margins[order]
    gains = np.concatenate([[0.0], np.cumsum((if_answered - if_not)[order])])
    is_gap = np.concatenate([[True], ordered[1:] < ordered[:-1], [True]])
    n_answered = int(np.where(is_gap, gains, -np.inf).argmax())
    edges = np.concatenate([[ordered[0] + 2], ordered, [ordered[-1] - 2]])
    return float(edges[n_answered] + edges[n_answered + 1]) / 2
