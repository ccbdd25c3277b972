"""The words in rows of text whose senses are asked for: found by form, place or number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import types

from embedder.columns import is_text
from embedder.corpus import Corpus, ParquetSource
from embedder.errors import ColumnError, RequestError, SourceError
from embedder.rows import EveryRow
from embedder.words import Word, find_words, word_form


class Status(StrEnum):
    """Whether a target has a sense, and why not. The reasons of `embedder.rows` come beside."""

    OK = "ok"
    ONE_SENSE = "one sense"
    """It has that sense, whatever the text says."""

    UNKNOWN_WORD = "unknown word"
    """The index has too few uses of it, or none."""

    FUNCTION_WORD = "function word"
    NULL_TARGET = "null target"
    NOT_ONE_WORD = "not one word"
    NOT_IN_TEXT = "word not in text"
    SEVERAL = "word several times in text"
    OTHER_TOKENS = "tokens differ from text"
    NO_VECTOR = "no vector"
    """No piece of the text belongs to it, or a window's end cuts it."""


@dataclass(frozen=True, kw_only=True)
class TargetColumns:
    """Columns that say which word of a row is meant; without any, all words are.

    Args:
        word: the word; beside a place, the word whose senses are meant, as a lemma.
        start: first character of the word in the text.
        end: one past its last character.
        target_index: its number among the tokens, from 0.
        tokens: the tokens, a list; the text cut at each space where it is None.

    Raises:
        RequestError: they contradict each other.
    """

    word: str | None = None
    start: str | None = None
    end: str | None = None
    target_index: str | None = None
    tokens: str | None = None

    def __post_init__(self) -> None:
        if (self.start is None) != (self.end is None):
            raise RequestError("--start and --end belong together.", "Name both columns, or none.")
        if self.tokens is not None and self.target_index is None:
            raise RequestError(
                "--tokens is named, and not which of them is meant.",
                "Name the column of its number with --target-index.",
            )
        if self.start is not None and self.target_index is not None:
            raise RequestError(
                "The word's place is given twice.", "Name --start and --end, or --target-index."
            )

    @property
    def names(self) -> dict[str, str]:
        """The columns named, by the options that name them."""
        named = {
            "--word": self.word,
            "--start": self.start,
            "--end": self.end,
            "--target-index": self.target_index,
            "--tokens": self.tokens,
        }
        return {option: name for option, name in named.items() if name is not None}

    def check(self, corpus: Corpus) -> None:
        """Raise ColumnError unless all files have the columns, with the types that are needed."""
        for source in corpus.sources:
            for option, name in self.names.items():
                check_there(source.schema, name, option, source.file.name)
                kind, (is_right, wanted) = source.schema.field(name).type, _KINDS[option]
                if not is_right(kind):
                    raise ColumnError(
                        f"The column {name!r} of {source.file.name} is of type {kind}, and "
                        f"{wanted} wanted.",
                        f"Name another column with {option}.",
                    )


def check_there(schema: pa.Schema, name: str, option: str, where: str) -> None:
    """Raise ColumnError unless a file has a column once."""
    if schema.names.count(name) != 1:
        found = "several columns" if name in schema.names else "no column"
        raise ColumnError(
            f"{where} has {found} {name!r}; it has: {', '.join(schema.names) or 'none'}.",
            f"Give {option} one of these names.",
        )


def check_fields(
    opened: Sequence[ParquetSource], names: Sequence[str], types: Mapping[str, pa.DataType]
) -> None:
    """Raise ColumnError unless a file or its path has each column of --fields, and no file has it
    twice.

    Args:
        opened: the files.
        names: the columns.
        types: those that the paths give.
    """
    for name in names:
        with_it = [source for source in opened if name in source.schema.names]
        if not with_it and name not in types:
            with_it = list(opened[:1])  # which lacks it
        for source in with_it:
            check_there(source.schema, name, "--fields", source.file.name)


def is_list_of_text(kind: pa.DataType) -> bool:
    """Whether a type is a list of texts."""
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(is_list and is_text(kind.value_type))


_KINDS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "--word": (is_text, "text is"),
    "--start": (types.is_integer, "whole numbers are"),
    "--end": (types.is_integer, "whole numbers are"),
    "--target-index": (types.is_integer, "whole numbers are"),
    "--tokens": (is_list_of_text, "a list of texts is"),
}


