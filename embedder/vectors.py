"""Vectors that checked themselves where they were made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
"""Float32 rows, shape (n, width)."""

States = npt.NDArray[np.float32]
"""States of the pieces of texts of one padded length, float32, shape (n_texts, length, width)."""

HalfRows = npt.NDArray[np.float16]
"""Float16 rows as they lie on disk, shape (n, width)."""

UNIT_TOLERANCE = 2e-3
"""How far a row's length may be from one. Rounding a unit row to float16 moves it by < 5e-4."""


def normalise(rows: Rows) -> Rows:
    """Scale each row of shape (n, width) to unit length; a zero row stays zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    scales = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    # In single precision, three times as fast, unless a scale or its inverse is too large for it.
    is_plain = max(lengths.max(initial=0), scales.max(initial=0)) < 1e38
    scales = scales.astype(np.float32 if is_plain else np.float64)
    scaled: Rows = (rows * scales[:, None]).astype(np.float32, copy=False)
    return scaled


@dataclass(frozen=True)
class Vectors:
    """Unit vectors with their ids.

    Args:
        ids: int64, shape (n,).
        rows: float32, shape (n, width), finite, each of unit length.

    Raises:
        ValueError: a shape, type, length or value is wrong. FAISS takes a NaN row and then
            silently never returns it, so nothing unchecked may reach it.
    """

    ids: npt.NDArray[np.int64]
    rows: Rows

    def __post_init__(self) -> None:
        if self.ids.dtype != np.int64 or self.ids.ndim != 1:
            raise ValueError(f"ids are {self.ids.dtype} {self.ids.shape}, wanted int64 (n,)")
        if self.rows.dtype != np.float32 or self.rows.ndim != 2:
            raise ValueError(f"rows are {self.rows.dtype} {self.rows.shape}, wanted float32 (n, w)")
        if len(self.ids) != len(self.rows):
            raise ValueError(f"{len(self.ids)} ids for {len(self.rows)} rows")
        check_unit_rows(self.rows)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """Number of components of a row."""
        return int(self.rows.shape[1])


def check_unit_rows(rows: Rows) -> None:
    """Raise ValueError unless every row of shape (n, width) is finite and of unit length."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    wrong = ~(np.abs(lengths - 1) <= UNIT_TOLERANCE)  # a NaN length is wrong too
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{int(wrong.sum())} of {len(rows)} rows are not finite unit vectors; "
            f"the first is row {first} with length {lengths[first]}"
        )
