"""Function words come out of the corpus itself."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow.parquet as pq

from embedder.function_words import LEAST_WORDS, find_function_words


def test_english_function_words(sample_corpus: Path) -> None:
    """The words that hold English texts together are found; what texts are about is not."""
    texts = pq.read_table(sample_corpus, columns=["text"])["text"].to_pylist()[:2000]
    found = find_function_words(texts)
    assert {"the", "of", "and", "in", "to", "a", "is", "was", "for", "that", "with"} <= found
    assert not {"bank", "river", "java", "music", "war", "city", "he", "game", "species"} & found
    assert 20 < len(found) < 80


def test_a_language_that_nobody_knows() -> None:
    """In made-up text, what is everywhere is a function word; what comes in bursts is not, and
    neither is a word that stands once in each text."""
    chance = random.Random(7)
    topics = [[f"topic{i}x{j}" for j in range(20)] for i in range(30)]
    texts = []
    for i in range(600):
        words = chance.choices(["ka", "mo", "ti"], k=40) + chance.choices(topics[i % 30], k=40)
        chance.shuffle(words)
        texts.append(" ".join(["once", *words]))
    assert find_function_words(texts) == {"ka", "mo", "ti"}


def test_too_little_text_has_none() -> None:
    """A few texts do not show which of their frequent words are function words."""
    text = "the river and the bank"
    assert find_function_words([text] * (LEAST_WORDS // 5 - 1)) == frozenset()
