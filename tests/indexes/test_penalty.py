"""Penalties, and searches within some passages: as a look at every passage finds."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import WIDTH, commit, unit_rows, write_segment

from indexes.layout import Layout
from indexes.penalty import Penalty
from indexes.searcher import Searcher


def test_penalties_add_up() -> None:
    """A passage loses what all penalties together take."""
    first = Penalty(np.array([2, 5]), np.array([0.25, 0.5], np.float32))
    second = Penalty(np.array([5, 9]), np.array([0.25, 1], np.float32))
    both = Penalty.sum([Penalty.none(), first, second])
    np.testing.assert_array_equal(both.positions, [2, 5, 9])
    np.testing.assert_allclose(both.amounts, [0.25, 0.75, 1])
    places = np.array([[5, 3, -1]])
    np.testing.assert_allclose(both.lower(places, np.ones((1, 3), np.float32)), [[0.25, 1, 1]])


def test_positions_have_to_ascend() -> None:
    """A penalty checks itself where it is made."""
    with pytest.raises(ValueError, match="ascend"):
        Penalty(np.array([5, 2]), np.array([1, 1], np.float32))


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    """Two segments of 300 passages."""
    layout = Layout(tmp_path_factory.mktemp("penalty") / "an.index")
    layout.root.mkdir(exist_ok=True)
    segments = [write_segment(layout, name, unit_rows(300, seed=i)) for i, name in enumerate("ab")]
    return Searcher(layout, commit(layout, segments))


@pytest.mark.parametrize("k", [1, 7, 40, 1000])
@pytest.mark.parametrize("n_lowered", [0, 5, 300, 600])
def test_search_with_a_penalty_is_exact(searcher: Searcher, k: int, n_lowered: int) -> None:
    """The best after penalties are found, however many of the best before them are lowered."""
    rng = np.random.default_rng(n_lowered)
    query = unit_rows(1, seed=77)
    stored = searcher.passages.stored.take(np.arange(600)).astype(np.float32)
    scores = (query @ stored.T)[0]
    lowered = np.sort(np.argsort(-scores)[:n_lowered])
    amounts = rng.uniform(0, 1, n_lowered).astype(np.float32)
    scores[lowered] -= amounts
    wanted = np.sort(scores)[::-1][:k]
    answer = searcher.answer(query, k, penalty=Penalty(lowered, amounts))
    found = [neighbour.score for neighbour in answer.neighbours[0]]
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_search_within_some_passages(searcher: Searcher) -> None:
    """Only those are found, and k of them where k exist."""
    query = unit_rows(1, seed=78)
    within = np.zeros(600, dtype=np.bool_)
    within[[3, 299, 300, 599]] = True
    answer = searcher.answer(query, 10, within=within)
    assert len(answer.neighbours[0]) == 4
    assert answer.plan.n_allowed == 4
    assert not searcher.answer(query, 10, within=np.zeros(600, dtype=np.bool_)).neighbours[0]
    assert query.shape[1] == WIDTH
