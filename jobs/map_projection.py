"""Uses of a word, laid out in the plane: alike uses near each other, senses apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from embedder.projection import fit_projection
from embedder.vectors import Rows

Plane = npt.NDArray[np.float64]
"""Places in the plane, x and y in [0, 1], shape (n, 2)."""

MOST_EMBEDDED = 1500
"""Uses that t-SNE lays out; more are placed among these. On one core of two 1,500 take 4 s of
computing and 5,000 take 13 s, while placing the other 3,500 takes 0.6 s."""

STRETCH = 2.0
"""Factor by which the directions that tell the senses apart are stretched. t-SNE keeps neighbours
together and knows no senses; with this it draws borders where the senses have theirs, and uses
that lie between two senses still lie between them."""

PERPLEXITY = 30.0
ANGLE, N_STEPS = 0.8, 500
"""Of the Barnes-Hut approximation; coarser and shorter than by default (0.5, 1,000), for speed."""

NEAREST = 4
"""Laid out uses among which another one is placed."""

SPACING = 0.15
"""How far apart uses come to lie that would share a place, as those in equal texts do; divided by
the root of their number."""


def project_uses(rows: Rows, centroids: Rows) -> Plane:
    """Lay out the uses of a word; the same uses get the same places.

    Args:
        rows: unit rows, shape (n, d), n at least one.
        centroids: of the word's senses, unit rows, shape (n_senses, d).
    """
    with threadpool_limits(1):  # several threads add up in any order, and places would differ
        stretched = _stretched(rows, centroids)
        chosen = np.linspace(0, len(rows) - 1, min(len(rows), MOST_EMBEDDED)).round().astype(int)
        known = stretched[chosen]
        embedded = _embedded(known)
        plane = _placed(stretched, known, embedded)
        plane[chosen] = embedded
    return _apart(_in_unit_square(plane))


def _stretched(rows: Rows, centroids: Rows) -> Rows:
    centred = centroids - centroids.mean(axis=0)
    _, strengths, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[strengths > 1e-6]
    stretched: Rows = rows + (STRETCH - 1) * (rows @ axes.T) @ axes
    return stretched


def _embedded(rows: Rows) -> Plane:
    """Places by t-SNE (van der Maaten & Hinton 2008), begun at the principal components."""
    projection = fit_projection(rows, 2)
    start = (rows - projection.mean) @ projection.components
    if len(rows) < 5:
        return start.astype(np.float64)
    from sklearn.manifold import TSNE

    embedding = TSNE(
        perplexity=min(PERPLEXITY, (len(rows) - 1) / 3),
        init=start / max(float(start[:, 0].std()), 1e-12) * 1e-4,
        max_iter=N_STEPS,
        angle=ANGLE,
        random_state=0,
        n_jobs=1,
    )
    with threadpool_limits(1):  # of the libraries that were loaded just now
        places: Plane = embedding.fit_transform(rows).astype(np.float64)
    return places


def _placed(rows: Rows, known: Rows, places: Plane) -> Plane:
    """Each row where the most similar known ones lie, the nearer the more similar."""
    plane = np.empty((len(rows), 2))
    for first in range(0, len(rows), 1024):
        block = rows[first : first + 1024]
        distances = ((block**2).sum(1)[:, None] - 2 * block @ known.T) + (known**2).sum(1)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :NEAREST]
        weights = 1 / np.maximum(np.take_along_axis(distances, nearest, axis=1), 1e-6) ** 2
        weights /= weights.sum(axis=1, keepdims=True)
        plane[first : first + 1024] = (weights[:, :, None] * places[nearest]).sum(axis=1)
    return plane


def _in_unit_square(plane: Plane) -> Plane:
    """Moved and scaled, the same in both directions."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    size = float((high - low).max())
    scaled: Plane = 0.5 + (plane - (low + high) / 2) / (size or 1.0)
    return scaled


def _apart(plane: Plane) -> Plane:
    """Points that share a place, on a spiral around it, so that each can be pointed at."""
    spacing = SPACING / len(plane) ** 0.5
    _, group, counts = np.unique(
        (plane / spacing).round(), axis=0, return_inverse=True, return_counts=True
    )
    order = np.argsort(group, kind="stable")
    number = np.empty(len(plane), dtype=np.int64)
    number[order] = np.arange(len(plane)) - (np.cumsum(counts) - counts)[group[order]]
    angle = number * np.pi * (3 - 5**0.5)
    spiral = spacing * np.sqrt(number)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _in_unit_square(plane + spiral)
