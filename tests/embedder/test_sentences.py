"""Sentences are stretches of their text that lose nothing but the space between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.sentences import split_sentences

TEXTS = st.text(st.sampled_from("aBé猫0 .!?…。\n\"'()”’"), max_size=60) | st.text(max_size=60)


@given(TEXTS)
def test_sentences_are_in_order_and_apart(text: str) -> None:
    """Spans are not empty, lie inside the text, and each starts where the last ended or later."""
    flat = [edge for span in split_sentences(text) for edge in span]
    assert flat == sorted(flat)
    assert all(0 <= start < end <= len(text) for start, end in split_sentences(text))


@given(TEXTS)
def test_sentences_lose_only_space(text: str) -> None:
    """All characters but white space are in some sentence."""
    joined = "".join(text[start:end] for start, end in split_sentences(text))
    assert "".join(joined.split()) == "".join(text.split())


@given(TEXTS)
def test_sentences_have_no_space_around_them(text: str) -> None:
    """A sentence neither begins nor ends with white space."""
    for start, end in split_sentences(text):
        assert text[start:end] == text[start:end].strip()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        (" \n ", []),
        ("no end", ["no end"]),
        (" One. Two!  Three? ", ["One.", "Two!", "Three?"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("Dr. Smith met J. Doe. They spoke.", ["Dr. Smith met J. Doe.", "They spoke."]),
        ("It costs 3.50 today. 42 were sold.", ["It costs 3.50 today.", "42 were sold."]),
        ("吾輩は猫である。名前はまだ無い。", ["吾輩は猫である。", "名前はまだ無い。"]),
        ("A title\n\nIts text.", ["A title", "Its text."]),
        ("Es regnet. Über Nacht bleibt es so.", ["Es regnet.", "Über Nacht bleibt es so."]),
        ("see e.g. the example. it goes on", ["see e.g. the example. it goes on"]),
    ],
)
def test_worked_examples(text: str, wanted: list[str]) -> None:
    """Abbreviations, initials, decimals, quotes, headings and CJK stops split as a reader would."""
    assert [text[start:end] for start, end in split_sentences(text)] == wanted
