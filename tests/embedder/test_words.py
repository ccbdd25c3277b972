"""Words: any script's, looked up by case-folded form, parts of joined words each for itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.records import is_utf8
from embedder.words import find_surfaces, find_words, surface_form, word_form

TEXT = st.text(max_size=80).filter(is_utf8)


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("The bank's river-bank", ["the", "bank", "s", "river", "bank"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("ΣΊΣΥΦΟΣ σίσυφος", ["σίσυφοσ", "σίσυφοσ"]),
        ("हिन्दी शब्द", ["हिन्दी", "शब्द"]),
        ("東京タワー", ["東", "京", "タワー"]),
        ("か\u3099き カ\u3099ム", ["が", "き", "ガム"]),
        ("ភាសា ខ្មែរ", ["ភាសា", "ខ្មែរ"]),
        ("رحمٰن", ["رحمٰن"]),
        ("می\u200cخواهم \u200cبه\u200c", ["می\u200cخواهم", "به"]),
        ("B2B 42 3rd 1,000", ["b2b", "3rd"]),
        ("_under_score_", ["under", "score"]),
        ("", []),
    ],
)
def test_words_of_a_text(text: str, forms: list[str]) -> None:
    """Runs of letters, marks and digits with a letter, folded; signs and numbers are none."""
    assert [word.form for word in find_words(text)] == forms


@given(TEXT)
def test_spans_hold_the_words(text: str) -> None:
    """Spans come in order, do not overlap, and the text in each has the word's form."""
    end = 0
    for word in find_words(text):
        assert end <= word.start < word.end <= len(text)
        assert word_form(text[word.start : word.end]) == word.form
        end = word.end


@given(TEXT)
def test_surfaces_are_the_words_in_bulk(text: str) -> None:
    """The forms of the surfaces, numbers left out, are those of the words, in order."""
    forms = map(surface_form, find_surfaces(text))
    assert [form for form in forms if form] == [word.form for word in find_words(text)]


@given(TEXT)
def test_a_form_is_its_own_form(text: str) -> None:
    """Folding twice is folding once, so that a form can be looked up by itself."""
    for word in find_words(text):
        assert word_form(word.form) == word.form


@given(TEXT, TEXT)
def test_words_do_not_depend_on_the_rest(text: str, more: str) -> None:
    """What stands behind a space does not change the words before it."""
    before = list(find_words(text))
    assert list(find_words(f"{text} {more}"))[: len(before)] == before
