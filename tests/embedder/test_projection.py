"""A projection keeps what is strong; its codes cost a byte a component and little else."""

from __future__ import annotations

import numpy as np

from embedder.projection import decode_codes, encode_codes, fit_projection
from embedder.vectors import Rows, check_unit_rows, normalise


def _rows(n: int = 500, width: int = 40) -> Rows:
    rng = np.random.default_rng(0)
    strengths = np.geomspace(1, 0.01, width)
    return normalise((rng.standard_normal((n, width)) * strengths + 0.3).astype(np.float32))


def test_rows_are_unit_and_narrow() -> None:
    """Projected rows are unit rows of the width that was asked for."""
    rows = fit_projection(_rows(), 8).apply(_rows())
    assert rows.shape == (500, 8) and rows.dtype == np.float32
    check_unit_rows(rows)


def test_all_components_lose_nothing() -> None:
    """With as many components as there are, cosines are those of the centred rows."""
    rows = _rows()
    centred = normalise(rows - rows.mean(axis=0))
    projected = fit_projection(rows, 99).apply(rows)
    np.testing.assert_allclose(projected @ projected.T, centred @ centred.T, atol=1e-3)


def test_components_are_orthonormal_and_strongest_first() -> None:
    """Components are at right angles, and the first carries the most variance."""
    rows = _rows()
    found = fit_projection(rows, 10)
    np.testing.assert_allclose(found.components.T @ found.components, np.eye(10), atol=1e-5)
    assert np.all(np.diff(((rows - found.mean) @ found.components).var(axis=0)) <= 1e-7)


def test_order_of_rows_does_not_matter() -> None:
    """The same rows in another order give the same components, signs included."""
    rows = _rows()
    shuffled = rows[np.random.default_rng(1).permutation(len(rows))]
    first, second = fit_projection(rows, 5), fit_projection(shuffled, 5)
    np.testing.assert_allclose(first.components, second.components, atol=1e-3)


def test_codes_come_back() -> None:
    """A decoded row has a cosine above .999 with the row, and is coded as before."""
    rows = fit_projection(_rows(), 32).apply(_rows())
    codes = encode_codes(rows)
    assert codes.dtype == np.int8
    decoded = decode_codes(codes)
    assert (decoded * rows).sum(axis=1).min() > 0.999
    np.testing.assert_array_equal(encode_codes(decoded), codes)


def test_a_row_without_a_direction_gets_one() -> None:
    """A row of zeros is coded as a unit row, so that every code is one."""
    zeros = np.zeros((1, 4), np.float32)
    np.testing.assert_array_equal(decode_codes(encode_codes(zeros)), [[1, 0, 0, 0]])


def test_no_rows_give_a_projection_too() -> None:
    """Where a sample has no words the first components stand for all, and later words get codes."""
    found = fit_projection(np.empty((0, 40), np.float32), 8)
    check_unit_rows(found.apply(_rows()))
    np.testing.assert_array_equal(found.components.T @ found.components, np.eye(8))
