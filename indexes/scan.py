"""Exact search: every passage that may be returned is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.vectors import HalfRows, Rows
from indexes.stored_rows import SCORED_ROWS, Positions, StoredRows, check_stored, widened

SCAN_ROWS = 8_192
"""Rows compared with the queries at once."""

QUERY_BLOCK = 256
ROUNDING = 1e-5
"""More than a matrix product's score of a passage can differ from its exact one."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Best:
    """The best passages of some queries so far: three arrays of one length, in their order.

    Args:
        query: number of the query, ascending.
        position: the passage.
        score: its exact score, falling for each query, ties in the corpus's order.
    """

    query: npt.NDArray[np.int64]
    position: Positions
    score: Rows

    def best(self, n: int) -> _Best:
        """The n best of each query, of entries in any order."""
        order = np.lexsort((self.position, -self.score, self.query))
        query = self.query[order]
        rank = np.arange(len(query)) - np.searchsorted(query, query, side="left")
        kept = order[rank < n]
        return _Best(self.query[kept], self.position[kept], self.score[kept])

    def floors(self, n_queries: int, n: int) -> Rows:
        """The n-th best score of each query, -inf where there are fewer, shape (n_queries, 1)."""
        counts = np.bincount(self.query, minlength=n_queries)
        last = np.cumsum(counts) - 1
        floors = np.full((n_queries, 1), -np.inf, dtype=np.float32)
        full = counts >= n
        floors[full, 0] = self.score[last[full]]
        return floors


def scan(
    stored: StoredRows, queries: Rows, n: int, segments: Sequence[int], allowed: Flags | None
) -> tuple[Positions, Rows]:
    """The n best passages of some segments for each query, best first, ties in corpus order.

    Args:
        stored: the rows.
        queries: unit rows, shape (n_queries, width).
        n: passages a query.
        segments: numbers of the segments to scan.
        allowed: which passages of the index may be returned, None for all.

    Returns:
        Positions and exact scores, both of shape (n_queries, n); -1 and -inf where there are no
        more.
    """
    positions = np.full((len(queries), n), -1, dtype=np.int64)
    scores = np.full((len(queries), n), -np.inf, dtype=np.float32)
    for start in range(0, len(queries), QUERY_BLOCK):
        block = queries[start : start + QUERY_BLOCK]
        found = _scan_block(stored, block, n, segments, allowed)
        rank = np.arange(len(found.query)) - np.searchsorted(found.query, found.query, side="left")
        positions[start + found.query, rank] = found.position
        scores[start + found.query, rank] = found.score
    return positions, scores


def _scan_block(
    stored: StoredRows, queries: Rows, n: int, segments: Sequence[int], allowed: Flags | None
) -> _Best:
    none = np.empty(0, dtype=np.int64)
    best = _Best(none, none, np.empty(0, dtype=np.float32))
    for positions, half in _blocks(stored, segments, allowed):
        rows = widened(half)
        check_stored(rows)  # a damaged one would be passed over in silence
        scores = queries @ rows.T
        floors = best.floors(len(queries), n)
        if not np.isfinite(floors).all() and len(rows) > n:
            least = np.partition(scores, len(rows) - n, axis=1)[:, len(rows) - n]
            floors = np.maximum(floors, least[:, None])
        query, row = np.nonzero(scores >= floors - np.float32(ROUNDING))
        exact = _exact_scores(queries, rows, query, row)
        found = _Best(
            np.concatenate([best.query, query]),
            np.concatenate([best.position, positions[row]]),
            np.concatenate([best.score, exact]),
        )
        best = found.best(n)
    return best


def _blocks(
    stored: StoredRows, segments: Sequence[int], allowed: Flags | None
) -> Iterator[tuple[Positions, HalfRows]]:
    """Allowed passages of some segments with their rows, a block at a time."""
    for number in segments:
        first, last = int(stored.firsts[number]), int(stored.firsts[number + 1])
        own = None if allowed is None else np.flatnonzero(allowed[first:last])
        for start in range(0, last - first if own is None else len(own), SCAN_ROWS):
            if own is None:
                end = min(start + SCAN_ROWS, last - first)
                yield np.arange(first + start, first + end), stored.segment(number)[start:end]
            else:
                chosen = own[start : start + SCAN_ROWS]
                yield first + chosen, stored.segment(number)[chosen]


def _exact_scores(
    queries: Rows, rows: Rows, query: npt.NDArray[np.int64], row: npt.NDArray[np.int64]
) -> Rows:
    """Scores as `StoredRows.scores` computes them, of pairs of a query and a row."""
    scores = np.empty(len(query), dtype=np.float32)
    for start in range(0, len(query), SCORED_ROWS):
        part = slice(start, start + SCORED_ROWS)
        np.einsum("qd,qd->q", rows[row[part]], queries[query[part]], out=scores[part])
    return scores
