"""Sentences of words with a tag each, out of Parquet: what a tagger learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedder.bio import first_break, is_bio, not_of_bio
from embedder.columns import is_text
from embedder.errors import ColumnError, LabelError
from embedder.heads.protocol import Label
from embedder.labelled_texts import is_label_type, is_no_label, refuse_blanks, refuse_rows
from embedder.whole_table import check_columns, choose_column, read_whole_table

TAG_NAMES = ("tags", "ner_tags", "upos", "pos_tags")
"""Columns that are taken for the tags, in this order."""


@dataclass(frozen=True, kw_only=True)
class TaggedSentences:
    """The rows of one file.

    Args:
        path: the file.
        columns: the names of the columns of `tokens` and `tags`.
        sentences: the words of each row.
        tags: a tag for each word of each row, all of one type.
    """

    path: str
    columns: Mapping[str, str]
    sentences: Sequence[Sequence[str]]
    tags: Sequence[Sequence[Label]]

    def __len__(self) -> int:
        return len(self.sentences)


def read_tagged_sentences(path: str | Path, columns: Mapping[str, str]) -> TaggedSentences:
    """The tagged sentences of a Parquet file, in order.

    Args:
        path: the file.
        columns: the names of the columns of `tokens` and `tags`, where they are not `tokens` and
            the first of `TAG_NAMES` that is there.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column is missing, or holds no lists of texts or of tags.
        LabelError: rows without words, with a missing word or tag, or with fewer or more tags
            than words; or BIO tags of which one continues nothing.
    """
    table = read_whole_table(path)
    tokens = columns.get("tokens") or "tokens"
    tags = choose_column(columns.get("tags"), TAG_NAMES, table, path, "--tags")
    check_columns([tokens, tags], table, path)
    _check_lists(table, tokens, path, are_texts=True)
    _check_lists(table, tags, path, are_texts=False)
    sentences, found = table[tokens].to_pylist(), table[tags].to_pylist()
    _check_rows(sentences, found, path, tokens, tags)
    _check_bio(found, path, tags)
    return TaggedSentences(
        path=str(path), columns={"tokens": tokens, "tags": tags}, sentences=sentences, tags=found
    )


def tag_set(tags: Sequence[Sequence[Label]], path: str | Path, name: str) -> tuple[Label, ...]:
    """The tags that there are, sorted.

    Raises:
        LabelError: there is only one, and nothing to tell apart.
    """
    found = tuple(sorted({tag for row in tags for tag in row}))
    if len(found) < 2:
        raise LabelError(
            f"All words of {path} have the tag {found[0]!r} in the column {name!r}.",
            "A tagger needs two tags at least.",
        )
    return found


def _check_lists(table: pa.Table, name: str, path: str | Path, *, are_texts: bool) -> None:
    kind = table.schema.field(name).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    is_right = is_text if are_texts else is_label_type
    if not (is_list and is_right(kind.value_type)):
        wanted = "texts" if are_texts else "texts or whole numbers"
        raise ColumnError(
            f"The column {name!r} of {path} is {kind}, and lists of {wanted} are wanted."
        )


def _check_rows(
    sentences: Sequence[Any], tags: Sequence[Any], path: str | Path, tokens_name: str, name: str
) -> None:
    rows = list(zip(range(1, len(sentences) + 1), sentences, tags, strict=True))
    refuse_rows(
        [n for n, words, _ in rows if not words or any(not (w and w.strip()) for w in words)],
        path,
        f"no words, or one that is missing or blank, in the column {tokens_name!r}",
    )
    refuse_rows(
        [n for n, _, found in rows if found is None or any(map(is_no_label, found))],
        path,
        f"no tags, or one that is missing or blank, in the column {name!r}",
    )
    uneven = [n for n, words, found in rows if len(words) != len(found)]
    if uneven:
        _, words, found = rows[uneven[0] - 1]
        counts = f"{len(words)} words and {len(found)} tags"
        what = f"a tag is wanted for each word, and the first of these has {counts}"
        refuse_rows(uneven, path, what)
    refuse_blanks(tags, path, name)


def _check_bio(tags: Sequence[Sequence[Label]], path: str | Path, name: str) -> None:
    found = {tag for row in tags for tag in row}
    strange = not_of_bio(found)
    if strange:
        refuse_rows(
            [n for n, row in enumerate(tags, 1) if any(tag in strange for tag in row)],
            path,
            f"{min(strange)!r} in the column {name!r} is no BIO tag, and others are",
            "Spans are written O, B-KIND and I-KIND. Correct the tags, or remove the B- and I- "
            "of the others, for tags without spans.",
        )
    if not is_bio(found):
        return
    breaks = [(n, first_break([str(tag) for tag in row])) for n, row in enumerate(tags, 1)]
    wrong = [(number, word) for number, word in breaks if word is not None]
    if wrong:
        number, word = wrong[0]
        before = "the start" if word == 0 else repr(tags[number - 1][word - 1])
        refuse_rows(
            [number for number, _ in wrong],
            path,
            f"the tags in the column {name!r} are no BIO; in the first of these rows "
            f"{tags[number - 1][word]!r} of word {word + 1} follows {before}",
            "A span begins with B-, and I- goes on with it.",
        )