class Target(NamedTuple):
    """A word whose sense is asked for.

    Args:
        row: number of its row in the batch.
        form: what its senses are looked up by, empty if it is not known.
        start: its first character in the text, -1 if its place is not known.
        end: one past its last.
        status: why it has no sense; OK for what was found.
    """

    row: int
    form: str
    start: int
    end: int
    status: str


def find_targets(rows: EveryRow, columns: TargetColumns) -> list[Target]:
    """The target of each row.

    Raises:
        SourceError: a place is outside its text, or a number outside the tokens.
    """
    given = {option: rows.values[name].to_pylist() for option, name in columns.names.items()}
    found = []
    for row, (text, problem) in enumerate(zip(rows.texts, rows.problems, strict=True)):
        values = {option: column[row] for option, column in given.items()}
        where = f"Row {rows.first_row + row + 1} of {rows.name}"
        word = values.get("--word")
        form = word_form(word.strip()) if word else ""
        if problem is not None:
            found.append(Target(row, form, -1, -1, problem))
        elif any(value is None for value in values.values()) or (word is not None and not form):
            found.append(Target(row, form, -1, -1, Status.NULL_TARGET))
        else:
            status, word_found = _find(text, form, values, where)
            found.append(_target(row, form, status, word_found))
    return found


def find_all(rows: EveryRow, counts: Counter[str], why_not: Callable[[str], str]) -> list[Target]:
    """Every word of every row that has senses; the others are counted by reason.

    Args:
        rows: the rows.
        counts: added to.
        why_not: why a form has no senses, empty if it has some.
    """
    found = []
    for row, (text, problem) in enumerate(zip(rows.texts, rows.problems, strict=True)):
        if problem is not None:
            counts[problem] += 1
        for start, end, form in find_words(text):
            reason = why_not(form)
            if reason:
                counts[reason] += 1
            else:
                found.append(Target(row, form, start, end, Status.OK))
    return found


def _target(row: int, form: str, status: Status, word: Word | None) -> Target:
    if word is None:
        return Target(row, form, -1, -1, status)
    return Target(row, form or word.form, word.start, word.end, status)


def _find(text: str, form: str, values: dict[str, Any], where: str) -> tuple[Status, Word | None]:
    """The word that the values of one row mean."""
    if "--start" in values:
        return _word_in(text, values["--start"], values["--end"], form, where)
    if "--target-index" in values:
        tokens = values["--tokens"] if "--tokens" in values else text.split(" ")
        index = values["--target-index"]
        if not 0 <= index < len(tokens):
            raise SourceError(
                f"{where}: the target's number is {index}, and there are {len(tokens)} tokens.",
                "Numbers are counted from 0.",
            )
        span = _token_span(text, tokens, index)
        return _word_in(text, *span, form, where) if span else (Status.OTHER_TOKENS, None)
    return _only_use(text, form)


def _only_use(text: str, form: str) -> tuple[Status, Word | None]:
    uses = [word for word in find_words(text) if word.form == form]
    if len(uses) == 1:
        return Status.OK, uses[0]
    if uses:
        return Status.SEVERAL, None
    is_word = [word.form for word in find_words(form)] == [form]
    return Status.NOT_IN_TEXT if is_word else Status.NOT_ONE_WORD, None


def _word_in(text: str, start: int, end: int, form: str, where: str) -> tuple[Status, Word | None]:
    """The only word in a stretch of a text, or of several the only one of a form."""
    if not 0 <= start < end <= len(text):
        raise SourceError(
            f"{where}: the target is at characters {start} to {end}, and the text has {len(text)}.",
            "Characters are counted from 0, and the end is one past the last.",
        )
    words = list(_words_from(text, start, end))
    if len(words) > 1:
        words = [word for word in words if word.form == form]
    is_inside = len(words) == 1 and start <= words[0].start and words[0].end <= end
    return (Status.OK, words[0]) if is_inside else (Status.NOT_ONE_WORD, None)


def _words_from(text: str, start: int, end: int) -> Iterator[Word]:
    """The words of a text that have a character in a stretch."""
    for word in find_words(text):
        if word.start >= end:
            return
        if word.end > start:
            yield word


def _token_span(text: str, tokens: Sequence[str | None], index: int) -> tuple[int, int] | None:
    """Where a token stands in its text; None if the text does not begin with the tokens up to it.

    White space between tokens may be as it likes.
    """
    end = 0
    for token in tokens[: index + 1]:
        if token is None:
            return None
        while text[end : end + 1].isspace() and not text.startswith(token, end):
            end += 1
        if not text.startswith(token, end):
            return None
        end += len(token)
    start = end - len(tokens[index] or "")
    return (start, end) if start < end else None
