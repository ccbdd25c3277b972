"""Thresholds by which a similarity says `match` or not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def best_threshold(values: Numbers, is_match: Flags) -> float:
    """The value from which on `match` is most often right; the middle of a gap between two.

    Args:
        values: similarity of each pair, shape (n,).
        is_match: whether the pair is a match, shape (n,).
    """
    order = np.argsort(values, kind="stable")
    ordered, matches = values[order], is_match[order]
    n_right = np.concatenate([[0], np.cumsum(~matches)]) + np.concatenate(
        [np.cumsum(matches[::-1])[::-1], [0]]
    )
    is_gap = np.concatenate([[True], ordered[1:] > ordered[:-1], [True]])
    place = int(np.where(is_gap, n_right, -1).argmax())
    edges = np.concatenate([[ordered[0] - 1], ordered, [ordered[-1] + 1]])
    return float(edges[place] + edges[place + 1]) / 2


def cross_fitted_accuracy(values: Numbers, is_match: Flags) -> float:
    """How often a threshold is right on pairs that it was not fitted on: fitted on every other
    match and every other pair that is none, tried on the rest, and the other way round.

    Args:
        values: similarity of each pair, shape (n,), of at least two.
        is_match: whether the pair is a match, shape (n,).
    """
    # Files often have a match and one that is none by turns, so each kind is counted by itself.
    is_odd = np.where(is_match, np.cumsum(is_match) - 1, np.cumsum(~is_match)) % 2 == 1
    n_right = 0
    for part in (is_odd, ~is_odd):
        threshold = best_threshold(values[part], is_match[part])
        n_right += int(((values[~part] >= threshold) == is_match[~part]).sum())
    return n_right / len(values)
