"""What lies nearest to the senses of a word: senses of other words, or uses of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from embedder.vectors import Rows
from indexes.sense_inventory import WordSenses
from jobs.output import column_names
from jobs.senses import NearSense, SenseChoice, Senses, nearest_sense
from jobs.use_texts import UseText

NEIGHBOUR_COLUMNS = (
    "word",
    "sense",
    "confidence",
    "rank",
    "neighbour",
    "score",
    "share",
    "n_uses",
)
USE_COLUMNS = (
    "word",
    "near",
    "rank",
    "score",
    "sense",
    "confidence",
    "id",
    "passage",
    "start",
    "end",
)
TITLE_WORDS = 8


@dataclass(frozen=True, kw_only=True)
class SenseTitle:
    """A sense as people know it.

    Args:
        choice: the sense.
        share: its share of its word's uses.
        words: words typical of its contexts.
    """

    choice: SenseChoice
    share: float
    words: tuple[str, ...]


@dataclass(frozen=True)
class SenseNeighbours:
    """The nearest senses of other words, of each sense that was asked for.

    Args:
        groups: each sense with its neighbours, nearest first.
    """

    groups: tuple[tuple[SenseTitle, tuple[NearSense, ...]], ...]

    @classmethod
    def find(
        cls, senses: Senses, word: str, sense: str | None, row: Rows | None, k: int
    ) -> SenseNeighbours:
        """The k nearest of each sense.

        Args:
            senses: the senses of an index.
            word: a word, or the name of a sense.
            sense: only this sense.
            row: vector of the word in a context whose sense alone is meant.
            k: neighbours of each.

        Raises:
            WordError: there is no such word or sense.
        """
        titles = _titles(senses, *_chosen(senses, word, sense, row))
        return cls(tuple((title, tuple(senses.near(title.choice, k))) for title in titles))

    def rows(self) -> list[dict[str, Any]]:
        """A JSON-able dictionary a neighbour."""
        return [
            {
                "word": title.choice.word.form,
                "sense": title.choice.name,
                "confidence": title.choice.confidence,
                "rank": rank,
                "neighbour": near.sense,
                "score": near.score,
                "share": near.share,
                "n_uses": near.n_uses,
            }
            for title, found in self.groups
            for rank, near in enumerate(found, 1)
        ]


@dataclass(frozen=True)
class UseNeighbours:
    """The nearest uses of a word itself, of each sense or context that was asked for.

    Args:
        groups: each sense with uses, nearest first; those of a context may have any sense.
    """

    groups: tuple[tuple[SenseTitle, tuple[UseText, ...]], ...]

    @classmethod
    def find(
        cls,
        senses: Senses,
        word: str,
        sense: str | None,
        row: Rows | None,
        k: int,
        *,
        fields: Sequence[str] = (),
    ) -> UseNeighbours:
        """The k nearest uses; arguments as for `SenseNeighbours.find`.

        Raises:
            WordError: there is no such word or sense.
            FilterError: there is no such column.
        """
        groups = []
        for title in _titles(senses, *_chosen(senses, word, sense, row)):
            choice = title.choice
            if row is not None:
                found = senses.uses_like(choice.word, row, k, fields=fields)
            else:
                found = senses.uses_like(
                    choice.word, choice.centroid, k, number=choice.number, fields=fields
                )
            groups.append((title, tuple(found)))
        return cls(tuple(groups))

    def rows(self) -> list[dict[str, Any]]:
        """A JSON-able dictionary a use."""
        return [
            {
                "word": title.choice.word.form,
                "near": title.choice.name,
                "rank": rank,
                **asdict(use),
            }
            for title, found in self.groups
            for rank, use in enumerate(found, 1)
        ]

    def flat_rows(self, fields: Sequence[str]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """Rows for a table, each metadata column a column, and the names of all.

        Args:
            fields: the metadata columns that were asked for.
        """
        names = dict(zip(fields, column_names(USE_COLUMNS, fields), strict=True))
        rows = [
            {name: row[name] for name in USE_COLUMNS}
            | {name: row["metadata"].get(field) for field, name in names.items()}
            for row in self.rows()
        ]
        return rows, (*USE_COLUMNS, *names.values())


def _chosen(
    senses: Senses, word: str, sense: str | None, row: Rows | None
) -> tuple[WordSenses, list[SenseChoice]]:
    """The senses that are asked about."""
    if row is not None:
        found = senses.find(word)
        return found, [nearest_sense(found, row)]
    choice = senses.choose(word, sense)
    if choice is not None:
        return choice.word, [choice]
    found = senses.find(word)
    return found, [SenseChoice(found, number) for number in found.numbers.tolist()]


def _titles(senses: Senses, word: WordSenses, choices: Sequence[SenseChoice]) -> list[SenseTitle]:
    view = senses.describe(word, n_neighbours=0, n_words=TITLE_WORDS, n_examples=0)
    shown = {sense.name: sense for sense in view.senses}
    return [
        SenseTitle(choice=c, share=shown[c.name].share, words=shown[c.name].words)
        for c in choices
        if c.name in shown
    ]
