"""The word of a row that is meant: by its form, its place, or its number among the tokens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from embedder.errors import RequestError, SourceError
from embedder.rows import NULL_TEXT, EveryRow
from jobs.targets import Status, Target, TargetColumns, find_all, find_targets

TEXT = "The Bank's river-bank, a bank."


def every_row(texts: list[str], **values: list[Any]) -> EveryRow:
    """Rows as they come out of a file, from its row 10 on; an empty text is a null."""
    problems: list[str | None] = [None if text else NULL_TEXT for text in texts]
    ids = [str(number) for number in range(len(texts))]
    return EveryRow("c.parquet", 10, ids, texts, problems, pa.table(values), Counter())


def find(text: str, columns: TargetColumns, **values: Any) -> Target:
    """The target of one row."""
    [target] = find_targets(every_row([text], **{k: [v] for k, v in values.items()}), columns)
    return target


@pytest.mark.parametrize(
    ("word", "text", "status", "span"),
    [
        ("bank", "The BANK's river", Status.OK, (4, 8)),
        (" Bank ", "a river-bank", Status.OK, (8, 12)),
        ("bank", TEXT, Status.SEVERAL, (-1, -1)),
        ("bank", "The banks", Status.NOT_IN_TEXT, (-1, -1)),
        ("river-bank", TEXT, Status.NOT_ONE_WORD, (-1, -1)),
        ("1984", "in 1984", Status.NOT_ONE_WORD, (-1, -1)),
        ("", TEXT, Status.NULL_TARGET, (-1, -1)),
        (" ", TEXT, Status.NULL_TARGET, (-1, -1)),
        (None, TEXT, Status.NULL_TARGET, (-1, -1)),
        ("bank", "", NULL_TEXT, (-1, -1)),
    ],
)
def test_a_word_is_found_by_its_form(
    word: str | None, text: str, status: str, span: tuple[int, int]
) -> None:
    """The only use of a word, in any case; else a status that says why there is none."""
    found = find(text, TargetColumns(word="w"), w=word)
    assert (found.status, (found.start, found.end)) == (status, span)


@pytest.mark.parametrize(
    ("start", "end", "word", "status", "form", "span"),
    [
        (4, 8, None, Status.OK, "bank", (4, 8)),
        (16, 22, None, Status.OK, "bank", (17, 21)),  # with what is around it
        (4, 10, None, Status.NOT_ONE_WORD, "", (-1, -1)),
        (4, 10, "bank", Status.OK, "bank", (4, 8)),
        (11, 21, "river", Status.OK, "river", (11, 16)),
        (11, 21, "sea", Status.NOT_ONE_WORD, "sea", (-1, -1)),
        (17, 21, "shore", Status.OK, "shore", (17, 21)),  # a lemma
        (5, 8, None, Status.NOT_ONE_WORD, "", (-1, -1)),  # a part of a word
        (21, 23, None, Status.NOT_ONE_WORD, "", (-1, -1)),
    ],
)
def test_a_word_is_found_by_its_place(
    start: int, end: int, word: str | None, status: str, form: str, span: tuple[int, int]
) -> None:
    """The only word in the stretch, or of several the one named; its senses are those named."""
    columns = TargetColumns(word="w" if word else None, start="s", end="e")
    found = find(TEXT, columns, s=start, e=end, w=word)
    assert found == Target(0, form, *span, status)


@pytest.mark.parametrize(
    ("text", "tokens", "index", "status", "span"),
    [
        ("the river bank .", None, 2, Status.OK, (10, 14)),
        ("the  bank", None, 2, Status.OK, (5, 9)),
        ("the  bank", None, 1, Status.OTHER_TOKENS, (-1, -1)),
        ("the river's bank", ["the", "river", "'s", "bank"], 3, Status.OK, (12, 16)),
        ("bank the bank", ["bank", "the", "bank"], 2, Status.OK, (9, 13)),
        ("the bank", ["the", "shore"], 1, Status.OTHER_TOKENS, (-1, -1)),
        ("the bank", ["the", None, "bank"], 2, Status.OTHER_TOKENS, (-1, -1)),
        ("a river-bank", ["a", "river-bank"], 1, Status.NOT_ONE_WORD, (-1, -1)),
        ("the bank", None, None, Status.NULL_TARGET, (-1, -1)),
    ],
)
def test_a_word_is_found_by_its_number(
    text: str,
    tokens: list[str | None] | None,
    index: int | None,
    status: str,
    span: tuple[int, int],
) -> None:
    """Tokens are found one after the other in the text; without any it is cut at each space."""
    columns = TargetColumns(target_index="i", tokens="t" if tokens else None)
    found = find(text, columns, i=index, t=tokens)
    assert (found.status, (found.start, found.end)) == (status, span)


@pytest.mark.parametrize(
    ("columns", "values", "said"),
    [
        (TargetColumns(start="s", end="e"), {"s": 4, "e": 99}, ".* 4 to 99"),
        (TargetColumns(start="s", end="e"), {"s": -1, "e": 3}, ""),
        (TargetColumns(start="s", end="e"), {"s": 3, "e": 3}, ""),
        (TargetColumns(target_index="i"), {"i": 2}, ".* 2, .* 2 tokens"),
        (TargetColumns(target_index="i"), {"i": -1}, ""),
    ],
)
def test_a_place_outside_the_text_names_its_row(
    columns: TargetColumns, values: dict[str, int], said: str
) -> None:
    """Characters or a number that the text has not are an error that names file and row."""
    first = {"s": 0, "e": 3, "i": 0}
    rows = every_row(["the bank"] * 2, **{k: [first[k], v] for k, v in values.items()})
    with pytest.raises(SourceError, match=f"Row 12 of c.parquet{said}"):
        find_targets(rows, columns)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"start": "s"}, "--start and --end"),
        ({"end": "e"}, "--start and --end"),
        ({"tokens": "t"}, "--target-index"),
        ({"start": "s", "end": "e", "target_index": "i"}, "twice"),
    ],
)
def test_columns_that_contradict_each_other_are_refused(named: dict[str, str], said: str) -> None:
    """Half a place, tokens without a number, and two places are no target."""
    with pytest.raises(RequestError, match=said):
        TargetColumns(**named)


def test_all_words_with_senses_are_found() -> None:
    """Each use of a word with senses, in order; the others and unusable texts are counted."""
    counts: Counter[str] = Counter()
    senses = {"bank": "", "the": Status.FUNCTION_WORD}
    rows = every_row(["the bank to the Bank", "", "a bank"])
    found = find_all(rows, counts, lambda form: senses.get(form, Status.UNKNOWN_WORD))
    assert [(t.row, t.form, t.start, t.end) for t in found] == [
        (0, "bank", 4, 8),
        (0, "bank", 16, 20),
        (2, "bank", 2, 6),
    ]
    assert counts == {Status.FUNCTION_WORD: 2, Status.UNKNOWN_WORD: 2, NULL_TEXT: 1}
