"""Uses of words in any text get the vectors that an index has for its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from embedder.errors import RequestError
from embedder.occurrences import Use
from embedder.projection import decode_codes
from embedder.vectors import Rows
from indexes.documents import read_passages
from indexes.layout import DOCUMENTS_FILE, Layout
from indexes.manifest_file import read_manifest
from indexes.occurrences import open_occurrences
from indexes.word_uses import own_ranges
from jobs.query_encoder import QueryOptions
from jobs.use_encoder import UseEncoder, find_use, open_use_encoder


@pytest.fixture(scope="module")
def encoder(tiny_index: Path) -> UseEncoder:
    """What gives uses the vectors of the tiny index."""
    layout = Layout(tiny_index)
    return open_use_encoder(layout, read_manifest(layout), QueryOptions())


@pytest.fixture(scope="module")
def stored(tiny_index: Path) -> tuple[list[Use], Rows]:
    """The uses of words in the first segment of the tiny index, and their vectors."""
    layout = Layout(tiny_index)
    segment = read_manifest(layout).segments[0]
    found, table = open_occurrences(layout, segment), read_passages(layout, segment)
    texts = pq.read_table(layout.segment(segment.id) / DOCUMENTS_FILE)["__text"].to_pylist()
    passages = found.passages()
    low, high = own_ranges(table)
    middles = table.start[passages] + found.records["start"] + found.records["length"] // 2
    rows = np.flatnonzero((middles >= low[passages]) & (middles < high[passages]))
    uses = []
    for row in rows.tolist():
        passage, record = passages[row], found.records[row]
        start = int(table.start[passage] + record["start"])
        text = texts[table.document[passage]]
        uses.append(Use(text, start, start + int(record["length"])))
    return uses, decode_codes(found.codes[rows])


def test_uses_get_the_vectors_that_are_stored(
    encoder: UseEncoder, stored: tuple[list[Use], Rows]
) -> None:
    """The uses in the index's own documents, long ones too, get its vectors to the last bit."""
    uses, rows = stored
    assert max(len(use.text) for use in uses) > 500  # several windows
    assert encoder.encode(uses).tobytes() == rows.tobytes()


@pytest.mark.parametrize("n", [1, 7])
def test_a_vector_does_not_depend_on_other_uses(
    encoder: UseEncoder, stored: tuple[list[Use], Rows], n: int
) -> None:
    """Some uses alone, in another order, get what they get among all."""
    uses, rows = stored
    chosen = np.random.default_rng(3).choice(len(uses), n, replace=False)
    found = encoder.encode([uses[number] for number in chosen])
    assert found.tobytes() == rows[chosen].tobytes()


def test_no_uses_have_no_vectors(encoder: UseEncoder) -> None:
    """Of no uses there is an empty array."""
    assert encoder.encode([]).shape[0] == 0


@pytest.mark.parametrize(
    ("text", "start", "end", "said"),
    [
        ("the bank of the river", 0, 3, "function word"),
        ("the bank of the river", 4, 7, "not one word"),
        ("the bank of the river", 4, 11, "not one word"),
        ("in 1984 it was", 3, 7, "not one word"),
        ("the bank", 8, 8, "No word stands"),
        ("the bank", 4, 9, "No word stands"),
        ("the bank", -1, 3, "No word stands"),
    ],
)
def test_what_gets_no_vector_is_refused(
    encoder: UseEncoder, text: str, start: int, end: int, said: str
) -> None:
    """A function word, a number, a part of a word and a place outside the text are refused."""
    with pytest.raises(RequestError, match=said):
        encoder.encode([Use("a green bank", 8, 12), Use(text, start, end)])


def test_an_index_without_senses_is_refused(tiny_index: Path, tmp_path: Path) -> None:
    """Of an index without senses the error says so, and what to do."""
    layout = Layout(tiny_index)
    manifest = replace(read_manifest(layout), basis=None, senses=None)
    with pytest.raises(RequestError, match="without senses"):
        open_use_encoder(layout, manifest, QueryOptions())


# --- the use that is meant ---


@pytest.mark.parametrize(
    ("context", "word", "text", "start"),
    [
        ("the bank of the river", "bank", "the bank of the river", 4),
        ("The BANK's river", "bank", "The BANK's river", 4),
        ("a river-bank", " Bank ", "a river-bank", 8),
        ("the [bank] of the bank", "bank", "the bank of the bank", 4),
        ("the bank of the [bank]", "bank", "the bank of the bank", 16),
        ("the [bank]", "bank", "the bank", 4),
        ("[bank]", "bank", "bank", 0),
        ("a [river] bank [1]", "bank", "a [river] bank [1]", 10),
        ("a [bank [1]", "bank", "a [bank [1]", 3),
        ("[[bank]] and bank", "bank", "[bank] and bank", 1),
        ("Straße und [STRASSE]", "straße", "Straße und STRASSE", 11),
        ("the banker's bank", "bank", "the banker's bank", 13),
    ],
)
def test_the_use_that_is_meant_is_found(context: str, word: str, text: str, start: int) -> None:
    """The only use of a word, or the one in brackets, which are taken off."""
    use = find_use(context, word)
    assert (use.text, use.start) == (text, start)
    assert use.text[use.start : use.end].casefold() in (word.strip().casefold(), "strasse")


@pytest.mark.parametrize(
    ("context", "word", "said"),
    [
        ("the river", "bank", "'bank' is not in 'the river'"),
        ("", "bank", "is not in"),
        ("the banks", "bank", "is not in"),
        ("bank to Bank", "bank", r"2 times in .* as \[bank\]"),
        ("[bank] to [bank]", "bank", "2 uses of 'bank' are marked"),
        ("a river-bank", "river-bank", "not one word"),
        ("in 1984", "1984", "not one word"),
        ("the bank", "", "not one word"),
        ("the bank\udcff", "bank", "UTF-8"),
    ],
)
def test_an_unclear_use_is_refused(context: str, word: str, said: str) -> None:
    """A word that is not there, is there twice or marked twice, or is none, is refused."""
    with pytest.raises(RequestError, match=said):
        find_use(context, word)
