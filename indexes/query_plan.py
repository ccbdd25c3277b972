"""How a query is answered: what is scanned, what is asked of a FAISS structure, and how hard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from indexes.manifest import Effort

K_TUNED = 10
"""Efforts are measured on so many neighbours."""

TUNED_SHARES = (0.5, 0.1, 0.01, 0.001)
"""Shares of the passages that random filters leave for which efforts are measured."""

# Costs in the time of comparing one vector by its code, as measured with 384 components on two
# cores of an EPYC (Zen 5): 15 ns. They decide between plans, so they must not be measured anew.

CHECK_COST = 0.1
"""Asking the filter about one vector of a list."""

CENTROID_COST = 0.6
"""Comparing one centroid: they lie side by side and stay in the cache."""

SCORE_COST = 20.0
"""Fetching and scoring one stored row, wherever it lies."""

GRAPH_COST = 100.0
"""One more vector kept in view in a graph."""

ALWAYS_SCANNED = 1_000
"""So few passages are always scanned."""


class StepKind(StrEnum):
    """What one step of a plan does."""

    SCAN = "scan"
    STRUCTURE = "structure"


@dataclass(frozen=True, kw_only=True)
class PlanStep:
    """One step of a plan.

    Args:
        kind: whether passages are scanned, or a FAISS structure is asked.
        generation: the structure's generation, empty for passages that none covers.
        structure: the structure's name, empty for passages that none covers.
        n_passages: passages that this step may return.
        share: which share that is of all passages of this step.
        n_probe: cells that a query visits; in a graph, vectors kept in view; 0 for a scan.
        n_candidates: candidates that are scored exactly for a query.
        is_raised: whether the recorded effort was raised, to find enough or because the passages
            allowed lie apart from the query.
    """

    kind: StepKind
    generation: str = ""
    structure: str = ""
    n_passages: int
    share: float
    n_probe: int = 0
    n_candidates: int = 0
    is_raised: bool = False

    def line(self) -> str:
        """For people."""
        rows = f"{self.n_passages:,} passages"
        if self.share < 1:
            rows += f" ({100 * self.share:.3g} % of them)"
        if self.kind is StepKind.SCAN:
            where = f"of {self.structure}" if self.structure else "that no FAISS structure holds"
            return f"scan {rows} {where}"
        effort = f"{self.n_probe} cells" if self.structure.startswith("IVF") else "all"
        if self.structure.startswith("HNSW"):
            effort = f"{self.n_probe} in view"
        raised = ", effort raised" if self.is_raised else ""
        return f"{self.structure} over {rows}: {effort}, {self.n_candidates} candidates{raised}"


@dataclass(frozen=True, kw_only=True)
class QueryPlan:
    """How queries were answered.

    Args:
        n_passages: passages that are not deleted.
        n_allowed: those of them that the filter leaves.
        steps: what was done; the answers are the best of all steps.
        meaning: how the words of the query were understood.
    """

    n_passages: int
    n_allowed: int
    steps: tuple[PlanStep, ...]
    meaning: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of the passages that the filter leaves."""
        return self.n_allowed / self.n_passages if self.n_passages else 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return {**asdict(self), "share": self.share, "steps": [asdict(s) for s in self.steps]}

    def lines(self) -> list[str]:
        """For people, one line a step."""
        left = ""
        if self.n_allowed < self.n_passages:
            left = f", of which the filter leaves {self.n_allowed:,} ({100 * self.share:.3g} %)"
        rows = f"{self.n_passages:,} passages{left}"
        return [*self.meaning, rows, *(step.line() for step in self.steps)]


def search_cost(
    effort: int, n_candidates: int, share: float, n_vectors: int, n_lists: int
) -> float:
    """Cost of asking a structure, for one query."""
    if not n_lists:
        return effort * GRAPH_COST + n_candidates * SCORE_COST
    looked_at = min(effort, n_lists) * n_vectors / n_lists
    checks = CHECK_COST if share < 1 else 0.0
    coarse = CENTROID_COST * n_lists
    return coarse + looked_at * (share + checks) + n_candidates * SCORE_COST


def scan_cost(n_allowed: int) -> float:
    """Cost of scanning the allowed passages, for one query."""
    return n_allowed * SCORE_COST


def effort_for(efforts: Sequence[Effort], share: float, k: int) -> tuple[int, int]:
    """Effort and depth for a filter that leaves a share of the vectors.

    The k nearest of all vectors lie as far out as the ten nearest of a random 10/k of them. In
    between, the effort goes with the share on a logarithmic scale, as the recorded efforts do
    nearly; below the last share that was measured it goes as one over the share.

    Args:
        efforts: as recorded, from the largest share to the smallest.
        share: share of the vectors that are allowed.
        k: neighbours wanted.
    """
    least = efforts[-1]
    share *= min(1.0, K_TUNED / max(k, 1))
    if share <= least.share:
        return math.ceil(least.n_probe * least.share / share), least.depth
    lower = next(effort for effort in efforts if effort.share <= share)
    upper = efforts[max(0, efforts.index(lower) - 1)]
    if upper is lower:
        return lower.n_probe, lower.depth
    at = math.log(share / upper.share) / math.log(lower.share / upper.share)
    grown = math.log(max(lower.n_probe, upper.n_probe) / upper.n_probe) * at
    return math.ceil(upper.n_probe * math.exp(grown) - 1e-6), max(lower.depth, upper.depth)
