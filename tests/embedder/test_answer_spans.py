"""The best span, and when not to answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.answer_spans import best_span, fit_threshold

SCORES = st.lists(st.integers(-9, 9), min_size=1, max_size=12)


@given(starts=SCORES, data=st.data(), most=st.integers(1, 15))
def test_the_best_span_is_the_best_of_all(
    starts: list[int], data: st.DataObject, most: int
) -> None:
    """No span that is short enough has a higher sum than the one that is found."""
    n = len(starts)
    ends = data.draw(st.lists(st.integers(-9, 9), min_size=n, max_size=n))
    found = best_span(np.array(starts, np.float64), np.array(ends, np.float64), most)
    spans = [(i, j) for i, j in itertools.product(range(n), range(n)) if i <= j < i + most]
    assert found is not None and found[:2] in spans
    assert found.score == max(starts[i] + ends[j] for i, j in spans)
    assert found.score == starts[found.first] + ends[found.last]


def test_there_may_be_no_span() -> None:
    """Nothing is found among no pieces."""
    assert best_span(np.empty(0, np.float64), np.empty(0, np.float64), 5) is None


@given(
    rows=st.lists(
        st.tuples(st.integers(-5, 5), st.sampled_from([0, 0.5, 1]), st.sampled_from([0, 1])),
        min_size=1,
        max_size=10,
    )
)
def test_no_threshold_is_better(rows: list[tuple[float, float, float]]) -> None:
    """No other threshold gives a higher mean, and none has to lie on a margin."""
    margins, answered, silent = np.array(rows, dtype=np.float64).T

    def mean(threshold: float) -> float:
        return float(np.where(margins > threshold, answered, silent).mean())

    found = fit_threshold(margins, answered, silent)
    assert mean(found) == pytest.approx(max(mean(t + 0.5) for t in range(-7, 7)))
    assert found not in margins
