"""Which senses rise, fall or are new: between two indexes, or over a column of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexMismatchError
from embedder.senses import match
from embedder.significance import chance
from indexes.sense_inventory import WordSenses
from jobs.column_values import ColumnValues, read_values
from jobs.sense_basis import open_basis
from jobs.senses import Senses

SURE = 0.001
"""Greatest probability of a change by chance for which it is told without being asked for."""

STEADY = 0.02
"""A share that moves less is steady."""

DIFF_COLUMNS = ("word", "sense", "other_sense", "status", "share", "other_share", "p", "words")
BY_COLUMNS = ("word", "sense", "value", "n_uses", "share", "p", "words")
N_WORDS = 6


class Status(StrEnum):
    """What became of a sense."""

    NEW = "new"
    GONE = "gone"
    RISES = "rises"
    FALLS = "falls"
    STEADY = "steady"


@dataclass(frozen=True, kw_only=True)
class SenseChange:
    """A sense in two indexes.

    Args:
        word: its word.
        sense: its name in this index, empty if it is new.
        other_sense: its name in the other, empty if it is gone.
        status: what became of it.
        share: its share of the word's uses in this index.
        other_share: its share in the other.
        p: how probable so great a difference is by chance (likelihood ratio test).
        words: words typical of its contexts.
    """

    word: str
    sense: str
    other_sense: str
    status: Status
    share: float
    other_share: float
    p: float
    words: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


def changes_between(here: Senses, other: Senses, word: str | None, k: int) -> list[SenseChange]:
    """What rises, falls or is new in another index, the surest changes first.

    Senses are compared by their centres, which are carried from one index's components to the
    other's, so both need the same encoder and nothing is encoded.

    Args:
        here: the senses of this index.
        other: those of the other.
        word: only this word, all of its senses; None for all words that both have, and of these
            what is no chance.
        k: most changes for all words.

    Raises:
        IndexMismatchError: the indexes were built with different encoders.
        WordError: one of them has no senses of the word.
    """
    if here.manifest.encoder.space != other.manifest.encoder.space:
        raise IndexMismatchError(
            f"{here.layout.root} and {other.layout.root} were built with different encoders, whose "
            "vectors cannot be compared.",
            "Build one of them again with the model of the other.",
        )
    if word is not None:
        pairs = [(here.find(word), other.find(word))]
    else:
        pairs = list(_shared(here, other))
    carried = _Carried(here, other)
    found = [change for pair in pairs for change in _compare(*pair, carried)]
    if word is None:
        found = [one for one in found if one.p < SURE and one.status is not Status.STEADY]
    found.sort(key=lambda one: (one.p, one.word, one.sense, one.other_sense))
    kept = found if word is not None else found[:k]
    return [_with_words(one, here, other) for one in kept]


def _shared(here: Senses, other: Senses) -> Iterator[tuple[WordSenses, WordSenses]]:
    for form in here.inventory:
        old, new = here.inventory.find(form), other.inventory.find(form)
        if old is not None and new is not None and max(len(old.numbers), len(new.numbers)) > 1:
            yield old, new


class _Carried:
    """Carries centres of senses from one index's components to another's."""

    def __init__(self, here: Senses, other: Senses) -> None:
        assert here.manifest.basis is not None and other.manifest.basis is not None
        self._to = open_basis(here.layout, here.manifest.basis).projection
        self._from = open_basis(other.layout, other.manifest.basis).projection

    def centroids(self, word: WordSenses) -> npt.NDArray[np.float32]:
        """The other index's centroids of a word in this one's components."""
        return self._to.apply(self._from.restore(word.centroids))


def _compare(old: WordSenses, new: WordSenses, carried: _Carried) -> Iterator[SenseChange]:
    continued = match(old.centroids, carried.centroids(new)).tolist()
    pairs: list[tuple[int | None, int | None]] = [
        (place if place >= 0 else None, number) for number, place in enumerate(continued)
    ]
    pairs += [(place, None) for place in range(len(old.numbers)) if place not in continued]
    n_old, n_new = int(old.n_uses.sum()), int(new.n_uses.sum())
    for before, after in pairs:
        n_before = 0 if before is None else int(old.n_uses[before])
        n_after = 0 if after is None else int(new.n_uses[after])
        table = np.array([[n_before, n_old - n_before], [n_after, n_new - n_after]])
        share, other_share = n_before / n_old, n_after / n_new
        yield SenseChange(
            word=old.form,
            sense="" if before is None else old.names[before],
            other_sense="" if after is None else new.names[after],
            status=_status(before, after, other_share - share),
            share=share,
            other_share=other_share,
            p=chance(table),
        )


def _status(before: int | None, after: int | None, change: float) -> Status:
    if before is None:
        return Status.NEW
    if after is None:
        return Status.GONE
    if abs(change) < STEADY:
        return Status.STEADY
    return Status.RISES if change > 0 else Status.FALLS


def _with_words(change: SenseChange, here: Senses, other: Senses) -> SenseChange:
    """With the typical words of the sense, in the index that has it."""
    source, name = (here, change.sense) if change.sense else (other, change.other_sense)
    word = source.find(change.word)
    view = source.describe(word, n_neighbours=0, n_words=N_WORDS, n_examples=0)
    words = next((sense.words for sense in view.senses if sense.name == name), ())
    return SenseChange(**{**change.to_json(), "status": change.status, "words": words})


@dataclass(frozen=True, kw_only=True)
class SenseOver:
    """A sense over the values of a column.

    Args:
        word: its word.
        sense: its name.
        n_uses: its uses at each value.
        shares: its share of the word's uses at each value; NaN where the word has none.
        p: how probable so uneven shares are by chance.
        words: words typical of its contexts.
    """

    word: str
    sense: str
    n_uses: tuple[int, ...]
    shares: tuple[float, ...]
    p: float
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Over:
    """Senses over the values of a column.

    Args:
        column: the column.
        values: its values, or ranges of them, in order.
        n_without: documents without a value.
        senses: the senses.
    """

    column: str
    values: tuple[str, ...]
    n_without: int
    senses: tuple[SenseOver, ...]

    def rows(self) -> list[dict[str, Any]]:
        """A row a sense and value."""
        return [
            {
                "word": one.word,
                "sense": one.sense,
                "value": value,
                "n_uses": n,
                "share": share,
                "p": one.p,
                "words": list(one.words),
            }
            for one in self.senses
            for value, n, share in zip(self.values, one.n_uses, one.shares, strict=True)
        ]


def changes_over(senses: Senses, column: str, word: str | None, k: int) -> Over:
    """How the shares of senses differ from value to value of a metadata column.

    Args:
        senses: the senses of an index.
        column: the column; many numbers or times become ranges of equally many documents.
        word: only this word, all of its senses; None for the k senses that differ most surely.
        k: most senses for all words.

    Raises:
        FilterError: there is no such column.
        WordError: the index has no senses of the word.
    """
    values = read_values(senses.store, column)
    if word is not None:
        found = list(_over(senses, senses.find(word), values))
    else:
        forms = (senses.inventory.find(form) for form in senses.inventory)
        words = [one for one in forms if one is not None and len(one.numbers) > 1]
        found = [one for each in words for one in _over(senses, each, values) if one.p < SURE]
        found = sorted(found, key=lambda one: (one.p, one.sense))[:k]
    return Over(
        column=values.column,
        values=values.labels,
        n_without=values.n_without,
        senses=tuple(_over_with_words(senses, found)),
    )


def _over(senses: Senses, word: WordSenses, values: ColumnValues) -> Iterator[SenseOver]:
    uses = senses.uses.of(word)
    codes = values.codes[senses.uses.document_numbers(uses)]
    n_values = len(values.labels)
    totals = np.bincount(codes[codes >= 0], minlength=n_values)
    for number in word.numbers.tolist():
        own = np.bincount(codes[(codes >= 0) & (uses.senses == number)], minlength=n_values)
        if own.sum():
            with np.errstate(invalid="ignore"):
                shares = own / totals
            yield SenseOver(
                word=word.form,
                sense=f"{word.form}/{number}",
                n_uses=tuple(own.tolist()),
                shares=tuple(shares.tolist()),
                p=chance(np.stack([own, totals - own])),
            )


def _over_with_words(senses: Senses, found: Sequence[SenseOver]) -> Iterator[SenseOver]:
    words: dict[str, tuple[str, ...]] = {}
    for form in dict.fromkeys(one.word for one in found):
        view = senses.describe(senses.find(form), n_neighbours=0, n_words=N_WORDS, n_examples=0)
        words |= {sense.name: sense.words for sense in view.senses}
    for one in found:
        yield SenseOver(**{**asdict(one), "words": words.get(one.sense, ())})
