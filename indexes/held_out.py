"""Vectors held out from training, random filters, and what a search for them should find."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedder.vectors import Rows, normalise
from indexes.faiss_builder import nearest_in_block
from indexes.faiss_index import Flags, Positions
from indexes.query_plan import ALWAYS_SCANNED, K_TUNED, TUNED_SHARES

MOST_QUERIES = 1024
MOST_FILTERED_QUERIES = 512
ROWS_PER_QUERY = 8
"""A small corpus gives up an eighth of its vectors at most."""

MOST_TWINS = 6
"""Vectors equal to the query, itself included, that are not counted as its neighbours."""

TWIN_COSINE = 2e-6
"""How far the cosine of a query and its twin may be from that of the query and itself."""

SELECTION_SEED = 417
BLUR_SEED = 97
BLUR = 0.5
"""Length of the noise that is added to a vector of a graph, where it would find itself."""

DRAWN_ROWS = 1 << 20


def n_queries(n_vectors: int) -> int:
    """Vectors that are held out from training, an even number."""
    return min(MOST_QUERIES, n_vectors // ROWS_PER_QUERY) // 2 * 2


def blurred(queries: Rows) -> Rows:
    """Queries that are not in the corpus, near those that are, shape (n, width).

    In a graph a vector's own node leads to its neighbours, which makes it an easier query than
    any that is not in the graph.
    """
    noise = np.random.default_rng(BLUR_SEED).normal(size=queries.shape).astype(np.float32)
    return normalise(queries + np.float32(BLUR) * normalise(noise))


class RandomFilter:
    """A filter that leaves a random share of the vectors, the same every time.

    Args:
        share: share of the vectors that it leaves.
        n_vectors: all vectors.
    """

    def __init__(self, share: float, n_vectors: int) -> None:
        self.share = share
        self._flags = None
        if share < 1:
            random = np.random.default_rng([SELECTION_SEED, round(1 / share)])
            parts = (min(DRAWN_ROWS, n_vectors - i) for i in range(0, n_vectors, DRAWN_ROWS))
            drawn = [random.random(n, dtype=np.float32) < share for n in parts]
            self._flags = np.packbits(np.concatenate(drawn))

    def flags(self, first: int, last: int) -> Flags | None:
        """Which vectors from number `first` to before `last` are left; None for all."""
        if self._flags is None:
            return None
        begin = first // 8
        bits = np.unpackbits(self._flags[begin : -(-last // 8)])
        return bits[first - 8 * begin : last - 8 * begin].astype(np.bool_)


class TrueNeighbours:
    """The nearest neighbours of some queries among the vectors that a filter leaves.

    Args:
        queries: rows of the corpus, shape (n_queries, width).
        selected: the filter.
    """

    def __init__(self, queries: Rows, selected: RandomFilter) -> None:
        self.queries, self.selected = queries, selected
        size = (len(queries), K_TUNED + MOST_TWINS)
        self._positions = np.full(size, -1, dtype=np.int64)
        self._scores = np.full(size, -np.inf, dtype=np.float32)
        self._first = 0

    def add(self, block: Rows) -> None:
        """Look at the next vectors, shape (n, width)."""
        first, self._first = self._first, self._first + len(block)
        chosen = self.selected.flags(first, self._first)
        rows = block if chosen is None else block[chosen]
        kept = np.arange(len(block)) if chosen is None else np.flatnonzero(chosen)
        if not len(kept):
            return
        k = min(self._positions.shape[1], len(rows))
        scores, numbers = nearest_in_block(self.queries, rows, k)
        scores = np.concatenate([self._scores, scores], axis=1)
        positions = np.concatenate([self._positions, first + kept[numbers]], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._positions.shape[1]]
        self._scores = np.take_along_axis(scores, order, axis=1)
        self._positions = np.take_along_axis(positions, order, axis=1)

    def without_twins(self) -> tuple[Positions, npt.NDArray[np.int64]]:
        """The ten nearest of each query that are no twins of it, -1 for none, and its twins."""
        own = np.einsum("ij,ij->i", self.queries, self.queries)[:, None]
        is_twin = np.isfinite(self._scores) & (self._scores >= own - TWIN_COSINE)
        order = np.argsort(is_twin, axis=1, kind="stable")
        moved = np.where(np.take_along_axis(is_twin, order, axis=1), -1, self._in(order))
        return moved[:, :K_TUNED], is_twin.sum(1)

    def _in(self, order: npt.NDArray[np.intp]) -> Positions:
        found = np.take_along_axis(self._positions, order, axis=1)
        return np.where(np.isfinite(np.take_along_axis(self._scores, order, axis=1)), found, -1)


def tuned_filters(n_vectors: int) -> list[RandomFilter]:
    """The random filters for which efforts are measured, from no filter to the most selective."""
    shares = [s for s in TUNED_SHARES if s * n_vectors > ALWAYS_SCANNED]
    return [RandomFilter(share, n_vectors) for share in (1.0, *shares)]
