"""Uses of words drawn from a corpus."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from embedder.function_words import find_function_words
from embedder.records import hash_text
from embedder.use_sample import CANDIDATES, STRETCH, UseSample
from embedder.words import find_words, word_form


@pytest.fixture(scope="module")
def texts(sample_corpus: Path) -> list[str]:
    """600 paragraphs of Wikipedia."""
    found: list[str] = pq.read_table(sample_corpus, columns=["text"])["text"].to_pylist()[:600]
    return found


def test_uses_are_of_their_texts(texts: list[str]) -> None:
    """Each use is a whole word of the text that it names, in a stretch of it, no function word,
    and none comes twice; few are of one word."""
    sample = UseSample(300, seed=1)
    sample.add(texts)
    drawn = sample.draw()
    function_words = find_function_words(texts)
    assert len(drawn) == 300 == len(set(drawn)) and "the" in function_words
    counts: Counter[str] = Counter()
    text_of = {hash_text(text) >> 1: text for text in texts}
    for use, number in drawn:
        word = use.text[use.start : use.end]
        counts[word_form(word)] += 1
        assert use.text in text_of[number]
        assert (use.start, use.end) in {(w.start, w.end) for w in find_words(use.text)}
        assert len(use.text) <= 2 * STRETCH + len(word)
    assert not set(counts) & function_words
    assert max(counts.values()) <= 2


def test_batches_do_not_matter(texts: list[str]) -> None:
    """What is drawn depends on the texts and the seed alone."""

    def draw(size: int, seed: int) -> list[object]:
        sample = UseSample(50, seed)
        for start in range(0, len(texts), size):
            sample.add(texts[start : start + size])
        return list(sample.draw())

    assert draw(7, 1) == draw(600, 1) != draw(600, 2)


def test_every_place_is_drawn_alike() -> None:
    """Uses come from the beginning, the middle and the end of a corpus alike."""
    texts = [f"w{i}x" for i in range(4000)]
    places = {hash_text(text) >> 1: place for place, text in enumerate(texts)}
    numbers: list[int] = []
    for seed in range(20):
        sample = UseSample(100, seed)
        sample.add(texts)
        numbers += [places[number] for _, number in sample.draw()]
    counts = np.histogram(numbers, bins=8, range=(0, 4000))[0]
    assert counts.sum() == 2000
    assert abs(counts / 250 - 1).max() < 0.25


def test_memory_is_bounded(texts: list[str]) -> None:
    """No more is kept than a few times what is wanted."""
    sample = UseSample(10, seed=0)
    sample.add(texts)
    assert len(sample._kept) == CANDIDATES * 10 and sample.n_texts == 600


def test_a_small_corpus_gives_what_it_has() -> None:
    """All its words, where it has fewer than are wanted."""
    sample = UseSample(100, seed=0)
    sample.add(["a bank", "", "42 ?"])
    assert sorted(u.text[u.start : u.end] for u, _ in sample.draw()) == ["a", "bank"]
