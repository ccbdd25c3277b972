"""Vectors check themselves where they are made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embedder.vectors import Vectors, check_unit_rows, normalise

ROWS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(-(2**50), 2**50, width=32),
)


def unit_rows(n: int, width: int = 8) -> np.ndarray:
    """Random unit rows of shape (n, width)."""
    return normalise(np.random.default_rng(0).standard_normal((n, width), dtype=np.float32))


@given(ROWS)
def test_normalised_rows_have_unit_length_or_are_zero(rows: np.ndarray) -> None:
    """A normalised row has length one, except that a zero row stays zero."""
    lengths = np.linalg.norm(normalise(rows).astype(np.float64), axis=1)
    is_zero = ~rows.any(axis=1)
    assert (lengths[is_zero] == 0).all()
    assert np.allclose(lengths[~is_zero], 1, atol=1e-5)


@given(ROWS)
def test_normalising_keeps_the_direction(rows: np.ndarray) -> None:
    """A normalised row times the old length is the old row."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    back = normalise(rows) * lengths
    assert (np.abs(back - rows) <= 1e-5 * lengths).all()


def test_good_vectors_are_taken() -> None:
    """Ids and unit rows of matching shapes make vectors of that length and width."""
    vectors = Vectors(np.arange(3), unit_rows(3, 8))
    assert (len(vectors), vectors.width) == (3, 8)


def test_no_rows_are_vectors_too() -> None:
    """Zero rows are a legal value."""
    assert len(Vectors(np.empty(0, np.int64), np.empty((0, 4), np.float32))) == 0


def test_rounding_to_half_precision_keeps_rows_unit() -> None:
    """Unit rows stay within the tolerance when they are rounded to float16 and back."""
    check_unit_rows(unit_rows(2000, 384).astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    """A row with NaN or infinity is refused, and the message names the row."""
    rows = unit_rows(3)
    rows[1, 2] = value
    with pytest.raises(ValueError, match="row 1"):
        Vectors(np.arange(3), rows)


@pytest.mark.parametrize("factor", [0, 0.99, 1.01, 2])
def test_a_row_of_another_length_is_refused(factor: float) -> None:
    """A row whose length is not one is refused."""
    rows = unit_rows(3)
    rows[2] *= factor
    with pytest.raises(ValueError, match="row 2"):
        check_unit_rows(rows)


@pytest.mark.parametrize(
    ("ids", "rows"),
    [
        (np.arange(2), unit_rows(3)),
        (np.arange(3, dtype=np.int32), unit_rows(3)),
        (np.arange(3)[:, None], unit_rows(3)),
        (np.arange(3), unit_rows(3).astype(np.float64)),
        (np.arange(8), unit_rows(1)[0]),
    ],
    ids=["lengths differ", "int32 ids", "2-d ids", "float64 rows", "1-d rows"],
)
def test_wrong_shapes_and_types_are_refused(ids: np.ndarray, rows: np.ndarray) -> None:
    """Ids that are not int64 (n,) or rows that are not float32 (n, width) are refused."""
    with pytest.raises(ValueError, match=r"ids|rows"):
        Vectors(ids, rows)
