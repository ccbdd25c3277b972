"""ROUGE against several references, and the first sentence."""

from __future__ import annotations

import pytest

from embedder.rouge import first_sentence, measure_rouge


def test_scores_worked_by_hand() -> None:
    """The nearest reference of each measure counts, words are stemmed, and texts are averaged."""
    found = measure_rouge(
        ["the cats sat down", "nothing"], [["a dog", "the cat sits on the mat"], ["river"]]
    )
    # the, cat of 4 and 6 words: precision 1/2, recall 1/3; one pair of 3 and 5
    assert found == pytest.approx({"rouge1": 0.4 / 2, "rouge2": 0.25 / 2, "rougeL": 0.4 / 2})


def test_nothing_written_scores_nothing() -> None:
    """An empty text has no words in common with any."""
    assert set(measure_rouge([""], [["river"]]).values()) == {0.0}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Rates rose. The bank fell.", "Rates rose."),
        ("  no end in sight ", "no end in sight"),
        ("A title\n\nThen more. And more.", "A title"),
    ],
)
def test_the_first_sentence(text: str, sentence: str) -> None:
    """The lead ends at the first end of a sentence or of a paragraph."""
    assert first_sentence(text) == sentence
