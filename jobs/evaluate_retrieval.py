"""`embedder evaluate retrieval`: how well a model finds what people found relevant."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedder.collection import Collection, DocumentBlock
from embedder.encoders import TextEncoder
from embedder.errors import LabelError, SourceError
from embedder.passages import cut_documents
from embedder.ranking import RANKING_MEASURES, ranking_measures
from embedder.specs import ChunkSpec, Overflow, TextKind
from indexes.nearest import NearestDocuments
from jobs.progress import Progress

DEPTH = 1000
"""Documents found for a query, as trec_eval has it."""

RETRIEVAL_COLUMNS = ("data", "n_queries", "n_documents", *RANKING_MEASURES)


@dataclass(frozen=True, kw_only=True)
class RetrievalScore:
    """How well documents were found.

    Args:
        data: the collection.
        n_queries: queries that were asked.
        n_documents: documents that were searched.
        measures: by name, averaged over the queries.
        counts: what was left out, by reason.
    """

    data: str
    n_queries: int
    n_documents: int
    measures: dict[str, float]
    counts: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary with the columns RETRIEVAL_COLUMNS, and what was left out."""
        return {
            "data": self.data,
            "n_queries": self.n_queries,
            "n_documents": self.n_documents,
            **self.measures,
            "counts": self.counts,
        }


def evaluate_retrieval(
    collection: Collection,
    encoder: TextEncoder,
    *,
    overflow: Overflow = Overflow.WINDOW,
    progress: Progress | None = None,
) -> RetrievalScore:
    """Search the documents of a collection for each of its queries, exactly.

    A long document becomes several passages, as in an index, and is as near as the nearest.

    Args:
        collection: documents, queries and judgements.
        encoder: makes the vectors of both.
        overflow: what happens to a document that is longer than the encoder's window.
        progress: told of what happens; silent by default.

    Raises:
        EmbedderError: the documents cannot be read, or none is relevant.
        LabelError: a document that was judged is there twice.
    """
    progress = progress or Progress()
    progress.start_stage(f"{collection.name}: queries")
    nearest = NearestDocuments(encoder.encode(collection.queries, TextKind.QUERY), DEPTH)
    progress.start_stage(f"{collection.name}: documents", collection.n_rows)
    relevance: list[dict[int, int]] = [{} for _ in collection.queries]
    found: set[str] = set()
    n_documents = 0
    for block in collection.read_documents():
        _search(block, n_documents, nearest, encoder, overflow)
        for number, name in enumerate(block.ids, n_documents):
            if name in found:
                raise LabelError(f"The document {name!r} of {collection.name} is there twice.")
            grades = collection.judgements.get(name, {})
            found.update([name] if grades else ())
            for query, grade in grades.items():
                relevance[query][number] = grade
        n_documents += len(block.ids)
        progress.count_documents(len(block.ids))
    if not n_documents:
        raise SourceError(f"{collection.name} has no documents with text.")
    n_missing = _judge_missing(collection, found, relevance)
    counts = collection.counts + Counter({"judged documents that are not there": n_missing})
    return RetrievalScore(
        data=collection.name,
        n_queries=len(collection.queries),
        n_documents=n_documents,
        measures=ranking_measures(nearest.numbers, relevance),
        counts=dict(counts),
    )


def _search(
    block: DocumentBlock,
    first: int,
    nearest: NearestDocuments,
    encoder: TextEncoder,
    overflow: Overflow,
) -> None:
    """Encode some documents, numbered from `first` on, and compare them with the queries."""
    window = encoder.encoder.spec.max_tokens
    cut = cut_documents(
        block.texts,
        encoder.tokenizer,
        ChunkSpec(overflow=overflow, window=window, stride=window - window // 8),
        prompt=encoder.prompt(TextKind.PASSAGE),
        ids=block.ids,
    )
    rows = encoder.encode_pieces([passage.pieces for passage in cut.passages])
    documents = [first + passage.document for passage in cut.passages]
    nearest.add(rows, np.array(documents, dtype=np.int64))


def _judge_missing(collection: Collection, found: set[str], relevance: list[dict[int, int]]) -> int:
    """Count judged documents that are not there; for their queries they are never found."""
    missing = [name for name in collection.judgements if name not in found]
    for number, name in enumerate(missing, 1):
        for query, grade in collection.judgements[name].items():
            relevance[query][-number] = grade  # a number that no ranking has
    return len(missing)
