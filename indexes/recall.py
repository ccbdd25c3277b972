"""How much of what a look at every passage finds a search finds, measured anew."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.vectors import Rows
from indexes.deletions import live_documents
from indexes.generation_builder import spread_numbers
from indexes.held_out import blurred
from indexes.layout import Layout
from indexes.manifest import Manifest
from indexes.passage_documents import PassageDocuments
from indexes.passage_search import PassageSearch
from indexes.query_plan import K_TUNED
from indexes.stored_rows import Positions, widened

N_QUERIES = 400
N_TIMED = 100
SAMPLE_SEED = 811
STANDARD_ERRORS = 2.0
"""A sample's mean lies further off once in twenty times."""


@dataclass(frozen=True, kw_only=True)
class MeasuredRecall:
    """Recall of search over stored passages as queries.

    Args:
        recall: mean share of the 10 nearest passages that a search finds, the query itself, which
            is one of them, left out.
        error: standard error of that mean.
        recorded: the least recall that was measured when the FAISS structures were built.
        contract: what the index promises.
        n_queries: passages that were searched for.
        latency_ms: median time of one search, in milliseconds.
    """

    recall: float
    error: float
    recorded: float
    contract: float
    n_queries: int
    latency_ms: float

    @property
    def is_kept(self) -> bool:
        """Whether the contract can be true: the sample is not too far below it for chance."""
        return self.recall + STANDARD_ERRORS * self.error >= self.contract

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return {**asdict(self), "is_kept": self.is_kept}


def measure_recall(layout: Layout, manifest: Manifest) -> MeasuredRecall | None:
    """Search for a uniform sample of the passages, with the structures and exactly.

    Args:
        layout: the index.
        manifest: the state that readers see.

    Returns:
        None if there are no two passages.

    Raises:
        IndexFormatError: a file is damaged.
    """
    flags = _live_passages(layout, manifest)
    search = PassageSearch(layout, manifest, flags)
    live = np.arange(len(search.stored)) if flags is None else np.flatnonzero(flags)
    if len(live) < 2:
        return None
    own = live[spread_numbers(len(live), N_QUERIES, SAMPLE_SEED)]
    queries = widened(search.stored.take(own))
    if any(record.structure.startswith("HNSW") for record in manifest.generations):
        # A vector's own node leads to its neighbours; see `blurred`.
        own, queries = np.full_like(own, -1), blurred(queries)
    found, _ = search.nearest(queries, K_TUNED)
    wanted, _ = search.nearest(queries, K_TUNED, exact=True)
    shares = _shares(found, np.where(wanted == own[:, None], -1, wanted))
    return MeasuredRecall(
        recall=round(float(shares.mean()), 4),
        error=round(float(shares.std()) / math.sqrt(len(shares)), 4),
        recorded=min((record.recall for record in manifest.generations), default=1.0),
        contract=manifest.contract.recall,
        n_queries=len(own),
        latency_ms=_latency_ms(search, queries),
    )


def _live_passages(layout: Layout, manifest: Manifest) -> npt.NDArray[np.bool_] | None:
    documents = live_documents(layout, manifest)
    if documents is None:
        return None
    return PassageDocuments(layout, manifest.segments).passages(documents)


def _shares(found: Positions, wanted: Positions) -> npt.NDArray[np.float64]:
    """Share of the wanted positions of each row, without its -1, that were found."""
    is_found = (found[:, :, None] == wanted[:, None, :]).any(1) & (wanted >= 0)
    n_wanted = (wanted >= 0).sum(1)
    shares: npt.NDArray[np.float64] = is_found.sum(1)[n_wanted > 0] / n_wanted[n_wanted > 0]
    return shares


def _latency_ms(search: PassageSearch, queries: Rows) -> float:
    times = []
    for query in queries[:N_TIMED]:
        started = time.perf_counter()
        search.nearest(query[None], K_TUNED)
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times), 3)
