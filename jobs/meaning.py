"""What the words of a query mean: which senses are searched for, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from embedder.occurrences import Use
from embedder.words import find_words
from indexes.penalty import Penalty
from indexes.sense_inventory import WordSenses
from jobs.senses import SenseChoice, Senses, nearest_sense
from jobs.use_encoder import UseEncoder

SURE = 0.7
"""Least confidence with which a query's own context decides what its word means."""

OTHER_SENSE = 0.1
"""What a passage loses of its cosine that uses a query's word in another sense alone."""


class MeaningKind(StrEnum):
    """What is done about senses."""

    GROUPED = "grouped"
    """The query is one word with several senses: each gets its room among the answers."""

    RESTRICTED = "restricted"
    """Only passages that use a word in one sense answer."""

    IN_CONTEXT = "in context"
    """The query's other words say what is meant: passages with another sense come later."""


@dataclass(frozen=True)
class Meaning:
    """How a query is understood.

    Args:
        kind: what is done about senses.
        senses: the senses: all of the word, the one asked for, or one for each ambiguous word.
    """

    kind: MeaningKind
    senses: tuple[SenseChoice, ...]

    def lines(self) -> list[str]:
        """For people who ask how an answer was found."""
        names = ", ".join(choice.name for choice in self.senses)
        if self.kind is MeaningKind.GROUPED:
            return [f"{self.senses[0].word.form} has several senses, each searched for: {names}"]
        if self.kind is MeaningKind.RESTRICTED:
            return [f"only passages that use {names}"]
        return [
            f"{choice.word.form} means {choice.name} here (confidence {choice.confidence:.2f}); "
            f"passages that use it in another sense alone count "
            f"{OTHER_SENSE * choice.confidence:.2f} less"
            for choice in self.senses
        ]


def understand(queries: Sequence[str], senses: Senses, encoder: UseEncoder) -> list[Meaning | None]:
    """The meaning of each query; None where no word of it has several senses, or none is sure.

    Args:
        queries: the queries.
        senses: of the index's words.
        encoder: gives the words of queries their vectors.
    """
    found: list[Meaning | None] = [None] * len(queries)
    asked: list[tuple[int, WordSenses, Use]] = []
    for number, query in enumerate(queries):
        words = list(find_words(query))
        ambiguous = [(use, word) for use in words if (word := _ambiguous(senses, use.form))]
        if len(words) == 1 and ambiguous and _is_whole(query, words[0].start, words[0].end):
            found[number] = Meaning(MeaningKind.GROUPED, every_sense(ambiguous[0][1]))
        elif len(words) > 1:
            asked += [(number, word, Use(query, use.start, use.end)) for use, word in ambiguous]
    for number, choices in _in_context(asked, encoder):
        found[number] = Meaning(MeaningKind.IN_CONTEXT, tuple(choices))
    return found


def every_sense(word: WordSenses) -> tuple[SenseChoice, ...]:
    """All senses of a word, the most frequent first."""
    return tuple(SenseChoice(word, number) for number in word.numbers.tolist())


def _ambiguous(senses: Senses, form: str) -> WordSenses | None:
    return senses.inventory.find(form) if senses.inventory.n_senses(form) > 1 else None


def _is_whole(query: str, start: int, end: int) -> bool:
    """Whether a query is a word and nothing else but signs around it."""
    return not any(c.isalnum() for c in query[:start] + query[end:])


def _in_context(
    asked: Sequence[tuple[int, WordSenses, Use]], encoder: UseEncoder
) -> Iterator[tuple[int, list[SenseChoice]]]:
    """Of each query the senses of its ambiguous words that its context is sure of."""
    if not asked:
        return
    cut = encoder.cut([use for _, _, use in asked])
    rows = encoder.encode_cut(cut)
    assert rows is not None  # nothing stops it
    chosen: dict[int, dict[str, SenseChoice]] = {}
    for (number, word, _), row, passage in zip(asked, rows, cut.passages.tolist(), strict=True):
        if passage < 0:  # it has no vector, and so its context says nothing
            continue
        choice = nearest_sense(word, row)
        if choice.confidence >= SURE:
            chosen.setdefault(number, {}).setdefault(word.form, choice)
    for number, choices in chosen.items():
        yield number, list(choices.values())


def penalty(senses: Senses, meaning: Meaning) -> Penalty:
    """What passages lose that use a query's words in other senses alone."""
    parts = [Penalty.none()]
    for choice in meaning.senses:
        uses = senses.uses_of(choice.word)
        positions = senses.uses.positions(uses)
        is_meant = uses.senses == choice.number
        others = np.setdiff1d(positions[~is_meant], positions[is_meant])
        amounts = np.full(len(others), OTHER_SENSE * choice.confidence, dtype=np.float32)
        parts.append(Penalty(others, amounts))
    return Penalty.sum(parts)
