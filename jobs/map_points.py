"""The uses of a word that a map shows, read from an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedder.errors import WordError
from embedder.projection import decode_codes
from embedder.vectors import Rows
from indexes.sense_uses import Uses
from jobs.senses import Senses
from jobs.use_texts import UseText, read_use_texts

BLOCK = 1000
"""Uses whose documents are read at once."""

N_WORDS = 5
"""Typical words of each sense."""

MOST_CHARACTERS = 320
"""Of a sentence to either side of the word; lists make sentences of thousands."""

SEED = 0


@dataclass(frozen=True, kw_only=True)
class MapSense:
    """A sense in the legend.

    Args:
        name: as `bank/1`.
        n_uses: its uses, shown or not.
        share: their share of the word's uses.
        words: words typical of its contexts.
    """

    name: str
    n_uses: int
    share: float
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MapUse:
    """A use of the word, in its sentence.

    Args:
        sense: place of its sense in the legend.
        confidence: how surely it has that sense and no other, in [0, 1].
        before: the sentence before the word.
        word: the word as it stands there.
        after: the sentence after it.
        document: id of the document.
        metadata: the fields asked for that have a value.
    """

    sense: int
    confidence: float
    before: str
    word: str
    after: str
    document: str
    metadata: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class MapPoints:
    """What a map shows of a word.

    Args:
        word: the form by which it is looked up.
        senses: those that have uses, the most frequent first.
        uses: those to show, in the order of the index.
        rows: their vectors, unit rows, shape (n, d).
        centroids: of the senses, unit rows, shape (n_senses, d).
        n_uses: uses that there are.
    """

    word: str
    senses: tuple[MapSense, ...]
    uses: tuple[MapUse, ...]
    rows: Rows
    centroids: Rows
    n_uses: int


def read_points(
    senses: Senses, word: str, *, limit: int, fields: Sequence[str] | None = None
) -> MapPoints:
    """The uses of a word in documents that are not deleted.

    Args:
        senses: the senses of the index.
        word: the word, in any case.
        limit: most uses; of more a uniform sample, the same each time.
        fields: metadata columns to read; the first one by default.

    Raises:
        WordError: the index has no senses of the word, or all its uses are deleted.
        FilterError: there is no such column.
    """
    found = senses.find(word)
    every = senses.uses_of(found)
    if not len(every):
        raise WordError(f"All documents with {found.form!r} are deleted.", "Choose another word.")
    view = senses.describe(found, n_neighbours=0, n_words=N_WORDS, n_examples=0)
    names = [sense.name for sense in view.senses]
    centroids = dict(zip(found.names, found.centroids, strict=True))
    shown = _sample(every, limit)
    store = senses.store
    columns = store.metadata_columns[:1] if fields is None else store.resolve_fields(fields)
    return MapPoints(
        word=found.form,
        senses=tuple(
            MapSense(name=sense.name, n_uses=sense.n_uses, share=sense.share, words=sense.words)
            for sense in view.senses
        ),
        uses=tuple(_map_use(text, names) for text in _texts(senses, found.form, shown, columns)),
        rows=decode_codes(senses.uses.codes(shown)),
        centroids=np.stack([centroids[name] for name in names]),
        n_uses=len(every),
    )


def _sample(uses: Uses, limit: int) -> Uses:
    if len(uses) <= limit:
        return uses
    chosen = np.random.default_rng(SEED).choice(len(uses), limit, replace=False)
    return uses.take(np.sort(chosen))


def _texts(senses: Senses, form: str, uses: Uses, columns: Sequence[str]) -> Iterator[UseText]:
    for first in range(0, len(uses), BLOCK):
        block = uses.take(slice(first, first + BLOCK))
        yield from read_use_texts(senses.store, form, block, block.confidences, columns)


def _map_use(text: UseText, names: Sequence[str]) -> MapUse:
    first, last = text.sentence
    before, after = shortened(text.passage[first : text.start], text.passage[text.end : last])
    return MapUse(
        sense=names.index(text.sense),
        confidence=text.confidence,
        before=before,
        word=text.passage[text.start : text.end],
        after=after,
        document=text.id,
        metadata={name: value for name, value in text.metadata.items() if value is not None},
    )


def shortened(before: str, after: str) -> tuple[str, str]:
    """What stands before and after a word in its sentence, cut at a space where it is long."""
    if len(before) > MOST_CHARACTERS:
        before = "…" + before[-MOST_CHARACTERS:].partition(" ")[2]
    if len(after) > MOST_CHARACTERS:
        after = after[:MOST_CHARACTERS].rpartition(" ")[0] + "…"
    return before, after
