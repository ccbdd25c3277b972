"""A projection of occurrences onto few components, and its codes of one byte a component."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedder.records import Codes
from embedder.vectors import Rows, normalise

LEVELS = 127
"""A row is scaled so that its largest component becomes this."""


@dataclass(frozen=True)
class Projection:
    """A centring and a linear map, fitted on uses of words in the corpus's own text.

    Args:
        mean: what is taken off each row, float32, shape (width,).
        components: orthonormal columns, the strongest first, float32, shape (width, d).
    """

    mean: Rows
    components: Rows

    def __post_init__(self) -> None:
        if self.components.shape[:1] != self.mean.shape:
            raise ValueError(f"mean {self.mean.shape} for components {self.components.shape}")

    @property
    def n_components(self) -> int:
        """Components of a projected row."""
        return int(self.components.shape[1])

    def apply(self, rows: Rows) -> Rows:
        """Unit rows of shape (n, d) of rows of shape (n, width)."""
        projected = ((rows - self.mean) @ self.components).astype(np.float32, copy=False)
        return normalise(projected)

    def restore(self, rows: Rows) -> Rows:
        """Unit rows of shape (n, width) that project onto unit rows of shape (n, d), nearly.

        Projected rows are scaled to unit length; before that a unit row's was at most the root of
        1 - |mean|^2, which is what it gets back.
        """
        left = max(0.0, 1.0 - float(self.mean @ self.mean))
        return normalise(self.mean + np.float32(left**0.5) * (rows @ self.components.T))


def fit_projection(rows: Rows, d: int) -> Projection:
    """The principal components of rows, shape (n, width); at most `d`, and no more than they have.

    A component's largest loading is positive, so that the same rows give the same projection.
    Without any rows the first components are kept as they are.
    """
    if not len(rows):
        width = rows.shape[1]
        return Projection(np.zeros(width, np.float32), np.eye(width, min(d, width), dtype="f4"))
    mean = rows.mean(axis=0, dtype=np.float64)
    centred = rows - mean.astype(np.float32)
    _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    kept = vectors[:, ::-1][:, : min(d, rows.shape[1])]
    largest = np.abs(kept).argmax(axis=0)
    kept = kept * np.sign(kept[largest, np.arange(kept.shape[1])])
    return Projection(mean.astype(np.float32), np.ascontiguousarray(kept, dtype=np.float32))


def encode_codes(rows: Rows) -> Codes:
    """Codes of unit rows, int8, shape (n, d).

    Each row has its own scale, which need not be kept: rows are of unit length. What lies in no
    direction, as the only use of a word in a corpus of one, gets the first axis.
    """
    peaks = np.abs(rows).max(axis=1, keepdims=True)
    scaled = np.divide(rows * LEVELS, peaks, out=np.zeros_like(rows), where=peaks > 0)
    scaled[peaks[:, 0] == 0, :1] = LEVELS
    codes: Codes = np.rint(scaled).astype(np.int8)
    return codes


def decode_codes(codes: Codes) -> Rows:
    """Unit rows of codes, float32, shape (n, d)."""
    return normalise(codes.astype(np.float32))
