"""Word2Vec, trained by gensim: skip-grams with negative samples (Mikolov et al. 2013)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from embedder.vectors import Rows
from embedder.word_stream import WordStream

LONGEST_SENTENCE = 10_000
"""Words; gensim cuts off what is longer."""

SUBSAMPLING = 1e-4
"""Words that are more frequent than this share are passed over at times."""

NEGATIVE = 5
"""Words drawn by chance beside each true one."""


@dataclass(frozen=True, kw_only=True)
class Word2VecOptions:
    """How to train.

    Args:
        width: components of a vector.
        window: most words between a word and one that is predicted from it.
        epochs: times that the text is read.
        seed: of all that is drawn by chance.
        threads: with more than one, vectors differ a little between runs.
    """

    width: int = 100
    window: int = 5
    epochs: int = 5
    seed: int = 0
    threads: int = 1


def train_word2vec(
    stream: WordStream,
    options: Word2VecOptions,
    reach: Callable[[int, int], None] = lambda done, total: None,
) -> Rows:
    """Vectors of words, float32, shape (n_words, width), in the order of the vocabulary.

    Args:
        stream: the text.
        options: how to train.
        reach: told how many running words of how many are read, over all epochs.
    """
    from gensim.models import Word2Vec

    logging.getLogger("gensim").setLevel(logging.ERROR)  # it warns of corpora it finds small
    vocabulary = stream.vocabulary
    model = Word2Vec(
        vector_size=options.width,
        window=options.window,
        sg=1,
        negative=NEGATIVE,
        sample=SUBSAMPLING,
        min_count=1,  # the vocabulary has been cut already
        seed=options.seed,
        workers=options.threads,
        epochs=options.epochs,
    )
    counts = dict(zip(vocabulary.forms, vocabulary.counts.tolist(), strict=True))
    model.build_vocab_from_freq(counts, corpus_count=stream.n_documents)
    sentences = _Sentences(stream, options.epochs, reach)
    model.train(
        corpus_iterable=sentences,
        total_words=vocabulary.n_uses,
        epochs=options.epochs,
    )
    if sentences.error is not None:
        raise sentences.error
    places = [model.wv.key_to_index[form] for form in vocabulary.forms]
    rows: Rows = np.ascontiguousarray(model.wv.vectors[places], dtype=np.float32)
    return rows


class _Sentences:
    """The text as gensim reads it: again for each epoch, in a thread of its own.

    An error there would leave gensim waiting for ever, so it is kept for whoever started it.
    """

    def __init__(self, stream: WordStream, epochs: int, reach: Callable[[int, int], None]) -> None:
        self._stream, self._reach = stream, reach
        self._n_total = stream.vocabulary.n_uses * epochs
        self._n_done = 0
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[list[str]]:
        forms = self._stream.vocabulary.forms
        try:
            for numbers in self._stream.documents(LONGEST_SENTENCE):
                yield [forms[number] for number in numbers.tolist()]
                self._n_done += len(numbers)
                self._reach(self._n_done, self._n_total)
        except Exception as error:  # noqa: BLE001 - raised again by `train_word2vec`
            self.error = error
