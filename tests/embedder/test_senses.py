"""Senses are groups of uses: found where there are some, and not where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from embedder.senses import LEAST_USES, MOST_LINKED, assign, induce, match
from embedder.vectors import Rows, check_unit_rows, normalise

WIDTH = 64
SPREAD = 3.2  # of uses in a topic, where topics lie two apart


def _clouds(*sizes: int, spread: float = 0.08, seed: int = 0) -> Rows:
    """Uses around a place of their own for each size, in a mixed order."""
    rng = np.random.default_rng(seed)
    places = normalise(np.random.default_rng(99).standard_normal((9, WIDTH)).astype(np.float32))
    centres = np.repeat(places[: len(sizes)], sizes, axis=0)
    noise = rng.standard_normal(centres.shape).astype(np.float32) * np.float32(spread)
    return rng.permutation(normalise(centres + noise))


@pytest.mark.parametrize("n", [1, 2, 9, 20, 200, 2000])
def test_one_cloud_is_one_sense(n: int) -> None:
    """Uses around one place have one sense, however many there are."""
    found = induce(_clouds(n))
    assert len(found.centroids) == 1
    assert not found.labels.any()
    np.testing.assert_array_equal(found.confidences, np.ones(n))


@pytest.mark.parametrize("sizes", [(30, 10), (200, 20), (50, 50), (3000, 500), (60, 40, 20)])
def test_far_clouds_are_senses(sizes: tuple[int, ...]) -> None:
    """Clouds far from one another are senses, whatever their sizes, the largest first."""
    found = induce(_clouds(*sizes))
    np.testing.assert_array_equal(np.bincount(found.labels), sizes)
    check_unit_rows(found.centroids)


def test_tiny_groups_are_not_senses() -> None:
    """Fewer uses than five are no sense, far as they may be."""
    assert len(induce(_clouds(100, LEAST_USES - 1)).centroids) == 1


def _topics(cohesion: float, n: int = 60) -> Rows:
    """Uses in two topics, equally separate, whose cosines within a topic are about `cohesion`."""
    rng = np.random.default_rng(3)
    topics = np.zeros((n, 128), dtype=np.float32)
    topics[: n // 2, 0], topics[n // 2 :, 0] = 1, -1
    spread = rng.standard_normal((n, 128)).astype(np.float32) / np.float32(np.sqrt(128))
    spread[:, :2] = 0
    apart = topics + np.float32(SPREAD) * spread
    common = np.zeros((1, 128), dtype=np.float32)
    common[0, 1] = np.sqrt((cohesion * (1 + SPREAD**2) - 1) / (1 - cohesion))
    return normalise(apart + common)


def test_topics_of_a_loose_word_are_not_senses() -> None:
    """Of two words whose topics lie equally far apart, the one with tight uses has two senses."""
    assert len(induce(_topics(0.12)).centroids) == 1
    assert len(induce(_topics(0.6)).centroids) == 2


@pytest.mark.parametrize("n", [20, 50, 300])
def test_two_words_as_one_are_told_apart(n: int) -> None:
    """Uses of two words taken for one word fall into two senses; half of one word's into one."""
    one, other = _clouds(n, spread=0.12), -_clouds(n, spread=0.12, seed=1)
    found = induce(np.concatenate([one, other]))
    np.testing.assert_array_equal(found.labels[:n], found.labels[:1].repeat(n))
    np.testing.assert_array_equal(found.labels[n:], 1 - found.labels[:1].repeat(n))
    assert len(induce(one[::2]).centroids) == 1


def test_same_rows_same_senses() -> None:
    """Inducing twice gives the same bytes."""
    rows = _clouds(300, 200, 100, spread=0.15)
    first, second = induce(rows), induce(rows)
    assert first.labels.tobytes() == second.labels.tobytes()
    assert first.confidences.tobytes() == second.confidences.tobytes()
    assert first.centroids.tobytes() == second.centroids.tobytes()


@pytest.mark.parametrize("sizes", [(40, 25), (MOST_LINKED, 800)])
def test_order_does_not_matter(sizes: tuple[int, ...]) -> None:
    """Uses in another order get the same senses."""
    rows = _clouds(*sizes)
    order = np.random.default_rng(5).permutation(len(rows))
    np.testing.assert_array_equal(induce(rows[order]).labels, induce(rows).labels[order])


def test_assign_agrees_with_induce() -> None:
    """A use that is assigned to the centroids gets the sense that it was induced with."""
    rows = _clouds(80, 40, spread=0.15)
    found = induce(rows)
    labels, confidences = assign(rows, found.centroids)
    np.testing.assert_array_equal(labels, found.labels)
    np.testing.assert_array_equal(confidences, found.confidences)


def test_confidences_fall_between_senses() -> None:
    """A use half-way between two senses is less sure than one at either; all are in [0, 1]."""
    found = induce(_clouds(80, 40))
    halfway = normalise(found.centroids.sum(axis=0, keepdims=True))
    _, sure = assign(found.centroids, found.centroids)
    _, unsure = assign(halfway, found.centroids)
    assert unsure[0] == pytest.approx(0.5, abs=1e-3)
    assert sure.min() > 0.9
    assert found.confidences.min() >= 0 and found.confidences.max() <= 1


def test_match_keeps_senses_of_a_grown_word() -> None:
    """Senses keep their old number after uses are added, though their order has changed."""
    old = induce(_clouds(60, 40)).centroids
    grown = induce(_clouds(60, 90, 30, seed=1)).centroids
    np.testing.assert_array_equal(match(old, grown), [1, 0, -1])


def test_match_of_nothing() -> None:
    """Where there were no senses, none is continued."""
    new = induce(_clouds(30)).centroids
    np.testing.assert_array_equal(match(np.empty((0, WIDTH), np.float32), new), [-1])
