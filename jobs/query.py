"""The query engine: an index opened together with the encoder that built it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.errors import (
    EngineError,
    IndexMismatchError,
    ModelError,
    RequestError,
)
from embedder.records import is_utf8
from embedder.sentences import split_sentences
from embedder.specs import EncoderSpec, Engine, Precision, TextKind
from embedder.vectors import Rows
from indexes.layout import Layout
from indexes.lock import hold_open
from indexes.manifest import Manifest, read_manifest
from indexes.searcher import Neighbour, Searcher
from jobs.find import find_index

log = logging.getLogger(__name__)

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


@dataclass(frozen=True, kw_only=True)
class QueryOptions:
    """How to run queries. None means: the best this machine has.

    Args:
        model: where the model is now, if not where the index found it.
        engine: what runs the network.
        precision: arithmetic of the queries' forward pass.
        device: `cpu`, `cuda`, `mps`.
        threads: CPU threads.
    """

    model: str | None = None
    engine: Engine | None = None
    precision: Precision | None = None
    device: str | None = None
    threads: int | None = None


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
        with_sentences: bool = False,
    ) -> list[Hit]:
        """The k documents nearest in meaning to a query; see `search_many`."""
        [hits] = self.search_many(
            [query], k, where=where, fields=fields, with_sentences=with_sentences
        )
        return hits

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        where: str | None = None,
        fields: Sequence[str] | None = None,
        with_sentences: bool = False,
    ) -> list[list[Hit]]:
        """The k nearest documents of each query, best first, each document once.

        Args:
            queries: texts, none blank.
            k: documents a query; fewer only if fewer satisfy the filter.
            where: SQL expression over the metadata, as in `"year >= 2020 AND lang = 'en'"`.
            fields: metadata columns to return; all by default.
            with_sentences: find the sentence of each passage that is nearest to the query.

        Raises:
            RequestError: a query is blank, or k is not positive.
            FilterError: the expression or a field is wrong.
        """
        if k < 1:
            raise RequestError(f"k is {k}, and at least 1 is wanted.", "Give -k a positive number.")
        blank = [i for i, query in enumerate(queries) if not query.strip()]
        if blank:
            raise RequestError(f"Query {blank[0] + 1} is empty.", "Give it some words.")
        broken = [query for query in queries if not is_utf8(query)]
        if broken:
            raise RequestError(f"The query {broken[0]!r} is not text in UTF-8.")
        results: list[list[Hit]] = []
        chosen = self.resolve_fields(fields)
        for start in range(0, len(queries), QUERY_BLOCK):
            block = queries[start : start + QUERY_BLOCK]
            rows = self.encode(block)
            found = self.searcher.search(rows, k, where=where, fields=chosen)
            hits = [
                [_hit(query, rank, neighbour) for rank, neighbour in enumerate(row, 1)]
                for query, row in zip(block, found, strict=True)
            ]
            results += self._with_sentences(hits, rows) if with_sentences else hits
        return results

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
    manifest = read_manifest(layout)
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


def open_query_encoder(manifest: Manifest, options: QueryOptions) -> TextEncoder:
    """An encoder of the index's vector space.

    Queries of an int8 index are encoded at full precision: that needs no calibration, and the
    query's own error goes away.
    """
    built = manifest.encoder
    precision = options.precision
    if precision is None and built.precision is not Precision.INT8:
        precision = built.precision
    wanted = EncoderOptions(
        model=options.model or built.model,
        engine=options.engine,
        precision=precision,
        device=options.device or ("cpu" if options.engine is not Engine.TORCH else None),
        threads=options.threads,
        pooling=built.pooling,
        layers=built.layers,
        max_tokens=built.max_tokens,
        query_prompt=built.query_prompt,
        passage_prompt=built.passage_prompt,
    )
    try:
        encoder = _open(wanted, is_free=options.precision is None)
    except ModelError as error:
        raise ModelError(
            f"The index was built with the model {built.model}. {error.message}",
            "Say where the model is now with --model.",
        ) from error
    _check_space(built, encoder.encoder.spec)
    return encoder


def _open(wanted: EncoderOptions, *, is_free: bool) -> TextEncoder:
    """The encoder at the index's precision, or at the best there is where that is missing."""
    try:
        return open_encoder(wanted)
    except EngineError as error:
        if not is_free or wanted.precision is None:
            raise
        log.warning("%s", error.message)
        return open_encoder(replace(wanted, precision=None))


def _check_space(built: EncoderSpec, found: EncoderSpec) -> None:
    if built.space == found.space:
        return
    before, now = built.to_json(), found.to_json()
    skipped = ("model", "precision", "calibration")
    changed = [name for name in before if name not in skipped and before[name] != now[name]]
    raise IndexMismatchError(
        f"The index was built with another encoder: {', '.join(changed)} of {found.model} "
        f"differ{'s' if len(changed) == 1 else ''} from those of {built.model} at that time.",
        "Name the model it was built with in --model, or build the index again with: embedder "
        f"index SOURCES --model {found.model} --out NEW.index",
    )
