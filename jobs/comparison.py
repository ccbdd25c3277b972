"""A word's one static vector beside its senses in an index: what the one mixes up and misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from indexes.sense_inventory import WordSenses
from jobs.senses import Sense, Senses, WordView
from jobs.static_neighbours import StaticNeighbours
from jobs.word_folder import WordFolder

COMPARISON_COLUMNS = ("word", "side", "sense", "rank", "neighbour", "score", "through", "nearness")

LEAST_NEARNESS = 0.25
"""Cosine from which on a neighbour belongs to a sense; of two senses drawn by chance out of an
index of Wikipedia one pair in sixteen reaches it."""

N_WORDS = 6
SENSE_NEIGHBOURS = 10


@dataclass(frozen=True, kw_only=True)
class LabelledNeighbour:
    """A neighbour of the static vector, and the sense of the word that it belongs to.

    Args:
        neighbour: its form.
        score: cosine of the two static vectors.
        sense: the sense of the word that it is nearest to, as `bank/2`; None where none is near,
            or the index has no senses of the neighbour.
        through: the neighbour's own sense that is near, as `shore/1`; None if it has none.
        nearness: cosine of the two senses' centres.
    """

    neighbour: str
    score: float
    sense: str | None = None
    through: str | None = None
    nearness: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What a static vector and an index say of one word.

    Args:
        view: the word's senses, each with its neighbours, the most frequent first.
        static: the static vector's neighbours, nearest first.
        title: what the static vectors are.
        index: where the senses are from.
    """

    view: WordView
    static: tuple[LabelledNeighbour, ...]
    title: str
    index: str

    @property
    def word(self) -> str:
        """The form of the word."""
        return self.view.word

    def n_static(self, sense: Sense) -> int:
        """Neighbours of the static vector that belong to a sense."""
        return sum(one.sense == sense.name for one in self.static)

    @property
    def mixed(self) -> list[Sense]:
        """The senses that the static vector's neighbours belong to."""
        return [sense for sense in self.view.senses if self.n_static(sense)]

    @property
    def missed(self) -> list[Sense]:
        """The senses that none of its neighbours belongs to."""
        return [sense for sense in self.view.senses if not self.n_static(sense)]

    def verdict(self) -> str:
        """What the comparison shows, in a sentence or two."""
        parts = [f"{self.n_static(sense)} of {sense.name}" for sense in self.mixed]
        others = [one for one in self.static if one.sense is None]
        n_unknown = sum(one.through is None for one in others)
        parts += [f"{len(others) - n_unknown} near none of them"] if len(others) > n_unknown else []
        parts += [f"{n_unknown} without senses in the index"] if n_unknown else []
        text = f"Of {len(self.static)} nearest words of the one vector: {', '.join(parts)}."
        missed = [sense.name for sense in self.missed]
        return f"{text} It misses {_listed(missed)}." if missed else f"{text} It misses no sense."

    def rows(self) -> list[dict[str, Any]]:
        """A JSON-able dictionary a neighbour, with the columns COMPARISON_COLUMNS: first those of
        the static vector, then those of each sense."""
        found: list[dict[str, Any]] = [
            {"word": self.word, "side": "static", "rank": rank, **asdict(one)}
            for rank, one in enumerate(self.static, 1)
        ]
        for sense in self.view.senses:
            for rank, near in enumerate(sense.neighbours, 1):
                values = {"sense": sense.name, "rank": rank, "neighbour": near.sense}
                found.append({"word": self.word, "side": "sense", **values, "score": near.score})
        return [{name: row.get(name) for name in COMPARISON_COLUMNS} for row in found]


def compare_word(words: WordFolder, senses: Senses, word: str, *, k: int = 10) -> Comparison:
    """Set a word's static vector beside its senses.

    Args:
        words: static vectors.
        senses: the senses of an index.
        word: a word that both have.
        k: neighbours of the one, and of each of the others.

    Raises:
        WordError: it has no vector, or the index has no senses of it.
        IndexFormatError: a file of the index is not as it was written.
    """
    found = senses.find(word)
    near = StaticNeighbours.find(words, found.form, k).near
    view = senses.describe(
        found, n_neighbours=min(k, SENSE_NEIGHBOURS), n_words=N_WORDS, n_examples=1
    )
    present = [sense.name for sense in view.senses]
    labelled = [_labelled(senses, found, present, one.neighbour, one.score) for one in near]
    return Comparison(view, tuple(labelled), words.title, str(senses.layout.root))


def _labelled(
    senses: Senses, word: WordSenses, present: Sequence[str], neighbour: str, score: float
) -> LabelledNeighbour:
    """The sense that a neighbour belongs to: of all pairs of a sense of the word that still has
    uses and one of the neighbour, the nearest decides."""
    other = senses.inventory.find(neighbour)
    if other is None:
        return LabelledNeighbour(neighbour=neighbour, score=score)
    cosines = word.centroids @ other.centroids.T
    cosines[[name not in present for name in word.names]] = -np.inf
    own, its = np.unravel_index(int(cosines.argmax()), cosines.shape)
    nearness = float(cosines[own, its])
    return LabelledNeighbour(
        neighbour=neighbour,
        score=score,
        sense=word.names[own] if nearness >= LEAST_NEARNESS else None,
        through=other.names[its],
        nearness=nearness,
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
