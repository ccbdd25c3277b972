"""Word2Vec: the same vectors every time, of words in the order of the vocabulary."""

from __future__ import annotations

import random

import numpy as np
import pytest

from embedder.vectors import normalise
from embedder.word2vec import Word2VecOptions, train_word2vec
from embedder.word_stream import WordStream, write_stream

PETS, METALS = ["cat", "dog", "hamster", "rabbit"], ["iron", "copper", "zinc", "tin"]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> WordStream:
    """Texts about pets and texts about metals."""
    chance = random.Random(1)
    texts = [" ".join(chance.choices((PETS, METALS)[i % 2], k=30)) for i in range(400)]
    folder = tmp_path_factory.mktemp("stream")
    return write_stream([texts], folder, least_count=1, memory=1 << 24)


def test_words_of_one_context_lie_together(stream: WordStream) -> None:
    """Each row is of the word of its place: pets are near pets, and metals near metals."""
    # Most uses of words as frequent as these are passed over, so many epochs are needed.
    rows = normalise(train_word2vec(stream, Word2VecOptions(width=12, epochs=60)))
    is_pet = np.array([form in PETS for form in stream.vocabulary.forms])
    cosines = rows @ rows.T
    apart = cosines[is_pet][:, ~is_pet]
    together = cosines[is_pet][:, is_pet][~np.eye(4, dtype=bool)]
    assert together.min() > apart.max()


def test_equal_seeds_give_equal_vectors(stream: WordStream) -> None:
    """The same seed gives the same bits, another one other vectors."""
    one, same, other = (
        train_word2vec(stream, Word2VecOptions(width=8, epochs=2, seed=seed)) for seed in (1, 1, 2)
    )
    assert one.shape == (8, 8) and one.dtype == np.float32
    assert one.tobytes() == same.tobytes()
    assert not np.allclose(one, other)


def test_progress_reaches_its_end(stream: WordStream) -> None:
    """All words of all epochs are told of."""
    told: list[tuple[int, int]] = []
    train_word2vec(stream, Word2VecOptions(width=4, epochs=3), lambda *at: told.append(at))
    assert told[-1] == (3 * 12_000, 3 * 12_000)


def test_an_error_in_the_middle_is_raised(stream: WordStream) -> None:
    """What fails while gensim reads ends the training with that error, and does not hang."""

    def fail(done: int, total: int) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        train_word2vec(stream, Word2VecOptions(width=4, epochs=2), fail)
