"""Senses: the groups that the uses of one word fall into, their number unknown."""

from __future__ import annotations

from collections.abc import Sequence
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

AVERAGE_CUTS = (2, 3, 4, 6, 8, 12, 16)
"""Into how many groups a tree of average linkage is cut. It leaves lone uses by themselves, so that
many groups of a cut are too small and few remain."""

WARD_CUTS = (2, 3, 4)
"""And one of Ward's linkage, whose groups are of like size."""

LEAST_SILHOUETTE = 0.05
"""Groups less separate than this are one sense."""

LOOSE_SILHOUETTE = 0.1
"""What groups must reach whose uses are no more alike than those of any two words. Uses of `two` or
`through` fall into the topics that the corpus has, and that is no ambiguity."""

COHESION = 0.1
"""What the mean cosine within the loosest group takes off that."""

CHANCE = 0.7
"""What the least silhouette rises by, over the number of uses: few uses fall apart by chance."""

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

    A tree of average linkage, which finds rare senses, is cut at several heights and each cut is
    improved by k-means. Of those that are separate enough the one of greatest silhouette wins; if
    none is, those of Ward's tree are looked at. The constants were chosen on CoarseWSD-20's
    training split, on words of SemCor and on the sample corpus.

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
    # In double precision, so that a use gets the same sense whatever uses it is looked at with.
    cosines = rows.astype(np.float64) @ centroids.T.astype(np.float64)
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
    least = max(LEAST_USES, LEAST_SHARE * len(rows))
    one = np.zeros(len(rows), dtype=np.int64)
    if len(rows) < 2 * least:
        return one
    centred = (rows - rows.mean(axis=0)).astype(np.float64)
    distances = _distances(centred)
    for cuts in (_average_cuts, _ward_cuts):
        groups = _best_cut(rows, centred, distances, cuts(centred, distances), least)
        if groups is not None:
            return groups
    return one


def _best_cut(
    rows: Rows,
    centred: npt.NDArray[np.float64],
    distances: npt.NDArray[np.float64],
    cuts: npt.NDArray[np.int64],
    least: float,
) -> Labels | None:
    """The most separate groups that k-means makes of some cuts; None if none are separate enough.

    Args:
        rows: unit rows, shape (n, d).
        centred: the rows without their mean.
        distances: between rows, shape (n, n).
        cuts: groups of the rows, a cut a row, shape (n_cuts, n).
        least: rows of a group.
    """
    best, best_score = None, 0.0
    seen: set[bytes] = set()
    for cut in cuts:
        groups = _without_tiny(centred, cut, least)
        if not 1 <= groups.max() < MOST_SENSES or groups.tobytes() in seen:
            continue
        seen.add(groups.tobytes())
        groups = _without_tiny(centred, _k_means(centred, groups), least)
        score = _silhouette(distances, groups)
        if score > best_score and score >= _least_silhouette(rows, groups):
            best, best_score = groups, score
    return best


def _average_cuts(
    centred: npt.NDArray[np.float64], distances: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Groups by average linkage of cosines (Sokal & Michener 1958), shape (n_cuts, n)."""
    directions = normalise(centred.astype(np.float32)).astype(np.float64)
    return _cuts(np.maximum(1 - directions @ directions.T, 0), "average", AVERAGE_CUTS)


def _ward_cuts(
    centred: npt.NDArray[np.float64], distances: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Groups by Ward's linkage (1963), shape (n_cuts, n)."""
    return _cuts(distances, "ward", WARD_CUTS)


def _cuts(
    distances: npt.NDArray[np.float64], method: str, n_groups: Sequence[int]
) -> npt.NDArray[np.int64]:
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(distances, checks=False), method)
    most = max(n_groups[0], len(distances) // LEAST_USES)  # more would be tiny, nearly all
    return np.stack([_cut(tree, k) for k in n_groups if k <= most])


def _cut(tree: npt.NDArray[np.float64], n_groups: int) -> Labels:
    """The groups of a tree before its last merges, numbered by their first rows.

    As `scipy.cluster.hierarchy.cut_tree`, which takes most of the time of grouping a word.
    """
    n = len(tree) + 1
    above = np.arange(2 * n - 1)
    merges = np.arange(n - n_groups)
    above[tree[merges, :2].astype(np.int64)] = n + merges[:, None]
    while ((higher := above[above]) != above).any():
        above = higher
    tops = above[:n]
    first = np.empty_like(above)
    first[tops[::-1]] = np.arange(n)[::-1]  # of equal places the last one counts
    firsts = first[tops]
    numbers: Labels = np.cumsum(firsts == np.arange(n)) - 1
    labels: Labels = numbers[firsts]
    return labels


def _distances(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Euclidean distances between rows, shape (n, n)."""
    squares = (rows**2).sum(axis=1)
    distances: npt.NDArray[np.float64] = np.sqrt(
        np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)
    )
    return distances


def _least_silhouette(rows: Rows, groups: Labels) -> float:
    """The silhouette from which on groups are senses: the tighter they are, the lower."""
    sizes = np.bincount(groups)
    squares = (_means(rows, groups) ** 2).sum(axis=1)
    cohesion = float(((squares * sizes - 1) / np.maximum(sizes - 1, 1)).min())
    least = max(LEAST_SILHOUETTE, LOOSE_SILHOUETTE - COHESION * cohesion)
    return least + CHANCE / len(rows)


def _k_means(rows: npt.NDArray[np.float64], groups: Labels, n_steps: int = 10) -> Labels:
    for _ in range(n_steps):
        moved = _nearest(rows, _means(rows, groups))
        if np.array_equal(moved, groups):
            break
        groups = _numbered(moved)
    return groups


def _without_tiny(rows: npt.NDArray[np.float64], groups: Labels, least: float) -> Labels:
    """Groups of which none has fewer than `least` rows; those of others joined the nearest."""
    while True:
        sizes = np.bincount(groups)
        if len(sizes) == 1 or sizes.min() >= least:
            return groups
        kept = _means(rows, groups)[np.arange(len(sizes)) != sizes.argmin()]
        groups = _numbered(_nearest(rows, kept))


def _numbered(groups: Labels) -> Labels:
    """Groups numbered without gaps, in their order."""
    numbers: Labels = np.cumsum(np.bincount(groups) > 0) - 1
    return numbers[groups]


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
    sizes = np.bincount(groups)
    shares = np.zeros((len(sizes), len(rows)), dtype=rows.dtype)
    shares[groups, np.arange(len(rows))] = (1 / sizes)[groups]
    means: npt.NDArray[Any] = shares @ rows
    return means


def _nearest(rows: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]) -> Labels:
    nearest: Labels = ((centres**2).sum(axis=1) - 2 * rows @ centres.T).argmin(axis=1)
    return nearest
