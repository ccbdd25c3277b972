"""Questions to vectors of words: the kind is told by the columns, and bad rows are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedder.errors import ColumnError, EmbedderError, LabelError, SourceError
from embedder.word_questions import Analogy, WordPair, read_questions

PAIR = {"word1": "Car", "word2": "AUTO ", "score": 3}
ANALOGY = {"a": "Athens", "b": "Greece", "c": "Oslo", "d": "Norway"}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    """A Parquet file of rows."""
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def test_pairs_by_data_set(tmp_path: Path) -> None:
    """Pairs come by data set, their words folded; without the column they are one, of the file."""
    pair = WordPair("car", "auto", 3)
    path = write(tmp_path / "own.parquet", {**PAIR, "dataset": "A"}, {**PAIR, "dataset": "B"})
    assert read_questions(path) == ({"A": [pair], "B": [pair]}, {})
    assert read_questions(write(path, PAIR, PAIR)) == ({"own": [pair, pair]}, {})


def test_analogies_by_section(tmp_path: Path) -> None:
    """Analogies come by section, their words folded."""
    path = write(tmp_path / "x.parquet", {**ANALOGY, "section": "s"}, {**ANALOGY, "section": None})
    found = Analogy("athens", "greece", "oslo", "norway")
    assert read_questions(path) == ({}, {"s": [found], "x": [found]})


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        (
            {"word1": "a", "word2": "b"},
            ColumnError,
            r"word1, word2; wanted are .*score.* a, b, c, d",
        ),
        ({**PAIR, "score": "high"}, LabelError, r"Row 1 .* 'high' in the column 'score'"),
        ({**PAIR, "score": float("nan")}, LabelError, r"Row 1 .* nan in the column 'score'"),
        ({**PAIR, "word2": None}, LabelError, r"Row 1 .* nothing in the column 'word2'"),
        ({**ANALOGY, "d": None}, LabelError, r"Row 1 .* nothing in the column 'd'"),
    ],
)
def test_bad_rows_are_named(
    tmp_path: Path, row: dict[str, Any], kind: type[EmbedderError], message: str
) -> None:
    """Columns that say nothing, a score that is no number and a missing word are errors."""
    with pytest.raises(kind, match=message):
        read_questions(write(tmp_path / "bad.parquet", row))


def test_bad_files_are_named(tmp_path: Path) -> None:
    """A file without rows, one that is no Parquet and one that is not there are errors."""
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in PAIR}), tmp_path / "empty")
    (tmp_path / "text").write_text("no parquet")
    for name, message in (("empty", "has no rows"), ("text", "cannot be"), ("none", "cannot be")):
        with pytest.raises(SourceError, match=message):
            read_questions(tmp_path / name)
