"""Senses: the groups that the uses of one word fall into, their number unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.vectors import Rows, normalise

Labels = npt.NDArray[np.int64]
"""Numbers of senses, int64, shape (n,)."""

MOST_SENSES = 8
"""No word gets more."""

MOST_LINKED = 1500
"""Uses that are grouped with one another, whose cost is quadratic; others join the nearest."""

LEAST_SHARE = 0.02
"""A smaller share of a word's uses is no sense."""

LEAST_USES = 5
"""Nor is a smaller number of uses."""

LEAST_SILHOUETTE = 0.055
"""Groups less separate than this are one sense; few uses fall apart by chance and need more."""

CHANCE = 1.0
"""What the least silhouette rises by, times one over the number of uses."""

SHARPNESS = 20.0
"""Factor from differences of cosines to log odds, for confidences."""

CONTINUES = 0.6
"""Least cosine between a sense and the one it continues."""


@dataclass(frozen=True)
class Induction:
    """The senses of a word.

    Args:
        labels: of each use its sense, shape (n,); 0 is the most frequent.
        confidences: of each use how surely it has that sense and no other, in [0, 1], shape (n,).
        centroids: unit rows, shape (n_senses, d).
    """

    labels: Labels
    confidences: Rows
    centroids: Rows


def induce(rows: Rows) -> Induction:
    """The senses among the uses of one word.

    Ward's tree is cut into two to eight groups, each cut improved by k-means, and the cut with
    the greatest silhouette wins, if it is great enough.

    Args:
        rows: unit rows, shape (n, d), n at least one.
    """
    linked = rows
    if len(rows) > MOST_LINKED:
        linked = rows[np.linspace(0, len(rows) - 1, MOST_LINKED).round().astype(np.int64)]
    groups = _best_groups(linked)
    centroids = normalise(_means(linked, groups))
    labels, _ = assign(rows, centroids)
    order = np.argsort(-np.bincount(labels, minlength=len(centroids)), kind="stable")
    labels, confidences = assign(rows, centroids[order])
    return Induction(labels, confidences, centroids[order])


def assign(rows: Rows, centroids: Rows) -> tuple[Labels, Rows]:
    """Of each use the nearest sense, and how surely it is that one.

    Args:
        rows: unit rows, shape (n, d).
        centroids: unit rows, shape (n_senses, d).
    """
    cosines = rows @ centroids.T
    labels = cosines.argmax(axis=1)
    odds = np.exp(SHARPNESS * (cosines - cosines.max(axis=1, keepdims=True)))
    return labels.astype(np.int64), (1 / odds.sum(axis=1)).astype(np.float32)


def match(old: Rows, new: Rows) -> Labels:
    """Of each new sense the old one that it continues, or -1.

    Args:
        old: centroids, unit rows, shape (n_old, d).
        new: centroids, unit rows, shape (n_new, d).
    """
    from scipy.optimize import linear_sum_assignment

    continued = np.full(len(new), -1, dtype=np.int64)
    cosines = new @ old.T
    for of_new, of_old in zip(*linear_sum_assignment(-cosines), strict=True):
        if cosines[of_new, of_old] >= CONTINUES:
            continued[of_new] = of_old
    return continued


def _best_groups(rows: Rows) -> Labels:
    """Groups of rows, numbered from zero; all zero where they are not separate enough."""
    from scipy.cluster.hierarchy import cut_tree, linkage

    n = len(rows)
    least = max(LEAST_USES, LEAST_SHARE * n)
    best, best_score = np.zeros(n, dtype=np.int64), LEAST_SILHOUETTE + CHANCE / n
    if n < 2 * least:
        return best
    centred = (rows - rows.mean(axis=0)).astype(np.float64)
    squares = (centred**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * centred @ centred.T, 0))
    tree = linkage(distances[np.triu_indices(n, 1)], "ward")
    counts = np.arange(2, min(MOST_SENSES, int(n / least)) + 1)
    for cut in cut_tree(tree, counts).T:
        groups = _without_tiny(centred, _k_means(centred, cut), least)
        score = _silhouette(distances, groups)
        if score > best_score:
            best, best_score = groups, score
    return best


def _k_means(rows: npt.NDArray[np.float64], groups: Labels, n_steps: int = 10) -> Labels:
    for _ in range(n_steps):
        moved = _nearest(rows, _means(rows, groups))
        if np.array_equal(moved, groups):
            break
        groups = np.unique(moved, return_inverse=True)[1]
    return groups


def _without_tiny(rows: npt.NDArray[np.float64], groups: Labels, least: float) -> Labels:
    """Groups of which none has fewer than `least` rows; those of others joined the nearest."""
    while True:
        sizes = np.bincount(groups)
        if len(sizes) == 1 or sizes.min() >= least:
            return groups
        kept = np.delete(_means(rows, groups), sizes.argmin(), axis=0)
        groups = np.unique(_nearest(rows, kept), return_inverse=True)[1]


def _silhouette(distances: npt.NDArray[np.float64], groups: Labels) -> float:
    """Rousseeuw's mean silhouette: how much nearer rows are to their own group than to another."""
    sizes = np.bincount(groups)
    if len(sizes) == 1:
        return 0.0
    is_in = (groups[:, None] == np.arange(len(sizes))).astype(np.float64)
    sums = distances @ is_in
    own = (sums * is_in).sum(axis=1) / np.maximum(sizes[groups] - 1, 1)
    other = np.where(is_in > 0, np.inf, sums / sizes).min(axis=1)
    return float(((other - own) / np.maximum(np.maximum(own, other), 1e-12)).mean())


def _means(rows: npt.NDArray[Any], groups: Labels) -> npt.NDArray[Any]:
    is_in = (np.arange(groups.max() + 1)[:, None] == groups).astype(rows.dtype)
    means: npt.NDArray[Any] = is_in @ rows / is_in.sum(axis=1, keepdims=True)
    return means


def _nearest(rows: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]) -> Labels:
    nearest: Labels = ((centres**2).sum(axis=1) - 2 * rows @ centres.T).argmin(axis=1)
    return nearest
