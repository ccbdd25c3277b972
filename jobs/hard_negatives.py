"""Hard negatives: texts near to a query that do not answer it, found by search.

The negatives of a batch are drawn by chance, and mostly easy. Those that the model would return for
the query teach more, if they are not answers that nobody marked: what is nearly as near as the
positive, or nearer, is left out (Moreira et al. 2024, NV-Retriever, the margin to the positive).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from embedder.encoders import TextEncoder
from embedder.retrieval_pairs import RetrievalPair
from embedder.specs import TextKind
from indexes.nearest import NearestDocuments

MARGIN = 0.05
"""Of cosines: how much farther than its positive a query's negative is at least."""

CANDIDATES = 100
"""Nearest documents of a query that are looked at."""

BLOCK = 2048

Numbers = npt.NDArray[np.int64]
Report = Callable[[int, int], None]


def find_hard_negatives(
    pairs: Sequence[RetrievalPair],
    encoder: TextEncoder,
    n: int,
    *,
    margin: float = MARGIN,
    report: Report = lambda *_: None,
) -> Numbers:
    """The hardest negatives of each pair among the positives of all others.

    Args:
        pairs: the pairs.
        encoder: makes the vectors.
        n: negatives of a pair; some get fewer.
        margin: how much lower than the positive's cosine a negative's is at least.
        report: told of how many texts have been encoded, of how many.

    Returns:
        Numbers of the pairs' different positives in order, -1 where there are no more, shape
        (n_pairs, n).
    """
    queries = _number(pair.query for pair in pairs)
    documents = _number(pair.positive for pair in pairs)
    query_of = np.array([queries[pair.query] for pair in pairs])
    document_of = np.array([documents[pair.positive] for pair in pairs])
    texts, n_texts = list(documents), len(queries) + len(documents)
    asked, parts = list(queries), []
    for start in range(0, len(asked), BLOCK):
        parts.append(encoder.encode(asked[start : start + BLOCK], TextKind.QUERY))
        report(start + len(parts[-1]), n_texts)
    rows = np.concatenate(parts)
    positives = _Positives(rows, query_of, document_of)
    nearest = NearestDocuments(rows, min(CANDIDATES + n, len(texts)))
    for start in range(0, len(texts), BLOCK):
        found = encoder.encode(texts[start : start + BLOCK])
        numbers = np.arange(start, start + len(found))
        nearest.add(found, numbers)
        positives.add(found, start)
        report(len(queries) + start + len(found), n_texts)
    return _choose(nearest, query_of, document_of, positives.scores - np.float32(margin), n)


def with_negatives(pairs: Sequence[RetrievalPair], negatives: Numbers) -> list[RetrievalPair]:
    """Pairs with negatives added, which `find_hard_negatives` found."""
    texts = list(_number(pair.positive for pair in pairs))
    return [
        pair._replace(negatives=(*pair.negatives, *(texts[i] for i in own if i >= 0)))
        for pair, own in zip(pairs, negatives.tolist(), strict=True)
    ]


class _Positives:
    """Cosines of the pairs, filled in as the documents come.

    Args:
        rows: of the queries.
        query_of: number of each pair's query.
        document_of: and of its positive.
    """

    def __init__(self, rows: npt.NDArray[np.float32], query_of: Numbers, document_of: Numbers):
        self._rows, self._query_of, self._document_of = rows, query_of, document_of
        self._order = np.argsort(document_of, kind="stable")
        self._sorted = document_of[self._order]
        self.scores = np.zeros(len(query_of), dtype=np.float32)

    def add(self, rows: npt.NDArray[np.float32], first: int) -> None:
        """The vectors of some documents, numbered from `first` on."""
        start, end = np.searchsorted(self._sorted, [first, first + len(rows)])
        own = self._order[start:end]
        documents = rows[self._document_of[own] - first]
        self.scores[own] = (self._rows[self._query_of[own]] * documents).sum(1)


def _number(texts: Iterator[str]) -> dict[str, int]:
    """Numbers of the different texts, in order."""
    return {text: number for number, text in enumerate(dict.fromkeys(texts))}


def _choose(
    nearest: NearestDocuments,
    query_of: Numbers,
    document_of: Numbers,
    most: npt.NDArray[np.float32],
    n: int,
) -> Numbers:
    """The first n documents of each pair's query that are no positives of it and have at most
    the pair's score."""
    n_documents = int(document_of.max()) + 1
    known = np.unique(query_of * n_documents + document_of)
    chosen = np.full((len(query_of), n), -1, dtype=np.int64)
    for start in range(0, len(query_of), BLOCK):
        part = slice(start, start + BLOCK)
        queries = query_of[part]
        numbers = nearest.numbers[queries]
        is_known = np.isin(queries[:, None] * n_documents + numbers, known)
        is_good = (numbers >= 0) & ~is_known & (nearest.scores[queries] <= most[part, None])
        first = np.argsort(~is_good, axis=1, kind="stable")[:, :n]
        kept = np.take_along_axis(np.where(is_good, numbers, -1), first, axis=1)
        chosen[part, : kept.shape[1]] = kept
    return chosen
