"""Questions to vectors of words, out of Parquet: how alike two words are, and analogies.

Which kind a file holds is told by its columns.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from embedder.errors import ColumnError, LabelError
from embedder.whole_table import read_whole_table, table_rows, value_in
from embedder.words import word_form

PAIR_COLUMNS = ("word1", "word2", "score")
ANALOGY_COLUMNS = ("a", "b", "c", "d")


class WordPair(NamedTuple):
    """Two words, in the form by which they are looked up, and how alike people find them."""

    first: str
    second: str
    score: float


class Analogy(NamedTuple):
    """`a` is to `b` as `c` is to `d`; words in the form by which they are looked up."""

    a: str
    b: str
    c: str
    d: str


class Questions(NamedTuple):
    """The questions of one file, by data set or section, in the order in which these come."""

    pairs: dict[str, list[WordPair]]
    analogies: dict[str, list[Analogy]]


def read_questions(path: str | Path) -> Questions:
    """Pairs of words (word1, word2, score, and dataset) or analogies (a, b, c, d, and section).

    A file without a column for the data set or section is one, of the file's own name.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: it holds neither.
        LabelError: a row lacks a word, or its score is no number.
    """
    table = read_whole_table(path)
    there = set(table.column_names)
    pairs: dict[str, list[WordPair]] = defaultdict(list)
    analogies: dict[str, list[Analogy]] = defaultdict(list)
    if there.issuperset(PAIR_COLUMNS):
        for number, row in enumerate(table_rows(table), 1):
            first, second = (_word(row, name, number, path) for name in PAIR_COLUMNS[:2])
            pair = WordPair(first, second, _score(row, number, path))
            pairs[_group(row, "dataset", path)].append(pair)
    elif there.issuperset(ANALOGY_COLUMNS):
        for number, row in enumerate(table_rows(table), 1):
            words = (_word(row, name, number, path) for name in ANALOGY_COLUMNS)
            analogies[_group(row, "section", path)].append(Analogy(*words))
    else:
        raise ColumnError(
            f"{path} has the columns {', '.join(table.column_names)}; wanted are "
            f"{', '.join(PAIR_COLUMNS)} for pairs of words, or {', '.join(ANALOGY_COLUMNS)} for "
            "analogies.",
            "Rename its columns.",
        )
    return Questions(dict(pairs), dict(analogies))


def _word(row: dict[str, Any], name: str, number: int, path: str | Path) -> str:
    return word_form(str(value_in(row, name, number, path)).strip())


def _score(row: dict[str, Any], number: int, path: str | Path) -> float:
    value = value_in(row, "score", number, path)
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise LabelError(
            f"Row {number} of {path} has {value!r} in the column 'score', and a number is wanted."
        )
    return score


def _group(row: dict[str, Any], name: str, path: str | Path) -> str:
    value = row.get(name)
    return Path(path).stem if value is None else str(value)
