"""The query engine: an index opened together with the encoder that built it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from embedder.encoders import TextEncoder
from embedder.errors import RequestError
from embedder.records import is_utf8
from embedder.sentences import split_sentences
from embedder.specs import TextKind
from embedder.vectors import Rows
from indexes.layout import Layout
from indexes.lock import hold_open
from indexes.manifest import Manifest
from indexes.manifest_file import read_manifest
from indexes.query_plan import QueryPlan
from indexes.searcher import Neighbour, Searcher
from jobs.find import find_index
from jobs.query_encoder import QueryOptions, open_query_encoder

QUERY_BLOCK = 256
"""Queries answered at once, so that any number of them needs bounded memory."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A document that answers a query, by its best passage.

    Args:
        query: the query.
        rank: 1 for the best.
        score: cosine of query and passage.
        id: the document's id.
        passage: text of the best passage.
        start: its first character in the document.
        end: one past its last character.
        sentence: span in `passage` of the sentence nearest to the query, if it was asked for.
        metadata: the fields asked for.
    """

    query: str
    rank: int
    score: float
    id: str
    passage: str
    start: int
    end: int
    sentence: tuple[int, int] | None
    metadata: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of the fields; `sentence` only if it was asked for."""
        values = asdict(self)
        if self.sentence is None:
            del values["sentence"]
        return values


@dataclass(frozen=True)
class Answers:
    """What queries found, and how.

    Args:
        hits: for each query its documents, best first.
        plans: how each block of QUERY_BLOCK queries was answered.
    """

    hits: list[list[Hit]]
    plans: list[QueryPlan]


class Index:
    """A committed state of an index with its encoder; a context manager.

    Args:
        searcher: the index.
        encoder: an encoder of the same vector space.
    """

    def __init__(self, searcher: Searcher, encoder: TextEncoder) -> None:
        self.searcher = searcher
        self.encoder = encoder
        self.held = contextlib.ExitStack()  # what keeps the state's files from being deleted

    @property
    def manifest(self) -> Manifest:
        """What the index holds."""
        return self.searcher.manifest

    @property
    def fields(self) -> list[str]:
        """Metadata columns."""
        return self.searcher.metadata.metadata_columns

    def resolve_fields(self, fields: Sequence[str] | None) -> list[str]:
        """Metadata columns by their names in any case, all of them for None.

        Raises:
            FilterError: there is no such column.
        """
        return self.fields if fields is None else self.searcher.metadata.resolve_fields(fields)

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release what is open."""
        self.searcher.close()
        self.held.close()

    def encode(self, texts: Sequence[str], kind: TextKind = TextKind.QUERY) -> Rows:
        """Unit vectors of texts in the index's space, float32, shape (len(texts), width)."""
        return self.encoder.encode(texts, kind)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        where: str | None = None,
        fields: Sequence[str] | None = None,
        exact: bool = False,
        with_sentences: bool = False,
    ) -> list[Hit]:
        """The k documents nearest in meaning to a query; see `answer_many`."""
        [hits] = self.search_many(
            [query], k, where=where, fields=fields, exact=exact, with_sentences=with_sentences
        )
        return hits

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        where: str | None = None,
        fields: Sequence[str] | None = None,
        exact: bool = False,
        with_sentences: bool = False,
    ) -> list[list[Hit]]:
        """The k nearest documents of each query, best first, each document once; `answer_many`."""
        return self.answer_many(
            queries, k, where=where, fields=fields, exact=exact, with_sentences=with_sentences
        ).hits

    def answer_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        where: str | None = None,
        fields: Sequence[str] | None = None,
        exact: bool = False,
        with_sentences: bool = False,
    ) -> Answers:
        """The k nearest documents of each query, and how they were found.

        Args:
            queries: texts, none blank.
            k: documents a query; fewer only if fewer satisfy the filter.
            where: SQL expression over the metadata, as in `"year >= 2020 AND lang = 'en'"`.
            fields: metadata columns to return; all by default.
            exact: look at every passage, whatever the FAISS structure says.
            with_sentences: find the sentence of each passage that is nearest to the query.

        Raises:
            RequestError: a query is blank, or k is not positive.
            FilterError: the expression or a field is wrong.
        """
        _check_queries(queries, k)
        answers = Answers([], [])
        chosen = self.resolve_fields(fields)
        for start in range(0, len(queries), QUERY_BLOCK):
            block = queries[start : start + QUERY_BLOCK]
            rows = self.encode(block)
            answer = self.searcher.answer(rows, k, where=where, fields=chosen, exact=exact)
            hits = [
                [_hit(query, rank, neighbour) for rank, neighbour in enumerate(row, 1)]
                for query, row in zip(block, answer.neighbours, strict=True)
            ]
            answers.hits.extend(self._with_sentences(hits, rows) if with_sentences else hits)
            answers.plans.append(answer.plan)
        return answers

    def _with_sentences(self, hits: list[list[Hit]], queries: Rows) -> list[list[Hit]]:
        """Each hit with the sentence of its passage whose vector is nearest to the query's."""
        flat = [(i, hit) for i, row in enumerate(hits) for hit in row]
        spans = [split_sentences(hit.passage) for _, hit in flat]
        texts = [
            h.passage[a:b] for (_, h), found in zip(flat, spans, strict=True) for a, b in found
        ]
        rows = self.encode(texts, TextKind.PASSAGE)
        results: list[list[Hit]] = [[] for _ in hits]
        first = 0
        for (i, hit), found in zip(flat, spans, strict=True):
            scores = rows[first : first + len(found)] @ queries[i]
            results[i].append(replace(hit, sentence=found[int(np.argmax(scores))]))
            first += len(found)
        return results


def _check_queries(queries: Sequence[str], k: int) -> None:
    if k < 1:
        raise RequestError(f"k is {k}, and at least 1 is wanted.", "Give -k a positive number.")
    blank = [i for i, query in enumerate(queries) if not query.strip()]
    if blank:
        raise RequestError(f"Query {blank[0] + 1} is empty.", "Give it some words.")
    broken = [query for query in queries if not is_utf8(query)]
    if broken:
        raise RequestError(f"The query {broken[0]!r} is not text in UTF-8.")


def _hit(query: str, rank: int, neighbour: Neighbour) -> Hit:
    span, document = neighbour.span, neighbour.document
    return Hit(
        query=query,
        rank=rank,
        score=neighbour.score,
        id=document.id,
        passage=document.text[span.start : span.end],
        start=span.start,
        end=span.end,
        sentence=None,
        metadata=document.metadata,
    )


def open_index(path: str | Path | None = None, options: QueryOptions | None = None) -> Index:
    """Open an index for queries.

    Args:
        path: the index folder; found as `find_index` says when it is None.
        options: how to run queries.

    Raises:
        IndexNotFoundError: no index there.
        IndexFormatError: the index is damaged or of another format.
        IndexMismatchError: the model that is found now is not the one that built it.
        ModelError: the model is not found.
    """
    layout = Layout(find_index(path))
    with contextlib.ExitStack() as held:
        held.enter_context(hold_open(layout.readers))
        index = _open_held(layout, options or QueryOptions())
        index.held = held.pop_all()
        return index


def _open_held(layout: Layout, options: QueryOptions) -> Index:
    manifest = read_manifest(layout).finished()
    # The engine compiles its graph outside Python's lock; the index opens meanwhile.
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(open_query_encoder, manifest, options)
        searcher = Searcher(layout, manifest)
        try:
            searcher.warm_up()
            return Index(searcher, opening.result())
        except BaseException:
            searcher.close()
            raise
