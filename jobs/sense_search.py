"""Answers to queries whose words have senses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from embedder.vectors import Rows
from indexes.query_plan import QueryPlan
from indexes.searcher import Neighbour, Searcher
from jobs.meaning import Meaning, MeaningKind, penalty
from jobs.senses import SenseChoice, Senses

Found = tuple[Neighbour, str | None]
"""A document, and the name of the sense for which it was found."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of every query.

    Args:
        k: documents a query.
        where: SQL expression over the metadata.
        fields: metadata columns to return.
        exact: look at every passage.
        sense: only passages that use a word in this sense.
        with_senses: whether to look at the senses of the queries' words.
    """

    k: int
    where: str | None
    fields: tuple[str, ...]
    exact: bool
    sense: SenseChoice | None
    with_senses: bool


def search_meaning(
    searcher: Searcher, senses: Senses, row: Rows, meaning: Meaning, asked: Asked
) -> tuple[list[Found], QueryPlan]:
    """The k best documents of one query by its meaning, and how they were found.

    Args:
        searcher: the index.
        senses: its senses.
        row: the query's vector, shape (1, width).
        meaning: how it is understood.
        asked: what is asked of it.
    """
    if meaning.kind is MeaningKind.IN_CONTEXT:
        answer = searcher.answer(
            row,
            asked.k,
            where=asked.where,
            fields=asked.fields,
            exact=asked.exact,
            penalty=penalty(senses, meaning),
        )
        return [(n, None) for n in answer.neighbours[0]], _explained(answer.plan, meaning)
    answers = [
        searcher.answer(
            row,
            asked.k,
            where=asked.where,
            fields=asked.fields,
            exact=asked.exact,
            within=senses.passages(choice),
        )
        for choice in meaning.senses
    ]
    names: list[str | None] = [choice.name for choice in meaning.senses]
    rooms = fair_rooms([answer.neighbours[0] for answer in answers], asked.k)
    if meaning.kind is MeaningKind.GROUPED and sum(map(len, rooms)) < asked.k:
        answers.append(
            searcher.answer(row, asked.k, where=asked.where, fields=asked.fields, exact=asked.exact)
        )
        names.append(None)
        rooms.append(_others(answers[-1].neighbours[0], rooms, asked.k))
    found: list[Found] = [(n, name) for name, room in zip(names, rooms, strict=True) for n in room]
    steps = tuple(step for answer in answers for step in answer.plan.steps)
    plan = replace(answers[0].plan, steps=steps)
    if len(answers) > 1:  # of each sense others, which the steps say
        plan = replace(plan, n_allowed=plan.n_passages)
    return found, _explained(plan, meaning)


def fair_rooms(lists: Sequence[Sequence[Neighbour]], k: int) -> list[list[Neighbour]]:
    """The first of several lists, k in all, one from each in turn; a document comes once.

    Args:
        lists: documents of each sense, best first; the first list takes the first turn.
        k: how many.
    """
    rooms: list[list[Neighbour]] = [[] for _ in lists]
    left = [list(reversed(one)) for one in lists]
    seen: set[tuple[str, str]] = set()
    while any(left) and sum(map(len, rooms)) < k:
        for room, waiting in zip(rooms, left, strict=True):
            while waiting and (key := _key(waiting[-1])) in seen:
                waiting.pop()
            if waiting and sum(map(len, rooms)) < k:
                seen.add(key)
                room.append(waiting.pop())
    return rooms


def _others(
    neighbours: Sequence[Neighbour], rooms: Sequence[Sequence[Neighbour]], k: int
) -> list[Neighbour]:
    """What fills the rooms up to k: documents that are in none of them."""
    seen = {_key(neighbour) for room in rooms for neighbour in room}
    return [neighbour for neighbour in neighbours if _key(neighbour) not in seen][: k - len(seen)]


def _key(neighbour: Neighbour) -> tuple[str, str]:
    return neighbour.document.id, neighbour.document.text


def _explained(plan: QueryPlan, meaning: Meaning) -> QueryPlan:
    return replace(plan, meaning=tuple(meaning.lines()))
