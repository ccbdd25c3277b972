"""Questions about texts and where in them the answers stand, out of Parquet.

The columns are those of SQuAD: for each question a list of answers that people gave and a list
of their first characters. One text and one number do as well. A question whose list is empty or
null has no answer in its text (SQuAD 2.0, Rajpurkar et al. 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from embedder.errors import LabelError
from embedder.whole_table import check_columns, read_whole_table, table_rows, value_in

MOST_NAMED = 5
"""Bad rows that an error names; the rest it counts."""


@dataclass(frozen=True, kw_only=True)
class AnswerColumns:
    """Names of the columns.

    Args:
        question: the question.
        context: the text that holds the answer.
        answer_texts: the answers, as they stand in the text.
        answer_starts: the first character of each, from 0.
    """

    question: str = "question"
    context: str = "context"
    answer_texts: str = "answer_texts"
    answer_starts: str = "answer_starts"


class Answer(NamedTuple):
    """An answer as it stands in the context: characters `start` to `end`, half-open."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """One past its last character."""
        return self.start + len(self.text)


class AnsweredQuestion(NamedTuple):
    """A question, the text that it is about, and the answers; none if the text has none."""

    question: str
    context: str
    answers: tuple[Answer, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The answers without their places."""
        return tuple(answer.text for answer in self.answers)


def read_answered_questions(
    path: str | Path, columns: AnswerColumns | None = None, *, with_starts: bool = True
) -> list[AnsweredQuestion]:
    """The questions of a Parquet file, in order.

    Args:
        path: the file.
        columns: names of its columns.
        with_starts: without, places are neither read nor checked, and all are 0.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a row has no question or context, or an answer that does not stand where it
            should; the rows are named.
    """
    columns = columns or AnswerColumns()
    table = read_whole_table(path)
    names = [columns.question, columns.context, columns.answer_texts]
    check_columns([*names, *([columns.answer_starts] if with_starts else [])], table, path)
    found, problems = [], []
    for number, row in enumerate(table_rows(_chosen(table, columns, with_starts)), 1):
        try:
            found.append(_question(row, number, path, columns, with_starts))
        except LabelError as error:
            problems.append((number, error))
    _raise_first(problems, path)
    return found


def _chosen(table: pa.Table, columns: AnswerColumns, with_starts: bool) -> pa.Table:
    names = [columns.question, columns.context, columns.answer_texts]
    return table.select([*names, *([columns.answer_starts] if with_starts else [])])


def _raise_first(problems: Sequence[tuple[int, LabelError]], path: str | Path) -> None:
    """Raise the first of some bad rows, and name the others."""
    if not problems:
        return
    [_, first], *others = problems
    if not others:
        raise first
    named = ", ".join(str(number) for number, _ in others[:MOST_NAMED])
    rest = len(others) - MOST_NAMED
    also = f"{named} and {rest:,} more" if rest > 0 else named
    raise LabelError(f"{first.message} So have others: rows {also} of {path}.", first.hint)


def _question(
    row: Mapping[str, Any],
    number: int,
    path: str | Path,
    columns: AnswerColumns,
    with_starts: bool,
) -> AnsweredQuestion:
    question = _text(row, columns.question, number, path)
    context = _text(row, columns.context, number, path)
    texts = _listed(row[columns.answer_texts])
    starts = _listed(row[columns.answer_starts]) if with_starts else [0] * len(texts)
    place = f"Row {number} of {path}"
    if len(texts) != len(starts):
        raise LabelError(
            f"{place} has {len(texts)} values in the column {columns.answer_texts!r} and "
            f"{len(starts)} in {columns.answer_starts!r}, and equally many are wanted.",
            "A question without an answer has two empty lists.",
        )
    answers = [_answer(place, *pair) for pair in zip(texts, starts, strict=True)]
    for answer in answers if with_starts else []:
        _check_place(place, context, answer)
    return AnsweredQuestion(question, context, tuple(answers))


def _text(row: Mapping[str, Any], name: str, number: int, path: str | Path) -> str:
    value = value_in(row, name, number, path)
    if not isinstance(value, str) or not value.strip():
        raise LabelError(
            f"Row {number} of {path} has {value!r} in the column {name!r}, and text is wanted."
        )
    return value


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _answer(place: str, text: Any, start: Any) -> Answer:
    if not isinstance(text, str) or not text.strip():
        raise LabelError(
            f"{place} has {text!r} as an answer, and text is wanted.",
            "A question without an answer has an empty list.",
        )
    if not isinstance(start, int | float) or start != start // 1:
        raise LabelError(f"{place} has {start!r} as a place, and a whole number is wanted.")
    return Answer(text, int(start))


def _check_place(place: str, context: str, answer: Answer) -> None:
    there = context[max(0, answer.start) : max(0, answer.end)]
    if answer.start < 0 or there != answer.text:
        first = context.find(answer.text)
        where = f"it first stands at {first}" if first >= 0 else "it stands nowhere in the text"
        raise LabelError(
            f"{place} has the answer {answer.text!r} at character {answer.start}, where "
            f"{there!r} stands; {where}.",
            "Starts count characters (not bytes or words) of the context from 0.",
        )
