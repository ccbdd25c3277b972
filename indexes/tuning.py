"""How hard to search: the least effort that finds the nearest neighbours of held-out vectors.

The vectors are a uniform sample of those in the structure that took no part in its training. Half
of them choose the effort, with a margin for the error of a sample; the other half confirms it, and
what is recorded is the recall measured there.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.vectors import Rows
from indexes.faiss_index import FaissIndex
from indexes.held_out import MOST_TWINS, TrueNeighbours
from indexes.manifest import Effort, StructureKind
from indexes.query_plan import K_TUNED, scan_cost, search_cost

STANDARD_ERRORS = 1.5
COARSE_GROWTH = 1.6
FINE_GROWTH = 1.1
DEPTHS = (1, 2, 3, 4, 6, 8)
DEPTHS_OF_ROUGH_CODES = (*DEPTHS, 12, 16, 24, 32, 48, 64)
ROUGH_CODES = (StructureKind.IVF_PQ, StructureKind.IVF_RABITQ)
N_TIMED = 50


@dataclass(frozen=True)
class Outcome:
    """What tuning found.

    Args:
        effort: the effort to record; None when none reaches the recall.
        best: the highest recall that was confirmed.
    """

    effort: Effort | None
    best: float


def tune(index: FaissIndex, neighbours: TrueNeighbours, recall: float, start: int = 1) -> Outcome:
    """The cheapest effort that reaches a recall on both halves of the held-out vectors.

    Args:
        index: the structure, opened.
        neighbours: the vectors, the filter and what is to be found.
        recall: the recall to reach.
        start: the least effort to try.
    """
    trial = _Trial(index, neighbours, recall)
    before, found = start - 1, None
    for effort in _growing(start, trial.most_effort, COARSE_GROWTH):
        found = trial.cheapest(effort)
        if found is not None:
            break
        before = effort
    if found is None:
        return Outcome(None, trial.best)
    finer = _growing(before + 1, found.n_probe - 1, FINE_GROWTH)
    options = [*filter(None, map(trial.cheapest, finer)), found]
    return Outcome(min(options, key=trial.cost), trial.best)


def _growing(first: int, last: int, growth: float) -> Iterator[int]:
    """Efforts from the first to the last, in growing steps."""
    effort = first
    while effort < last:
        yield effort
        effort = max(effort + 1, int(effort * growth))
    if first <= last:
        yield last


class _Trial:
    """Measures efforts on the held-out vectors under one filter."""

    def __init__(self, index: FaissIndex, neighbours: TrueNeighbours, recall: float) -> None:
        self._index, self._recall, self.best = index, recall, 0.0
        truth, n_twins = neighbours.without_twins()
        kept = (truth >= 0).any(1)
        self._queries, self._truth = neighbours.queries[kept], truth[kept]
        self._n_twins = n_twins[kept, None]
        self._share = neighbours.selected.share
        allowed = neighbours.selected.flags(0, len(index))
        self._selection = None if allowed is None else index.select(allowed)
        is_rough = index.structure.kind in ROUGH_CODES
        self._depths = DEPTHS_OF_ROUGH_CODES if is_rough else DEPTHS

    @property
    def most_effort(self) -> int:
        """The effort that looks at everything."""
        n_cells = self._selection.n_cells if self._selection else 0
        return n_cells or self._index.most_effort

    def cost(self, effort: Effort) -> float:
        """What a query with some effort costs."""
        return _cost(self._index, effort)

    def cheapest(self, n_probe: int) -> Effort | None:
        """The least depth that reaches the recall when so many cells are visited."""
        ranks, is_there = self._ranks(n_probe), self._truth >= 0
        for depth in self._depths:
            hits = ((ranks < depth * K_TUNED + self._n_twins) & is_there).sum(1) / is_there.sum(1)
            recall = self._confirmed(hits)
            if recall is not None:
                return Effort(share=self._share, n_probe=n_probe, depth=depth, recall=recall)
        return None

    def _ranks(self, n_probe: int) -> npt.NDArray[np.int64]:
        """Rank of each true neighbour among the candidates of its query, a huge one if missing."""
        n = min(max(self._depths) * K_TUNED + MOST_TWINS, len(self._index))
        found = self._index.search(self._queries, n, n_probe, self._selection)
        ranks = np.full(self._truth.shape, len(self._index) + n, dtype=np.int64)
        for j in range(self._truth.shape[1]):
            query, rank = np.nonzero(found == self._truth[:, j : j + 1])
            ranks[query, j] = rank
        return ranks

    def _confirmed(self, hits: npt.NDArray[np.float64]) -> float | None:
        """Recall on the second half, if both halves show that it is reached."""
        chosen, confirming = hits[::2], hits[1::2]
        if not len(confirming):
            return None
        least = float(chosen.mean()) - STANDARD_ERRORS * float(chosen.std()) / math.sqrt(
            len(chosen)
        )
        recall = float(confirming.mean())
        self.best = max(self.best, min(recall, least))
        return round(recall, 4) if least >= self._recall <= recall else None


def _cost(index: FaissIndex, effort: Effort) -> float:
    n_lists, n_candidates = index.structure.n_lists, effort.depth * K_TUNED
    return search_cost(effort.n_probe, n_candidates, effort.share, len(index), n_lists)


def is_worth_it(index: FaissIndex, effort: Effort) -> bool:
    """Whether asking the structure is cheaper than scanning what a filter leaves."""
    return _cost(index, effort) < scan_cost(round(effort.share * len(index)))


def latency_ms(index: FaissIndex, queries: Rows, effort: Effort) -> float:
    """Median time of a query alone, in milliseconds."""
    times = []
    for i in range(min(N_TIMED, len(queries))):
        started = time.perf_counter()
        index.search(queries[i : i + 1], K_TUNED * effort.depth, effort.n_probe)
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times), 3) if times else 0.0
