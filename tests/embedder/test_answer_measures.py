"""Exact match and F1 as SQuAD defines them."""

from __future__ import annotations

import pytest

from embedder.answer_measures import measure_answers, score_answer


@pytest.mark.parametrize(
    ("found", "wanted", "exact_match", "f1"),
    [
        ("The Eiffel Tower!", ["eiffel  tower"], 1, 1),
        ("tower", ["Eiffel Tower", "the big tower"], 0, 2 / 3),
        ("a bank of the river", ["river bank"], 0, 0.8),
        ("Denver Broncos Denver", ["Denver Broncos"], 0, 0.8),
        ("Santa Clara", ["1973"], 0, 0),
        (None, ["1973"], 0, 0),
        (None, [], 1, 1),
        ("1973", [], 0, 0),
        ("the", ["The"], 1, 1),
    ],
)
def test_scores_worked_by_hand(
    found: str | None, wanted: list[str], exact_match: float, f1: float
) -> None:
    """Case, punctuation, articles and spaces do not count; the nearest answer does; words are
    counted as often as both have them; silence is right where there is no answer."""
    score = score_answer(found, wanted)
    assert score == pytest.approx((exact_match, f1))


def test_means_by_kind_of_question() -> None:
    """Where some questions have an answer and some none, both are also measured apart."""
    found = measure_answers(["river", None, "x", None], [["the river"], ["bank"], [], []])
    assert found == {
        "exact_match": 0.5,
        "f1": 0.5,
        "has_answer_exact_match": 0.5,
        "has_answer_f1": 0.5,
        "no_answer_f1": 0.5,
    }
    assert set(measure_answers(["x"], [["x"]])) == {"exact_match", "f1"}
