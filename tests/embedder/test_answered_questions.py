"""Questions and answers out of Parquet, and rows that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedder.answered_questions import AnswerColumns, read_answered_questions
from embedder.errors import ColumnError, LabelError, SourceError

CONTEXT = "the bank of the river was green"


def write(path: Path, answers: list[tuple[Any, Any]], **columns: Any) -> Path:
    """A file of questions about one context; answers are texts and starts."""
    n = len(answers)
    values = {
        "question": ["what was green?"] * n,
        "context": [CONTEXT] * n,
        "answer_texts": [texts for texts, _ in answers],
        "answer_starts": [starts for _, starts in answers],
        **columns,
    }
    pq.write_table(pa.table(values), path)
    return path


def test_answers_come_as_lists_or_alone(tmp_path: Path) -> None:
    """A list of answers and one answer are read alike; an empty list and null are no answer."""
    many = write(
        tmp_path / "many.parquet", [(["bank", "the bank"], [4, 0]), ([], []), (None, None)]
    )
    found = read_answered_questions(many)
    assert [question.answers for question in found] == [(("bank", 4), ("the bank", 0)), (), ()]
    assert found[0].texts == ("bank", "the bank") and found[0].context == CONTEXT
    one = write(tmp_path / "one.parquet", [("bank", 4), (None, None)])
    assert [question.answers for question in read_answered_questions(one)] == [(("bank", 4),), ()]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    """The columns are those that are named, and places are not needed to measure."""
    path = tmp_path / "q.parquet"
    pq.write_table(pa.table({"q": ["who?"], "text": ["me"], "a": ["me"]}), path)
    columns = AnswerColumns(question="q", context="text", answer_texts="a")
    [found] = read_answered_questions(path, columns, with_starts=False)
    assert found.texts == ("me",)
    with pytest.raises(ColumnError, match="no column 'answer_starts'"):
        read_answered_questions(path, columns)


@pytest.mark.parametrize(
    ("answers", "columns", "message"),
    [
        ([(["bank"], [3])], {}, r"Row 1 of .* 'bank' at character 3, where ' ban' .* stands at 4"),
        ([(["bank"], [4]), (["lake"], [4])], {}, r"Row 2 of .* 'lake' .* stands nowhere"),
        ([(["bank"], [-1])], {}, r"Row 1 of .* at character -1"),
        ([(["green"], [90])], {}, r"Row 1 of .* at character 90, where '' stands"),
        ([(["bank"], [4, 5])], {}, r"Row 1 of .* has 1 values .* and 2 in"),
        ([([" "], [3])], {}, r"Row 1 of .* ' ' as an answer.* empty list"),
        ([([None], [3])], {}, r"Row 1 of .* None as an answer"),
        ([(["bank"], [None])], {}, r"Row 1 of .* None as a place"),
        ([([7], [3])], {}, r"Row 1 of .* 7 as an answer"),
        ([(["bank"], [4])], {"question": [" "]}, r"Row 1 of .* ' ' in the column 'question'"),
        ([(["bank"], [4])], {"context": [None]}, r"Row 1 of .* nothing in the column 'context'"),
        (
            [(["bank"], [4])] + [(["bank"], [5])] * 9,
            {},
            r"Row 2 of .* rows 3, 4, 5, 6, 7 and 3 more of",
        ),
    ],
)
def test_bad_rows_are_named(
    tmp_path: Path, answers: list[tuple[Any, Any]], columns: dict[str, Any], message: str
) -> None:
    """Texts that are missing and answers that stand elsewhere are named with their rows."""
    path = write(tmp_path / "q.parquet", answers, **columns)
    with pytest.raises(LabelError, match=message):
        read_answered_questions(path)


def test_no_rows(tmp_path: Path) -> None:
    """A file without rows is refused."""
    with pytest.raises(SourceError, match="no rows"):
        read_answered_questions(write(tmp_path / "q.parquet", []))
