"""The documents nearest to some queries, by exact search of vectors that come block by block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedder.vectors import Rows, check_unit_rows

QUERY_BLOCK = 256
ROW_BLOCK = 4096
"""Scores of so many queries and passages are held at once."""

Numbers = npt.NDArray[np.int64]


class NearestDocuments:
    """The k documents that are nearest to each query among all that it is shown.

    A document is as near as the nearest of its passages. Memory does not grow with documents.

    Args:
        queries: unit rows, shape (n_queries, width).
        k: documents a query.

    Raises:
        ValueError: a row is not a finite unit vector.
    """

    def __init__(self, queries: Rows, k: int) -> None:
        check_unit_rows(queries)
        self._queries, self._k = queries, k
        self.numbers: Numbers = np.full((len(queries), k), -1, dtype=np.int64)
        """The documents of each query, the best first, -1 where there are no more, shape
        (n_queries, k)."""
        self.scores: Rows = np.full((len(queries), k), -np.inf, dtype=np.float32)
        """Their cosines, -inf where there are no more, the same shape."""

    def add(self, rows: Rows, documents: Numbers) -> None:
        """Look at more documents, all of whose passages come in one call.

        Args:
            rows: unit rows of passages, shape (n, width).
            documents: number of each passage's document, ascending, shape (n,).

        Raises:
            ValueError: a row is not a finite unit vector, or the numbers are not in order.
        """
        check_unit_rows(rows)
        if (np.diff(documents) < 0).any():
            raise ValueError("numbers of documents should be ascending")
        starts = np.flatnonzero(np.diff(documents, prepend=-1))
        first = 0
        while first < len(starts):
            begin = int(starts[first])
            last = max(int(np.searchsorted(starts, begin + ROW_BLOCK, side="right")) - 1, first + 1)
            end = int(starts[last]) if last < len(starts) else len(rows)
            own = starts[first:last]
            self._add_block(rows[begin:end], own - begin, documents[own])
            first = last

    def _add_block(self, rows: Rows, starts: Numbers, documents: Numbers) -> None:
        """Look at some documents, given by their numbers and their first passages."""
        for begin in range(0, len(self._queries), QUERY_BLOCK):
            part = slice(begin, begin + QUERY_BLOCK)
            scores = self._queries[part] @ rows.T
            if len(starts) < len(rows):
                scores = np.maximum.reduceat(scores, starts, axis=1)
            self._merge(part, scores, documents)

    def _merge(self, part: slice, scores: Rows, documents: Numbers) -> None:
        """Put documents among the best of some queries; of equal ones the first shown wins."""
        numbers = np.broadcast_to(documents, scores.shape)
        if scores.shape[1] > self._k:
            best = np.argpartition(-scores, self._k - 1, axis=1)[:, : self._k]
            best.sort(axis=1)
            scores = np.take_along_axis(scores, best, axis=1)
            numbers = np.take_along_axis(numbers, best, axis=1)
        scores = np.concatenate([self.scores[part], scores], axis=1)
        numbers = np.concatenate([self.numbers[part], numbers], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._k]
        self.scores[part] = np.take_along_axis(scores, order, axis=1)
        self.numbers[part] = np.take_along_axis(numbers, order, axis=1)
