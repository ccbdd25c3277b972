"""BIO tags: what is well formed, and the likeliest tags that are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.bio import BioDecoder, first_break, is_bio, not_of_bio

TAGS = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (TAGS, True),
        (("O", "B-a-b"), True),
        (("O", "I-X"), False),
        (("O",), False),
        (("B-X", "I-X", "NOUN"), False),
        (("B-", "O"), False),
        ((0, 1), False),
    ],
)
def test_bio_is_known_by_its_labels(labels: tuple[object, ...], expected: bool) -> None:
    """All labels are O, B-... or I-..., and one begins a span."""
    assert is_bio(labels) is expected


@pytest.mark.parametrize(
    ("labels", "strange"),
    [
        (TAGS, set()),
        ((*TAGS, "B_PER"), {"B_PER"}),
        ((*TAGS, "b-PER", "X"), {"b-PER", "X"}),
        ((*TAGS, "E-PER", "S-LOC"), set()),  # another scheme
        (("NOUN", "B-X", "VERB"), set()),  # without O
        (("NOUN", "O"), set()),
        ((0, 1), set()),
    ],
)
def test_a_mistyped_tag_is_found(labels: tuple[object, ...], strange: set[str]) -> None:
    """One that is no BIO tag, among others that are."""
    assert not_of_bio(labels) == strange


@pytest.mark.parametrize(
    ("tags", "broken"),
    [
        ("O B-PER I-PER I-PER O", None),
        ("B-PER B-PER I-PER", None),
        ("I-PER", 0),
        ("O I-PER", 1),
        ("B-PER I-LOC", 1),
        ("B-PER O I-PER", 2),
        ("", None),
    ],
)
def test_the_first_break_is_found(tags: str, broken: int | None) -> None:
    """I- has to go on with a span of its own kind."""
    assert first_break(tags.split()) == broken


@settings(max_examples=60)
@given(n_words=st.integers(0, 4), seed=st.integers(0, 10_000))
def test_the_likeliest_well_formed_tags_are_found(n_words: int, seed: int) -> None:
    """The decoder agrees with trying all sequences."""
    scores = np.log(np.random.default_rng(seed).dirichlet(np.ones(len(TAGS)) / 2, n_words) + 1e-9)
    found = BioDecoder(TAGS)(scores.reshape(n_words, len(TAGS)))
    every = itertools.product(range(len(TAGS)), repeat=n_words)
    allowed = [x for x in every if first_break([TAGS[i] for i in x]) is None]
    best = max(allowed, key=lambda x: sum(scores[word, tag] for word, tag in enumerate(x)))
    assert tuple(found.tolist()) == best
