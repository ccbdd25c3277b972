"""The query engine: an index opened together with the encoder that built it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, Unpack

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
from jobs.meaning import Meaning, MeaningKind, understand
from jobs.query_encoder import QueryOptions, open_query_encoder
from jobs.sense_basis import open_basis
from jobs.sense_search import Asked, Found, search_meaning
from jobs.senses import SenseChoice, Senses, nearest_sense, no_senses
from jobs.use_encoder import UseEncoder, find_use

QUERY_BLOCK = 256
"""Queries answered at once, so that any number of them needs bounded memory."""

SENSE_WORDS = 6


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
        sense: the sense of a word that the passage uses, where that was searched for.
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
    sense: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of the fields; `sentence` and `sense` only where there is one."""
        values = asdict(self)
        for name in ("sentence", "sense"):
            if values[name] is None:
                del values[name]
        return values


class SearchOptions(TypedDict, total=False):
    """How to search.

    Args:
        where: SQL expression over the metadata, as in `"year >= 2020 AND lang = 'en'"`.
        fields: metadata columns to return; all by default.
        exact: look at every passage, whatever the FAISS structure says.
        with_sentences: find the sentence of each passage that is nearest to the query.
        sense: only passages that use a word in this sense, as `bank/2`.
        with_senses: whether to look at the senses of the query's words; yes by default.
    """

    where: str | None
    fields: Sequence[str] | None
    exact: bool
    with_sentences: bool
    sense: str | None
    with_senses: bool


