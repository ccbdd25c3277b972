"""Which senses rise, fall or are new: between two indexes, or over a column of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexMismatchError, WordError
from embedder.senses import match
from embedder.significance import Counts, chance
from embedder.vectors import Rows
from indexes.sense_inventory import WordSenses
from indexes.sense_uses import Uses
from jobs.column_values import ColumnValues, read_values
from jobs.sense_basis import open_basis
from jobs.senses import Senses

SURE = 0.01
"""Greatest probability that any of the changes that are told without being asked for is chance, of
however many words they were picked out (Bonferroni's correction)."""

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
        p: how probable so great a difference is by chance (likelihood ratio test). Each document
            counts once for a sense, for uses in one document are alike.
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
        pairs = [(here.find(word), _find_in(other, word))]
    else:
        pairs = list(_shared(here, other))
    carried = _Carried(here, other)
    found = [
        change
        for old, new in pairs
        for change in _compare(old.form, _Counted.of(here, old), _Counted.of(other, new), carried)
    ]
    if word is None:
        limit = SURE / max(1, len(found))
        found = [one for one in found if one.p < limit and one.status is not Status.STEADY]
    found.sort(key=lambda one: (one.p, one.word, one.sense, one.other_sense))
    kept = found if word is not None else found[:k]
    return [_with_words(one, here, other) for one in kept]


def _find_in(other: Senses, word: str) -> WordSenses:
    """A word of the other index, whose errors are about that one."""
    try:
        return other.find(word)
    except WordError as error:
        raise WordError(f"In {other.layout.root}: {error.message}", error.hint) from error


def _shared(here: Senses, other: Senses) -> Iterator[tuple[WordSenses, WordSenses]]:
    for form in here.inventory:
        if max(here.inventory.n_senses(form), other.inventory.n_senses(form)) > 1:
            old, new = here.inventory.find(form), other.inventory.find(form)
            if old is not None and new is not None:
                yield old, new


@dataclass(frozen=True)
class _Counted:
    """A word's senses that have uses in documents that are not deleted, shape (n_senses,).

    Args:
        names: their names.
        centroids: their centres, shape (n_senses, n_components).
        n_uses: uses of each.
        n_documents: documents that use it.
    """

    names: list[str]
    centroids: Rows
    n_uses: Counts
    n_documents: Counts

    @classmethod
    def of(cls, senses: Senses, word: WordSenses) -> _Counted:
        uses = senses.uses.of(word)
        once = uses.senses[_once_a_document(senses, uses)]
        n_uses, n_documents = (
            (found[:, None] == word.numbers).sum(axis=0) for found in (uses.senses, once)
        )
        kept = np.flatnonzero(n_uses)
        names = [word.names[place] for place in kept.tolist()]
        return cls(names, word.centroids[kept], n_uses[kept], n_documents[kept])

    def share(self, place: int | None) -> float:
        """The share of the uses that one of the senses has."""
        return 0.0 if place is None else int(self.n_uses[place]) / int(self.n_uses.sum())

    def row(self, place: int | None) -> list[int]:
        """In how many documents the word has one of the senses, and in how many another one."""
        n = 0 if place is None else int(self.n_documents[place])
        return [n, int(self.n_documents.sum()) - n]


def _once_a_document(senses: Senses, uses: Uses) -> npt.NDArray[np.int64]:
    """The first use of each sense in each document."""
    keys = senses.uses.document_numbers(uses) * 65_536 + uses.senses
    firsts: npt.NDArray[np.int64] = np.unique(keys, return_index=True)[1]
    return firsts


class _Carried:
    """Carries centres of senses from one index's components to another's."""

    def __init__(self, here: Senses, other: Senses) -> None:
        assert here.manifest.basis is not None and other.manifest.basis is not None
        self._to = open_basis(here.layout, here.manifest.basis).projection
        self._from = open_basis(other.layout, other.manifest.basis).projection

    def here(self, centroids: Rows) -> Rows:
        """Centroids of the other index in this one's components."""
        return self._to.apply(self._from.restore(centroids))


def _compare(form: str, old: _Counted, new: _Counted, carried: _Carried) -> Iterator[SenseChange]:
    continued = match(old.centroids, carried.here(new.centroids)).tolist()
    pairs: list[tuple[int | None, int | None]] = [
        (place if place >= 0 else None, number) for number, place in enumerate(continued)
    ]
    pairs += [(place, None) for place in range(len(old.names)) if place not in continued]
    for before, after in pairs:
        share, other_share = old.share(before), new.share(after)
        yield SenseChange(
            word=form,
            sense="" if before is None else old.names[before],
            other_sense="" if after is None else new.names[after],
            status=_status(before, after, other_share - share),
            share=share,
            other_share=other_share,
            p=chance(np.array([old.row(before), new.row(after)])),
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
        p: how probable so uneven shares are by chance, each document counting once for a sense.
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
        column: the column; many numbers or times become ranges of equally many documents, of other
            values the most frequent stay; of one word those count that use it.
        word: only this word, all of its senses; None for the k senses that differ most surely.
        k: most senses for all words.

    Raises:
        FilterError: there is no such column.
        WordError: the index has no senses of the word.
    """
    if word is not None:
        one = senses.find(word)
        documents = np.unique(senses.uses.document_numbers(senses.uses.of(one)))
        values = read_values(senses.store, column, documents)
        found = list(_over(senses, one, values))
    else:
        values = read_values(senses.store, column)
        forms = [form for form in senses.inventory if senses.inventory.n_senses(form) > 1]
        found = [one for form in forms for one in _over(senses, senses.find(form), values)]
        limit = SURE / max(1, len(found))
        found = sorted((o for o in found if o.p < limit), key=lambda one: (one.p, one.sense))[:k]
    return Over(
        column=values.column,
        values=values.labels,
        n_without=values.n_without,
        senses=tuple(_over_with_words(senses, found)),
    )


def _over(senses: Senses, word: WordSenses, values: ColumnValues) -> Iterator[SenseOver]:
    every = senses.uses.of(word)
    codes = values.codes[senses.uses.document_numbers(every)]
    uses, codes = every.take(codes >= 0), codes[codes >= 0]
    once = _once_a_document(senses, uses)
    n_values = len(values.labels)
    totals, once_totals = (np.bincount(c, minlength=n_values) for c in (codes, codes[once]))
    for number in word.numbers.tolist():
        is_own = uses.senses == number
        own = np.bincount(codes[is_own], minlength=n_values)
        own_once = np.bincount(codes[once][is_own[once]], minlength=n_values)
        if own.sum():
            with np.errstate(invalid="ignore"):
                shares = own / totals
            yield SenseOver(
                word=word.form,
                sense=f"{word.form}/{number}",
                n_uses=tuple(own.tolist()),
                shares=tuple(shares.tolist()),
                p=chance(np.stack([own_once, once_totals - own_once])),
            )


def _over_with_words(senses: Senses, found: Sequence[SenseOver]) -> Iterator[SenseOver]:
    words: dict[str, tuple[str, ...]] = {}
    for form in dict.fromkeys(one.word for one in found):
        view = senses.describe(senses.find(form), n_neighbours=0, n_words=N_WORDS, n_examples=0)
        words |= {sense.name: sense.words for sense in view.senses}
    for one in found:
        yield SenseOver(**{**asdict(one), "words": words.get(one.sense, ())})
