"""Exact search of vectors that come block by block."""

from __future__ import annotations

import numpy as np
import pytest

from embedder.vectors import Rows, normalise
from indexes import nearest
from indexes.nearest import NearestDocuments


def unit(n: int, seed: int) -> Rows:
    """Random unit rows."""
    rows = np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)
    return normalise(rows)


def test_it_is_the_whole_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the documents come, and whatever is held at once, each query gets the documents
    with the nearest passages, in order."""
    queries, rows = unit(7, 0), unit(60, 1)
    documents = np.sort(np.random.default_rng(2).integers(0, 25, 60))
    scores = np.full((7, 25), -np.inf, dtype=np.float32)
    for row, document in zip(rows, documents, strict=True):
        scores[:, document] = np.maximum(scores[:, document], queries @ row)
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    edges = [0, *(np.flatnonzero(np.diff(documents)) + 1).tolist(), 60]
    for n_queries, n_rows, n_parts in [(256, 4096, 1), (2, 5, 1), (3, 1, 4), (256, 9, 20)]:
        monkeypatch.setattr(nearest, "QUERY_BLOCK", n_queries)
        monkeypatch.setattr(nearest, "ROW_BLOCK", n_rows)
        found = NearestDocuments(queries, 10)
        cuts = [edges[i] for i in range(0, len(edges) - 1, len(edges) // n_parts)]
        for start, end in zip(cuts, [*cuts[1:], 60], strict=True):
            found.add(rows[start:end], documents[start:end])
        np.testing.assert_array_equal(found.numbers, wanted)
        best = np.take_along_axis(scores, wanted, axis=1)
        np.testing.assert_allclose(found.scores, best, atol=1e-6)


def test_fewer_documents_than_asked_for() -> None:
    """Where there are no more documents there is -1 and -inf."""
    found = NearestDocuments(unit(2, 0), 3)
    found.add(unit(2, 1), np.array([4, 4]))
    assert found.numbers.tolist() == [[4, -1, -1]] * 2
    assert np.isneginf(found.scores[:, 1:]).all() and np.isfinite(found.scores[:, 0]).all()


def test_equal_documents_stay_in_order() -> None:
    """Of documents with one vector the first come first."""
    row = unit(1, 0)
    found = NearestDocuments(row, 3)
    found.add(np.repeat(row, 2, axis=0), np.array([0, 1]))
    found.add(np.repeat(row, 2, axis=0), np.array([2, 3]))
    assert found.numbers.tolist() == [[0, 1, 2]]


def test_vectors_are_checked() -> None:
    """What is no unit vector is an error, and so are numbers that are not in order."""
    found = NearestDocuments(unit(1, 0), 1)
    with pytest.raises(ValueError, match="unit"):
        found.add(np.full((1, 8), np.nan, dtype=np.float32), np.array([0]))
    with pytest.raises(ValueError, match="ascending"):
        found.add(unit(2, 1), np.array([1, 0]))
    with pytest.raises(ValueError, match="unit"):
        NearestDocuments(2 * unit(1, 0), 1)
