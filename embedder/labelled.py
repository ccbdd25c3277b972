"""Labelled uses of words and pairs of them, out of Parquet: what senses are measured against.

Where a word stands is said by characters (`start`, `end`), else by `tokens` and `target_index`,
whose text is the tokens joined by spaces, else by what stands there (`target`), of which the
first place in the text counts.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from embedder.errors import ColumnError, LabelError
from embedder.occurrences import Use
from embedder.whole_table import (
    check_columns,
    choose_column,
    read_column_names,
    read_whole_table,
    table_rows,
    value_in,
)

LABEL_NAMES = ("sense", "class_id", "label")
"""Columns that are taken for the label of a use, in this order."""

MATCH_NAMES = ("label", "same")
"""Columns that are taken for whether a pair has one sense."""

SCORE_NAMES = ("score", "similarity", "mean_relatedness", "mean_rating")
"""Columns that are taken for how near a pair is in meaning."""

MOST_PAIRS = 200
"""Pairs of one kind that are drawn from the labelled uses of a word. Where frequent words and
senses may have more, they are learnt by heart, and vectors of the others get worse."""


@dataclass(frozen=True, kw_only=True)
class LabelColumns:
    """Names of the columns; those that say where a word stands have 1 or 2 after them in pairs.

    Args:
        word: the word, by which uses are grouped.
        text: the text.
        start: first character of the word in the text.
        end: one past its last.
        tokens: the text as a list of words.
        target_index: number of the word among them, from 0.
        target_len: how many of them the word is; one where there is no such column.
        target: the word as it stands in the text.
        label: the label; None for the first there is of those that are usual.
    """

    word: str = "word"
    text: str = "text"
    start: str = "start"
    end: str = "end"
    tokens: str = "tokens"
    target_index: str = "target_index"
    target_len: str = "target_len"
    target: str = "target"
    label: str | None = None


class LabelledUse(NamedTuple):
    """A use of a word and the sense that people gave it."""

    word: str
    use: Use
    label: str


class LabelledPair(NamedTuple):
    """Two uses, and what people said of them: 1 and 0 for one sense and two, or a score."""

    first: Use
    second: Use
    score: float


def read_uses(paths: Sequence[str | Path], columns: LabelColumns) -> list[LabelledUse]:
    """The labelled uses of some Parquet files, in order.

    Raises:
        SourceError: a file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a row has no label or no word, or points outside its text.
    """
    found = []
    for path in paths:
        table = read_whole_table(path)
        label = choose_column(columns.label, LABEL_NAMES, table, path, "--label")
        check_columns([label, columns.word], table, path)
        place = _Place(columns, "", table, path)
        for number, row in enumerate(table_rows(table), 1):
            word = value_in(row, columns.word, number, path)
            value = value_in(row, label, number, path)
            found.append(LabelledUse(str(word), place.use(row, number), str(value)))
    return found


def holds_uses(path: str | Path, columns: LabelColumns) -> bool:
    """Whether the rows of a file are single uses with their sense, and not pairs of uses.

    Raises:
        SourceError: the file cannot be read.
    """
    names = read_column_names(path)
    if {f"{columns.text}1", f"{columns.tokens}1"} & names:
        return False
    return columns.word in names and not names.isdisjoint({columns.text, columns.tokens})


def draw_pairs(uses: Sequence[LabelledUse], seed: int) -> list[tuple[int, int, bool]]:
    """Pairs to compare, by the numbers of their uses, and whether these have one label.

    Of each word as many pairs of one label are drawn as it has uses, and as many of two labels, but
    at most `MOST_PAIRS` of either; all labels of a word have the same chance. No pair comes twice.

    Args:
        uses: labelled uses.
        seed: of what is drawn.
    """
    chance = random.Random(seed)
    words: dict[str, dict[str, list[int]]] = {}
    for number, use in enumerate(uses):
        words.setdefault(use.word, {}).setdefault(use.label, []).append(number)
    drawn: dict[tuple[int, int], bool] = {}
    for labels in words.values():
        groups = list(labels.values())
        several = [own for own in groups if len(own) > 1]
        for _ in range(min(sum(map(len, groups)), MOST_PAIRS)):
            if several:
                first, second = sorted(chance.sample(chance.choice(several), 2))
                drawn[first, second] = True
            if len(groups) > 1:
                first, second = sorted(map(chance.choice, chance.sample(groups, 2)))
                drawn[first, second] = False
    return [(first, second, is_match) for (first, second), is_match in drawn.items()]


def read_matches(path: str | Path, columns: LabelColumns) -> list[LabelledPair]:
    """Pairs that have one sense or two; their scores are 1 and 0.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a label is neither true nor false, or a row points outside its text.
    """
    return _read_pairs(path, columns, MATCH_NAMES, _truth)


def read_scores(path: str | Path, columns: LabelColumns) -> list[LabelledPair]:
    """Pairs with a score of how near they are in meaning.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a score is no number, or a row points outside its text.
    """
    return _read_pairs(path, columns, SCORE_NAMES, float)


def _read_pairs(
    path: str | Path, columns: LabelColumns, names: Sequence[str], convert: Any
) -> list[LabelledPair]:
    table = read_whole_table(path)
    label = choose_column(columns.label, names, table, path, "--label")
    check_columns([label], table, path)
    first, second = (_Place(columns, number, table, path) for number in "12")
    pairs = []
    for number, row in enumerate(table_rows(table), 1):
        value = value_in(row, label, number, path)
        try:
            score = convert(value)
            if not math.isfinite(score):
                raise ValueError(score)
        except (KeyError, TypeError, ValueError) as error:
            wanted = "a number" if convert is float else "true or false"
            raise LabelError(
                f"Row {number} of {path} has {value!r} in the column {label!r}, and {wanted} is "
                "wanted."
            ) from error
        pairs.append(LabelledPair(first.use(row, number), second.use(row, number), score))
    return pairs


def _truth(value: Any) -> float:
    """Whether a label says that two uses have one sense; KeyError if it says neither."""
    truths = {"1": 1.0, "t": 1.0, "true": 1.0, "0": 0.0, "f": 0.0, "false": 0.0}
    return truths[str(value).strip().lower()]


class _Place:
    """Where the word stands in rows of one file: the first way for which there are columns."""

    def __init__(
        self, columns: LabelColumns, suffix: str, table: pa.Table, path: str | Path
    ) -> None:
        self._path, names = path, set(table.column_names)
        self._text, self._tokens = columns.text + suffix, columns.tokens + suffix
        self._start, self._end = columns.start + suffix, columns.end + suffix
        self._index, self._length = columns.target_index + suffix, columns.target_len + suffix
        self._target = columns.target + suffix
        if self._target not in names:
            self._target = columns.target if columns.target in names else columns.word
        if {self._text, self._start, self._end} <= names:
            self._find = self._by_characters
        elif {self._tokens, self._index} <= names:
            self._find = self._by_tokens
        elif {self._text, self._target} <= names:
            self._find = self._by_target
        else:
            raise ColumnError(
                f"{path} does not say where words stand: it needs {self._text!r} with "
                f"{self._start!r} and {self._end!r}, or {self._tokens!r} with {self._index!r}, or "
                f"{self._text!r} with {columns.target!r}; it has: {', '.join(table.column_names)}.",
                "Name the columns with --start, --end, --tokens, --target-index or --target.",
            )

    def use(self, row: Mapping[str, Any], number: int) -> Use:
        """The use in a row."""
        use = self._find(row, number)
        if not 0 <= use.start < use.end <= len(use.text):
            raise LabelError(
                f"Row {number} of {self._path} has a word at characters {use.start} to {use.end} "
                f"of a text of {len(use.text)}."
            )
        return use

    def _by_characters(self, row: Mapping[str, Any], number: int) -> Use:
        text = _text(row, self._text, number, self._path)
        start = _number(row, self._start, number, self._path)
        return Use(text, start, _number(row, self._end, number, self._path))

    def _by_tokens(self, row: Mapping[str, Any], number: int) -> Use:
        tokens = value_in(row, self._tokens, number, self._path)
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise LabelError(
                f"Row {number} of {self._path} has no list of texts in the column {self._tokens!r}."
            )
        index = _number(row, self._index, number, self._path)
        is_long = row.get(self._length) is not None
        length = _number(row, self._length, number, self._path) if is_long else 1
        if not 0 <= index < index + length <= len(tokens):
            raise LabelError(
                f"Row {number} of {self._path} has {index} as {self._index!r}, and "
                f"{len(tokens)} tokens.",
                "The first token is number 0.",
            )
        start = sum(len(token) + 1 for token in tokens[:index])
        return Use(" ".join(tokens), start, start + len(" ".join(tokens[index : index + length])))

    def _by_target(self, row: Mapping[str, Any], number: int) -> Use:
        text, target = (_text(row, n, number, self._path) for n in (self._text, self._target))
        # The word itself, else one that begins with it, else one that has it within.
        patterns = (rf"(?<!\w){re.escape(target)}(?!\w)", rf"(?<!\w){re.escape(target)}")
        for pattern in (*patterns, re.escape(target)) if target else ():
            if found := re.search(pattern, text, re.IGNORECASE):
                return Use(text, *found.span())
        raise LabelError(f"Row {number} of {self._path}: {target!r} is not in {text[:80]!r}.")


def _text(row: Mapping[str, Any], name: str, number: int, path: str | Path) -> str:
    value = value_in(row, name, number, path)
    if not isinstance(value, str):
        raise LabelError(
            f"Row {number} of {path} has {value!r} in the column {name!r}, and text is wanted."
        )
    return value


def _number(row: Mapping[str, Any], name: str, number: int, path: str | Path) -> int:
    value = value_in(row, name, number, path)
    if not isinstance(value, int | float) or value != value // 1:
        raise LabelError(
            f"Row {number} of {path} has {value!r} in the column {name!r}, and a whole number is "
            "wanted."
        )
    return int(value)
