"""Vectors as one byte a component, so that a distance is a sum of integers.

FAISS compares such codes (`SQ8_direct`) by their squared Euclidean distance in 16-bit integers,
half as long again as fast as it does trained 8-bit codes. For unit vectors that distance falls as
the cosine rises, and unlike the inner product it does not change when the same vector is taken away
from all of them. So the mean is taken away, which models with a few large constant components need,
and what is left fills the range of a byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.vectors import Rows

MIDDLE = 128.0
LARGEST = 127.0
COVERED = 0.9999
"""Share of the components that are not cut to the range of a byte."""

FITTED_ROWS = 16_384


@dataclass(frozen=True)
class ByteCodec:
    """How components become bytes.

    Args:
        mean: mean of the vectors, float32, shape (width,).
        scale: steps of a byte for a component of 1.
    """

    mean: Rows
    scale: float

    @classmethod
    def fit(cls, sample: Rows) -> ByteCodec:
        """Fitted to a sample, shape (n, width)."""
        sample = sample[:: max(1, len(sample) // FITTED_ROWS)][:FITTED_ROWS]
        mean = sample.mean(0, dtype=np.float64).astype(np.float32)
        sizes = np.abs(sample - mean).ravel()
        at = min(len(sizes) - 1, int(COVERED * len(sizes)))
        largest = float(np.partition(sizes, at)[at])
        return cls(mean, LARGEST / largest if largest > 0 else LARGEST)

    @classmethod
    def from_array(cls, values: Rows) -> ByteCodec:
        """Read what `to_array` made."""
        return cls(values[:-1], float(values[-1]))

    def to_array(self) -> Rows:
        """Mean and scale, shape (width + 1,)."""
        return np.append(self.mean, np.float32(self.scale)).astype(np.float32)

    def steps(self, rows: Rows) -> Rows:
        """Rows in steps of a byte as whole float32 numbers from 0 to 255, shape (n, width)."""
        steps = rows - self.mean
        steps *= np.float32(self.scale)
        steps += np.float32(MIDDLE)
        np.rint(steps, out=steps)
        return np.clip(steps, 0, 2 * LARGEST + 1, out=steps)

    def encode(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Rows as bytes, shape (n, width)."""
        return self.steps(rows).astype(np.uint8)
