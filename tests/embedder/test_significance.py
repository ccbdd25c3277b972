"""Counts that differ by more than chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from embedder.significance import chance


@pytest.mark.parametrize("table", [[[60, 40], [30, 70]], [[5, 0], [1, 9]], [[3, 4, 5], [9, 1, 2]]])
def test_chance_is_the_likelihood_ratio_test(table: list[list[int]]) -> None:
    """The probability is the one that scipy has for the same test."""
    found = chance(np.array(table))
    wanted = chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue
    assert found == pytest.approx(wanted)


def test_nothing_to_compare_is_chance() -> None:
    """Equal shares, a single row or a single column prove nothing."""
    for table in ([[10, 20], [20, 40]], [[0, 0], [3, 4]], [[5, 0], [9, 0]]):
        assert chance(np.array(table)) == pytest.approx(1)
