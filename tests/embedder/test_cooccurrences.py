"""Counts of co-occurrences: those of the definition, whatever memory there is."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from embedder.cooccurrences import LEAST_SIDES, Blocks, Cooccurrences, count_cooccurrences
from embedder.errors import RequestError
from embedder.word_stream import WordStream, write_stream

Table = dict[tuple[str, str], float]


def make_texts(n: int, seed: int = 3) -> list[str]:
    """Texts of 0 to 60 words out of 80, the first of which are the most frequent."""
    chance = random.Random(seed)
    words = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(80)]
    weights = [1 / (1 + i) for i in range(80)]
    return [" ".join(chance.choices(words, weights, k=chance.randint(0, 60))) for _ in range(n)]


def count(
    texts: list[str], folder: Path, window: int, memory: int = 1 << 26
) -> tuple[WordStream, Cooccurrences]:
    """Co-occurrences of texts."""
    folder.mkdir()
    stream = write_stream([texts], folder, least_count=2, memory=1 << 24)
    found = count_cooccurrences(stream, folder, window=window, memory=memory, seed=5)
    return stream, found


def by_definition(texts: list[str], stream: WordStream, window: int) -> Table:
    """The sum of 1/d over pairs up to a window apart, rare words left out before that."""
    table: Table = defaultdict(float)
    for text in texts:
        words = [word for word in text.split() if word in stream.vocabulary.forms]
        for i, word in enumerate(words):
            for distance in range(1, min(window, i) + 1):
                table[word, words[i - distance]] += 1 / distance
                table[words[i - distance], word] += 1 / distance
    return table


def as_table(stream: WordStream, found: Cooccurrences) -> Table:
    """All cells by their words."""
    word_at = dict(zip(found.blocks.place.tolist(), stream.vocabulary.forms, strict=True))
    table: Table = {}
    for number in range(found.blocks.n_sides**2):
        block = divmod(number, found.blocks.n_sides)
        rows, columns, counts = found.block(number)
        for row, column, value in zip(
            rows.tolist(), columns.tolist(), counts.tolist(), strict=True
        ):
            places = (side * found.blocks.side + at for side, at in zip(block, (row, column)))  # noqa: B905
            pair = tuple(word_at[place] for place in places)
            assert pair not in table
            table[pair[0], pair[1]] = value
    return table


@pytest.mark.parametrize("window", [1, 4, 60])
def test_counts_are_those_of_the_definition(tmp_path: Path, window: int) -> None:
    """Each pair within the window counts 1/d in both directions, and only within a document."""
    texts = make_texts(40)
    stream, found = count(texts, tmp_path / "x", window)
    assert as_table(stream, found) == pytest.approx(dict(by_definition(texts, stream, window)))


def test_memory_changes_nothing(tmp_path: Path) -> None:
    """Counted in many parts that are merged, the cells are the same to the last bit."""
    texts = make_texts(150)
    files = []
    for memory in (1 << 26, 1):
        folder = tmp_path / str(memory)
        _, found = count(texts, folder, 8, memory)
        assert not list(folder.glob("run-*"))
        cells = [(folder / f"{name}.bin").read_bytes() for name in ("rows", "columns", "counts")]
        files.append((*cells, found.starts.tolist()))
    assert files[0] == files[1]
    assert len(files[0][2]) > 0


def test_rows_ascend_in_a_block(tmp_path: Path) -> None:
    """Cells of a block come row after row, as a sparse matrix wants them."""
    _, found = count(make_texts(60), tmp_path / "x", 5)
    assert found.blocks.n_sides > 1
    for number in range(found.blocks.n_sides**2):
        rows, columns, _ = found.block(number)
        keys = rows.astype(int) * (1 << 16) + columns
        assert (np.diff(keys) > 0).all()


@pytest.mark.parametrize("n_words", [2, 25, 1000, 300_000])
def test_blocks_hold_every_word_once(n_words: int) -> None:
    """Places are a permutation, they fit the blocks, and few words have blocks of their own."""
    blocks = Blocks.draw(n_words, 50 * n_words, seed=1)
    assert (np.sort(blocks.place) == np.arange(n_words)).all()
    assert blocks.side * blocks.n_sides >= n_words > blocks.side * (blocks.n_sides - 1)
    assert blocks.n_sides >= min(n_words, LEAST_SIDES) // 2


def test_words_that_stand_alone(tmp_path: Path) -> None:
    """Texts of one word each have no pairs, which is an error that says what to do."""
    with pytest.raises(RequestError, match=r"No two frequent words.*--least-count"):
        count(["a", "a", "b", "b"], tmp_path / "x", 5)
