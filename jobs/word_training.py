"""`embedder words train`: one vector a word, from how words stand beside each other."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from embedder.columns import ColumnRequest
from embedder.cooccurrences import count_cooccurrences
from embedder.corpus import Corpus, Shard, open_corpus, read_shards
from embedder.errors import RequestError, SourceError
from embedder.glove import GloveOptions, train_glove
from embedder.vectors import Rows
from embedder.word2vec import Word2VecOptions, train_word2vec
from embedder.word_stream import WordStream, write_stream
from embedder.word_vectors import WordVectors
from jobs.output import check_new_folder
from jobs.progress import Progress
from jobs.word_folder import write_word_folder
from jobs.word_training_options import Method, TrainWordsOptions, check_options
from jobs.working_folder import working_beside

WORD2VEC_EPOCHS = (5, 30)
WORD2VEC_WORDS = 5_000_000
"""Words that Word2Vec reads where no epochs are asked for, within the epochs above. In five
epochs of a small text its vectors hardly leave where they began, and all words are alike."""

BYTES_A_COMPONENT = {Method.WORD2VEC: 12, Method.GLOVE: 20}
"""Of a word while it is trained: two vectors, what their training remembers, the result."""


@dataclass(frozen=True, kw_only=True)
class TrainWordsSummary:
    """What was trained.

    Args:
        folder: where the vectors are.
        method: how they were trained.
        n_words: words with a vector.
        width: components of a vector.
        n_documents: documents read.
        n_running_words: running words in them.
        n_used: those that have a vector.
        n_forgotten: uses that were not counted, because more different words came than fit.
        n_cells: pairs of words that stand near each other, for GloVe.
        loss: mean loss of these after the last epoch, for GloVe.
        counts: rows left out, by reason.
        n_bytes: size of the folder.
        seconds: how long it took.
    """

    folder: Path
    method: Method
    n_words: int
    width: int
    n_documents: int
    n_running_words: int
    n_used: int
    n_forgotten: int
    n_cells: int | None = None
    loss: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    n_bytes: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return {**asdict(self), "folder": str(self.folder), "method": str(self.method)}


def train_words(options: TrainWordsOptions, progress: Progress | None = None) -> TrainWordsSummary:
    """Train vectors of words, and write them; the folder appears when it is complete.

    Equal text and options give equal vectors, unless there are several threads.

    Args:
        options: what, on what and where to.
        progress: told of what happens; silent by default.

    Raises:
        EmbedderError: see the subclasses. Then nothing has been written.
    """
    progress, started = progress or Progress(), time.monotonic()
    options = check_options(options)
    final = check_new_folder(options.out)
    progress.start_stage("opening")
    corpus = open_corpus(options.sources, ColumnRequest(text=options.text, metadata=()))
    shards = corpus.shards(options.limit)
    with working_beside(final) as room:
        stream, counts = _read(corpus, shards, options, room, progress)
        options = replace(options, epochs=options.epochs or _epochs(options.method, stream))
        rows, found = _train(stream, options, room, progress)
        progress.start_stage("writing")
        summary = TrainWordsSummary(
            folder=final,
            method=options.method,
            n_words=len(stream.vocabulary),
            width=options.width,
            n_documents=stream.n_documents,
            n_running_words=stream.n_words,
            n_used=stream.vocabulary.n_uses,
            n_forgotten=stream.n_forgotten,
            counts=dict(counts),
            **found,
        )
        vectors = WordVectors(stream.vocabulary, rows)
        made = {"options": _remembered(options), "corpus": _about(corpus, summary)}
        n_bytes = write_word_folder(final, room / "folder", vectors, options.method, made)
    return replace(summary, n_bytes=n_bytes, seconds=time.monotonic() - started)


def _read(
    corpus: Corpus,
    shards: Sequence[Shard],
    options: TrainWordsOptions,
    room: Path,
    progress: Progress,
) -> tuple[WordStream, Counter[str]]:
    """The running words, on disk, and the rows left out by reason."""
    progress.start_stage("reading", sum(shard.n_rows for shard in shards))
    counts: Counter[str] = Counter()

    def batches() -> Iterator[list[str]]:
        with contextlib.closing(read_shards(shards, corpus)) as opened:
            for rows in opened:
                counts.update(rows.counts)
                yield rows.texts
                progress.count_documents(rows.n_rows)

    stream = write_stream(
        batches(), room, least_count=options.least_count, memory=options.memory // 2
    )
    _check_words(stream, corpus, options)
    return stream, counts


def _check_words(stream: WordStream, corpus: Corpus, options: TrainWordsOptions) -> None:
    """Raise unless there are words enough to train, and not too many."""
    n_words, name = len(stream.vocabulary), corpus.sources[0].file.name
    if not stream.n_documents:
        raise SourceError(
            f"The column {corpus.columns.text!r} of {name} holds no text.",
            "Name another column with --text.",
        )
    if n_words < 2:
        raise RequestError(
            f"Of {stream.n_words:,} running words in {name} too few are frequent: "
            f"{n_words} of them occur {options.least_count} times.",
            "Give more text, or a smaller --least-count.",
        )
    n_bytes = BYTES_A_COMPONENT[options.method] * options.width
    n_fit = options.memory // n_bytes
    if n_words > n_fit:
        least = int(stream.vocabulary.counts[n_fit]) + 1
        raise RequestError(
            f"Vectors of {n_words:,} words take {n_words * n_bytes >> 20:,} MiB to train, and "
            f"--memory allows {options.memory >> 20:,}.",
            f"Allow more, or give --least-count {least} or a smaller --width.",
        )


def _epochs(method: Method, stream: WordStream) -> int:
    """The epochs where none are asked for."""
    if method is Method.GLOVE:
        return GloveOptions.epochs
    least, most = WORD2VEC_EPOCHS
    return max(least, min(most, -(-WORD2VEC_WORDS // stream.vocabulary.n_uses)))


def _train(
    stream: WordStream, options: TrainWordsOptions, room: Path, progress: Progress
) -> tuple[Rows, dict[str, Any]]:
    """The vectors, and what a summary says of how they came to be."""
    assert options.window is not None and options.epochs is not None
    if options.method is Method.WORD2VEC:
        progress.start_stage("training", stream.vocabulary.n_uses * options.epochs, "words")
        asked = Word2VecOptions(
            width=options.width,
            window=options.window,
            epochs=options.epochs,
            seed=options.seed,
            threads=options.threads,
        )
        return train_word2vec(stream, asked, progress.reach), {}
    progress.start_stage("counting", len(stream.numbers), "words")
    found = count_cooccurrences(
        stream,
        room,
        window=options.window,
        memory=options.memory // 2,
        seed=options.seed,
        reach=progress.reach,
    )
    progress.start_stage("training", options.epochs, "epochs")
    losses = []

    def epoch_done(epoch: int, loss: float) -> None:
        losses.append(loss)
        progress.reach(epoch, options.epochs or epoch)

    rows = train_glove(
        found,
        GloveOptions(width=options.width, epochs=options.epochs, seed=options.seed),
        epoch_done,
    )
    return rows, {"n_cells": len(found), "loss": losses[-1]}


def _remembered(options: TrainWordsOptions) -> dict[str, Any]:
    """The options that change the vectors."""
    names = ("width", "window", "least_count", "epochs", "seed", "threads", "limit")
    return {name: getattr(options, name) for name in names}


def _about(corpus: Corpus, summary: TrainWordsSummary) -> dict[str, Any]:
    names = ("n_documents", "n_running_words", "n_used", "n_forgotten", "counts")
    return {
        "sources": [source.file.name for source in corpus.sources],
        "text": corpus.columns.text,
        **{name: getattr(summary, name) for name in names},
    }