@dataclass(frozen=True)
class Answers:
    """What queries found, and how.

    Args:
        hits: for each query its documents, best first.
        plans: how they were answered: queries that are understood alike are answered together,
            QUERY_BLOCK at most.
        n_cut: queries that were longer than the model reads, and whose ends were not read.
    """

    hits: list[list[Hit]]
    plans: list[QueryPlan]
    n_cut: int


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

    @cached_property
    def senses(self) -> Senses:
        """The senses of its words.

        Raises:
            WordError: it was built without senses.
        """
        return Senses(self.searcher.layout, self.manifest, self.searcher.metadata)

    @cached_property
    def uses(self) -> UseEncoder:
        """What gives uses of words in any text the vectors that the index has for its own."""
        if self.manifest.basis is None:
            raise no_senses(self.searcher.layout)
        basis = open_basis(self.searcher.layout, self.manifest.basis)
        return UseEncoder(self.encoder, basis, self.manifest.chunking)

    def sense_words(self, name: str) -> tuple[str, ...]:
        """Words that are typical of a sense's contexts; for people to know it by."""
        word = self.senses.named(name).word
        view = self.senses.describe(word, n_neighbours=0, n_words=SENSE_WORDS, n_examples=0)
        return next((sense.words for sense in view.senses if sense.name == name), ())

    def meant(self, word: str, context: str) -> SenseChoice:
        """The sense that a word has in a context, where several uses are told apart by a mark:
        `we sat on the [bank] of the river`.

        Raises:
            WordError: the index has no senses of the word.
            RequestError: the context does not have it, or it is not clear which use is meant.
        """
        return nearest_sense(self.senses.find(word), self.use_row(word, context))

    def use_row(self, word: str, context: str) -> Rows:
        """Vector of a word in a context, a unit row, shape (n_components,); see `meant`."""
        row: Rows = self.uses.encode([find_use(context, word)])[0]
        return row

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

    def search(self, query: str, k: int = 10, **options: Unpack[SearchOptions]) -> list[Hit]:
        """The k documents nearest in meaning to a query; see `answer_many`."""
        [hits] = self.search_many([query], k, **options)
        return hits

    def search_many(
        self, queries: Sequence[str], k: int = 10, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """The k nearest documents of each query, best first, each document once; `answer_many`."""
        return self.answer_many(queries, k, **options).hits

    def answer_many(
        self, queries: Sequence[str], k: int = 10, **options: Unpack[SearchOptions]
    ) -> Answers:
        """The k nearest documents of each query, and how they were found.

        In an index with senses a query that is one word with several senses is answered sense by
        sense, and a longer one by the senses that its words have in it.

        Args:
            queries: texts, none blank.
            k: documents a query; fewer only if fewer satisfy the filter.
            **options: see `SearchOptions`.

        Raises:
            RequestError: a query is blank, or k is not positive.
            FilterError: the expression or a field is wrong.
            WordError: there is no such sense.
        """
        if unknown := sorted(options.keys() - SearchOptions.__annotations__.keys()):
            known = ", ".join(SearchOptions.__annotations__)
            raise TypeError(f"There is no option {unknown[0]!r}; there are: {known}.")
        _check_queries(queries, k)
        fields = self.resolve_fields(options.get("fields"))
        sense = options.get("sense")
        asked = Asked(
            k=k,
            where=options.get("where"),
            fields=tuple(fields),
            exact=options.get("exact", False),
            sense=self.senses.named(sense) if sense else None,
            with_senses=options.get("with_senses", True) and self.manifest.senses is not None,
        )
        all_hits: list[list[Hit]] = []
        all_plans: list[QueryPlan] = []
        n_cut = 0
        for start in range(0, len(queries), QUERY_BLOCK):
            block = queries[start : start + QUERY_BLOCK]
            rows, n_block = self._encode_queries(block)
            n_cut += n_block
            found, plans = self._answer(block, rows, asked)
            hits = [
                [_hit(query, rank, *one) for rank, one in enumerate(row, 1)]
                for query, row in zip(block, found, strict=True)
            ]
            with_sentences = options.get("with_sentences", False)
            all_hits += self._with_sentences(hits, rows) if with_sentences else hits
            all_plans += plans
        return Answers(all_hits, all_plans, n_cut)

    def _encode_queries(self, queries: Sequence[str]) -> tuple[Rows, int]:
        """Vectors of queries, and how many of them were cut off at the model's window."""
        encoder = self.encoder
        pieces = encoder.tokenize(queries, TextKind.QUERY)
        n_cut = sum(len(ids) > encoder.encoder.spec.max_tokens for ids in pieces)
        return encoder.encode_pieces([encoder.cut(ids) for ids in pieces]), n_cut

    def _answer(
        self, queries: Sequence[str], rows: Rows, asked: Asked
    ) -> tuple[list[list[Found]], list[QueryPlan]]:
        """What a block of queries finds: those without a meaning of their own all at once."""
        meanings: list[Meaning | None] = [None] * len(queries)
        if asked.sense:
            meanings = [Meaning(MeaningKind.RESTRICTED, (asked.sense,))] * len(queries)
        elif asked.with_senses:
            meanings = understand(queries, self.senses, self.uses)
        plain = [i for i, meaning in enumerate(meanings) if meaning is None]
        found: list[list[Found]] = [[] for _ in queries]
        plans = []
        if plain:
            answer = self.searcher.answer(
                rows[plain], asked.k, where=asked.where, fields=asked.fields, exact=asked.exact
            )
            for number, neighbours in zip(plain, answer.neighbours, strict=True):
                found[number] = [(neighbour, None) for neighbour in neighbours]
            plans.append(answer.plan)
        for number, meaning in enumerate(meanings):
            if meaning is not None:
                row = rows[number : number + 1]
                found[number], plan = search_meaning(
                    self.searcher, self.senses, row, meaning, asked
                )
                plans.append(plan)
        return found, plans

    def _with_sentences(self, hits: list[list[Hit]], queries: Rows) -> list[list[Hit]]:
        """Each hit with the sentence of its passage whose vector is nearest to the query's."""
        flat = [(i, hit) for i, row in enumerate(hits) for hit in row]
        spans = [split_sentences(h.passage) or [(0, len(h.passage))] for _, h in flat]
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
    for number, query in enumerate(queries, 1):
        if not isinstance(query, str):
            raise RequestError(
                f"Query {number} is of type {type(query).__name__}, and text is wanted.",
                "Give several queries to search_many.",
            )
    blank = [i for i, query in enumerate(queries) if not query.strip()]
    if blank:
        raise RequestError(f"Query {blank[0] + 1} is empty.", "Give it some words.")
    broken = [query for query in queries if not is_utf8(query)]
    if broken:
        raise RequestError(f"The query {broken[0]!r} is not text in UTF-8.")


def _hit(query: str, rank: int, neighbour: Neighbour, sense: str | None) -> Hit:
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
        sense=sense,
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
