"""`embedder evaluate words`: how well vectors of words answer what people were asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from embedder.word_questions import Analogy, WordPair, read_questions
from embedder.word_vectors import WordVectors
from jobs.measures import accuracy, rank_correlation

WORD_SCORE_COLUMNS = ("task", "name", "n", "n_known", "score")
BATCH_SCORES = 1 << 24
"""Cosines that are held at once."""

ALL = "all"


class Task(StrEnum):
    """What was asked, and by what answers are measured."""

    SIMILARITY = "similarity"
    """How alike two words are: Spearman's correlation with what people said."""

    ANALOGY = "analogy"
    """What is to c as b is to a: the share of answers that are right."""


@dataclass(frozen=True, kw_only=True)
class WordScore:
    """How well one set of questions was answered.

    Args:
        task: what was asked.
        name: the data set or section; ALL for the analogies of all sections.
        n: questions.
        n_known: those whose words all have a vector, which alone are measured.
        score: Spearman's correlation or accuracy; None where no question is left.
    """

    task: Task
    name: str
    n: int
    n_known: int
    score: float | None

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary with the columns WORD_SCORE_COLUMNS."""
        return {**asdict(self), "task": str(self.task)}


def evaluate_words(
    vectors: WordVectors, paths: Sequence[str | Path], *, most_words: int | None = None
) -> list[WordScore]:
    """Measure vectors on the questions of some files.

    Args:
        vectors: the vectors.
        paths: Parquet files, as `read_questions` reads them.
        most_words: only the so many most frequent words can be asked for and answered.

    Raises:
        SourceError: a file cannot be read, or has no rows.
        ColumnError: it holds neither pairs nor analogies.
        LabelError: a row lacks a word, or its score is no number.
    """
    n_words = len(vectors) if most_words is None else min(most_words, len(vectors))
    scores = []
    for path in paths:
        found = read_questions(path)
        scores += [_similarity(vectors, n_words, *group) for group in found.pairs.items()]
        if found.analogies:
            scores += _analogies(vectors, n_words, found.analogies)
    return scores


def _similarity(
    vectors: WordVectors, n_words: int, name: str, pairs: Sequence[WordPair]
) -> WordScore:
    places = [_places(vectors, n_words, pair[:2]) for pair in pairs]
    known = [(p, pair.score) for p, pair in zip(places, pairs, strict=True) if p is not None]
    score = None
    if known:
        first, second = np.array([p for p, _ in known]).T
        cosines = np.einsum("ij,ij->i", vectors.units[first], vectors.units[second])
        score = rank_correlation([value for _, value in known], cosines.tolist())
    return WordScore(task=Task.SIMILARITY, name=name, n=len(pairs), n_known=len(known), score=score)


def _analogies(
    vectors: WordVectors, n_words: int, sections: dict[str, list[Analogy]]
) -> list[WordScore]:
    scores: list[WordScore] = []
    all_true: list[int] = []
    all_found: list[int] = []
    for name, asked in sections.items():
        places = [_places(vectors, n_words, analogy) for analogy in asked]
        known = np.array([p for p in places if p is not None], dtype=np.int64).reshape(-1, 4)
        found = answer_analogies(vectors, known[:, :3], n_words)
        true = known[:, 3].tolist()
        scores.append(_analogy_score(name, len(asked), true, found))
        all_true, all_found = all_true + true, all_found + found
    n = sum(len(asked) for asked in sections.values())
    return [*scores, _analogy_score(ALL, n, all_true, all_found)]


def _analogy_score(name: str, n: int, true: Sequence[int], found: Sequence[int]) -> WordScore:
    score = accuracy(true, found) if true else None
    return WordScore(task=Task.ANALOGY, name=name, n=n, n_known=len(true), score=score)


def answer_analogies(
    vectors: WordVectors, asked: np.ndarray[Any, np.dtype[np.int64]], n_words: int
) -> list[int]:
    """Numbers of the words that are to c as b is to a, by 3CosAdd (Mikolov et al. 2013): the one
    nearest to b - a + c that is none of the three.

    Args:
        vectors: the vectors.
        asked: numbers of a, b and c, shape (n, 3).
        n_words: the answer is among the so many most frequent.
    """
    units = vectors.units[:n_words]
    found: list[int] = []
    n_batch = max(1, BATCH_SCORES // max(1, n_words))
    for start in range(0, len(asked), n_batch):
        part = asked[start : start + n_batch]
        a, b, c = (units[part[:, side]] for side in range(3))
        scores = (b - a + c) @ units.T
        np.put_along_axis(scores, part, -np.inf, axis=1)
        found += scores.argmax(axis=1).tolist()
    return found


def _places(vectors: WordVectors, n_words: int, words: Sequence[str]) -> list[int] | None:
    """Numbers of some words, None if one has no vector."""
    places = [vectors.places.get(word, n_words) for word in words]
    return places if max(places) < n_words else None


def write_word_scores(scores: Sequence[WordScore], title: str, stream: TextIO) -> None:
    """A table, as people read it."""
    head = {Task.SIMILARITY: ("pairs", "Spearman"), Task.ANALOGY: ("analogies", "accuracy")}
    width = max([len(score.name) for score in scores], default=0)
    for task in Task:
        own = [score for score in scores if score.task is task]
        if own:
            print(f"{task.ljust(width)}  {head[task][0]:>9}  known  {head[task][1]}", file=stream)
        for one in own:
            value = "–" if one.score is None else f"{one.score:.3f}"
            print(f"{one.name.ljust(width)}  {one.n:>9,}  {one.n_known:>5,}  {value}", file=stream)
        if own:
            print(file=stream)
    print(title, file=stream)
