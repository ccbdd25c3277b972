"""Vectors of words: what is near, what a use of a word gets, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from embedder.occurrences import Use
from embedder.vectors import normalise
from embedder.vocabulary import Vocabulary
from embedder.word_vectors import WordVectors


def make_vectors(rows: list[list[float]] | np.ndarray) -> WordVectors:
    """Vectors of the words `wa`, `wb`, ..."""
    forms = tuple(f"w{chr(97 + i)}" for i in range(len(rows)))
    counts = np.arange(len(rows), 0, -1)
    return WordVectors(Vocabulary(forms, counts), np.array(rows, dtype=np.float32))


def test_neighbours_are_the_nearest() -> None:
    """The k nearest by cosine come in order, whatever their lengths, without those left out."""
    vectors = make_vectors(np.random.default_rng(0).normal(size=(26, 5)) * 9)
    units = vectors.rows / np.linalg.norm(vectors.rows, axis=1, keepdims=True)
    cosines = units @ units[3]
    order = [i for i in np.argsort(-cosines).tolist() if i not in (3, 7)]
    found = vectors.nearest(vectors.units[3], 6, without=[3, 7])
    assert [place for place, _ in found] == order[:6]
    assert [score for _, score in found] == pytest.approx(cosines[order[:6]])


@pytest.mark.parametrize("k", [2, 3, 50])
def test_no_more_than_there_are(k: int) -> None:
    """Where fewer words are left than asked for, all of them come."""
    vectors = make_vectors([[1, 0], [0, 1], [1, 1]])
    assert len(vectors.nearest(vectors.units[0], k, without=[0])) == 2


def test_a_use_is_its_word_and_those_around() -> None:
    """A use has its word's vector and the mean of the others' beside it, common part taken away;
    words without a vector are passed over."""
    vectors = make_vectors([[2, 0, 0], [0, 3, 0], [0, 0, 1], [-1, 0, 0]])
    centred = normalise(vectors.units - vectors.units.mean(axis=0))
    [row] = vectors.encode_uses([Use("Wb, unknown WA 7 wd", 12, 14)])
    around = normalise(((centred[1] + centred[3]) / 2)[None])[0]
    assert row == pytest.approx(np.concatenate([centred[0], around]) / np.sqrt(2), abs=1e-6)


def test_a_word_is_the_same_in_every_text() -> None:
    """The own half does not know the context: that is what static means."""
    vectors = make_vectors(np.random.default_rng(0).normal(size=(5, 4)))
    rows = vectors.encode_uses([Use("wa wb wc", 0, 2), Use("wd wa we", 3, 5)])
    assert rows[0, :4] == pytest.approx(rows[1, :4], abs=1e-6)
    assert not np.allclose(rows[0, 4:], rows[1, 4:])


def test_nothing_known_is_zero() -> None:
    """A use of which no word has a vector is a zero row, not a NaN."""
    vectors = make_vectors([[1, 0], [0, 1]])
    assert vectors.encode_uses([Use("other words", 0, 5)]).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((2, 2)), "float64"),
        (np.ones(2, np.float32), "wanted float32"),
        (np.ones((3, 2), np.float32), "3 rows for 2 words"),
        (np.array([[1, np.nan], [1, 1]], np.float32), "not finite"),
    ],
)
def test_vectors_check_themselves(rows: np.ndarray, message: str) -> None:
    """Rows of another type, shape or number, and those that are not finite, are refused."""
    with pytest.raises(ValueError, match=message):
        WordVectors(Vocabulary(("a", "b"), np.array([2, 1])), rows)
