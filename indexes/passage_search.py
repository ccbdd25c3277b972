"""Nearest passages: candidates by the plan, exact scores from the stored rows, never a dead one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from embedder.errors import IndexMismatchError
from embedder.vectors import Rows
from indexes.covered import Allowed, Covered
from indexes.faiss_index import Flags, Selection
from indexes.layout import Layout
from indexes.manifest import Manifest
from indexes.query_plan import (
    ALWAYS_SCANNED,
    PlanStep,
    QueryPlan,
    StepKind,
    effort_for,
    scan_cost,
    search_cost,
)
from indexes.scan import scan
from indexes.stored_rows import Positions, StoredRows

QUERY_BLOCK = 512
"""Queries answered at once, so that any number of them needs bounded memory."""

EXACT_EXTRA = 8
"""Candidates beyond k that an exact structure is asked for: its sums round in another order."""

NEARLY_ALL = 0.9
"""A filter that leaves more cannot lie apart from a query."""

SHARE_DROP = 2.0
"""How many times fewer allowed passages than expected near a query mean a harder search."""

EFFORT_GROWTH = 4


@dataclass(frozen=True)
class Found:
    """Passages near some queries.

    Args:
        positions: passages, best first, ties in the corpus's order, shape (n_queries, k); -1
            where there are no more.
        scores: their cosines, from the stored rows; -inf where there are no more.
        plan_made: makes the plan, which few callers ask for.
    """

    positions: Positions
    scores: Rows
    plan_made: Callable[[], QueryPlan]

    @property
    def plan(self) -> QueryPlan:
        """How they were found."""
        return self.plan_made()


@dataclass(frozen=True)
class _Step:
    """One step of the plan of a search.

    Args:
        part: number of the generation.
        effort: how hard to search it.
        n_candidates: candidates that are scored exactly for a query.
        share: share of its vectors that may be returned.
    """

    part: int
    effort: int
    n_candidates: int
    share: float


class PassageSearch:
    """Nearest passages in one committed state of an index.

    Args:
        layout: the index.
        manifest: the state.
        live: which passages are not deleted, counted over all segments; None for all.

    Raises:
        IndexFormatError: at a search, when a file that it reads is damaged.
    """

    def __init__(self, layout: Layout, manifest: Manifest, live: Flags | None = None) -> None:
        width = manifest.encoder.width
        self.stored = StoredRows(layout, manifest.segments, width)
        numbers = {segment.id: number for number, segment in enumerate(manifest.segments)}
        self._parts = [
            Covered(layout, record, numbers, self.stored.firsts, width)
            for record in manifest.generations
            if record.n_vectors
        ]
        covered = {number for part in self._parts for number in part.segments}
        self._uncovered = [number for number in range(len(numbers)) if number not in covered]
        self._live = live
        self._all = Allowed(live, self._parts, len(self.stored))

    def warm_up(self) -> None:
        """Open the FAISS structures now rather than at a query."""
        for part in self._parts:
            _ = part.index

    def allowed(self, flags: Flags | None) -> Allowed:
        """What to give `nearest` for a filter that leaves some passages, for many searches.

        Args:
            flags: shape (n_passages,), deleted passages included; None for no filter.
        """
        if flags is None:
            return self._all
        if flags.shape != (len(self.stored),) or flags.dtype != np.bool_:
            raise ValueError(f"flags are {flags.dtype} {flags.shape}, not bool {len(self.stored)}")
        both = flags if self._live is None else flags & self._live
        return Allowed(both, self._parts, len(self.stored))

    def nearest(
        self,
        queries: Rows,
        k: int,
        *,
        allowed: Allowed | Flags | None = None,
        exact: bool = False,
    ) -> tuple[Positions, Rows]:
        """Positions and scores of the k passages nearest to each query; see `search`."""
        found = self.search(queries, k, allowed=allowed, exact=exact)
        return found.positions, found.scores

    def search(
        self,
        queries: Rows,
        k: int,
        *,
        allowed: Allowed | Flags | None = None,
        exact: bool = False,
    ) -> Found:
        """The k passages nearest to each query.

        Args:
            queries: unit rows, float32, shape (n_queries, width).
            k: passages a query; fewer only where there are fewer.
            allowed: which passages may be returned, as flags or what `allowed` made of them.
            exact: look at every passage.

        Raises:
            IndexMismatchError: the queries are of another width.
            IndexFormatError: a file is damaged, or a returned row is no finite unit vector.
        """
        if queries.ndim != 2 or queries.shape[1] != self.stored.width:
            raise IndexMismatchError(
                f"The queries' vectors have shape {queries.shape}, and the index's have "
                f"{self.stored.width} components."
            )
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        chosen = allowed if isinstance(allowed, Allowed) else self.allowed(allowed)
        if (k, exact) not in chosen.plans:
            chosen.plans[k, exact] = self._plan(chosen, k, exact)
        steps, scanned = chosen.plans[k, exact]
        blocks = [
            self._block(queries[start : start + QUERY_BLOCK], k, chosen, steps, scanned)
            for start in range(0, max(1, len(queries)), QUERY_BLOCK)
        ]
        positions, scores = blocks[0][:2]
        if len(blocks) > 1:
            positions, scores = (np.concatenate([b[i] for b in blocks]) for i in (0, 1))
        raised = {number for block in blocks for number in block[2]}
        return Found(positions, scores, partial(self._describe, chosen, steps, scanned, raised))

    def _plan(self, allowed: Allowed, k: int, exact: bool) -> tuple[list[_Step], list[int]]:
        """What to ask of which structure, and the segments to scan.

        It depends on nothing but the filter and k, so that a query is answered the same in any
        batch.
        """
        steps, scanned = [], list(self._uncovered)
        for number, part in enumerate(self._parts):
            if not allowed.n_in[number]:
                continue
            step = None if exact else _step(number, part, allowed.n_in[number], k)
            if step is None:
                scanned += part.segments
            else:
                steps.append(step)
        return steps, sorted(scanned)

    def _describe(
        self, allowed: Allowed, steps: list[_Step], scanned: list[int], raised: set[int]
    ) -> QueryPlan:
        """The plan as it ran."""
        asked = {step.part: step for step in steps}
        described = []
        for number, part in enumerate(self._parts):
            step = asked.get(number)
            described.append(
                PlanStep(
                    kind=StepKind.STRUCTURE if step else StepKind.SCAN,
                    generation=part.record.id,
                    structure=part.record.structure,
                    n_passages=allowed.n_in[number],
                    share=allowed.n_in[number] / part.record.n_vectors,
                    n_probe=step.effort if step else 0,
                    n_candidates=step.n_candidates if step else 0,
                    is_raised=number in raised,
                )
            )
        n_left = allowed.n - sum(allowed.n_in)
        n_uncovered = int(np.diff(self.stored.firsts)[self._uncovered].sum())
        if n_uncovered:
            share = n_left / n_uncovered
            described.append(PlanStep(kind=StepKind.SCAN, n_passages=n_left, share=share))
        return QueryPlan(n_passages=self._all.n, n_allowed=allowed.n, steps=tuple(described))

    def _block(
        self, queries: Rows, k: int, allowed: Allowed, steps: list[_Step], scanned: list[int]
    ) -> tuple[Positions, Rows, set[int]]:
        """Positions, scores, and the numbers of generations whose effort was raised."""
        found, raised = [], set[int]()
        for step in steps:
            candidates, is_raised = self._ask(step, queries, k, allowed)
            found.append(candidates)
            raised |= {step.part} if is_raised else set()
        results = []
        if found:
            together = found[0] if len(found) == 1 else np.concatenate(found, axis=1)
            results.append(self._best(queries, together, k))
        if scanned or not results:
            results.append(scan(self.stored, queries, k, scanned, allowed.flags))
        if len(results) == 1:
            return *results[0], raised
        positions, scores = (np.concatenate(each, axis=1) for each in zip(*results, strict=True))
        return *_sorted(positions, scores, k), raised

    def _ask(self, step: _Step, queries: Rows, k: int, allowed: Allowed) -> tuple[Positions, bool]:
        """Candidates of one structure, k at least where it has k, and whether that took more."""
        part = self._parts[step.part]
        selection = allowed.selection(step.part)
        n_in = allowed.n_in[step.part]
        n, wanted = min(n_in, step.n_candidates), min(k, n_in)
        if selection is None or selection.counts is None or step.share > NEARLY_ALL:
            found, is_raised = part.index.search(queries, n, step.effort, selection), False
        else:
            found, is_raised = _ask_locally(part, step, queries, n, selection)
        effort = step.effort
        missing = np.flatnonzero(found[:, wanted - 1] < 0)
        while len(missing) and effort < part.index.most_effort:
            effort, is_raised = effort * EFFORT_GROWTH, True
            found[missing] = part.index.search(queries[missing], n, effort, selection)
            missing = missing[found[missing, wanted - 1] < 0]
        return part.positions(found), is_raised

    def _best(self, queries: Rows, candidates: Positions, k: int) -> tuple[Positions, Rows]:
        """The k best of some candidates of each query by their exact scores."""
        candidates = np.sort(candidates, axis=1)
        is_none = candidates < 0
        is_none[:, 1:] |= candidates[:, 1:] == candidates[:, :-1]  # by a damaged list only
        if not is_none.any():
            scores = self.stored.scores(queries, candidates)
        elif is_none.all():
            return _sorted(np.full_like(candidates, -1), np.zeros(candidates.shape, np.float32), k)
        else:
            valid = np.where(is_none, candidates.max(), candidates)
            scores = np.where(is_none, np.float32(0), self.stored.scores(queries, valid))
            candidates = np.where(is_none, -1, candidates)
        return _sorted(candidates, scores, k)


def _step(number: int, part: Covered, n_allowed: int, k: int) -> _Step | None:
    """How to ask a structure, None if scanning what is allowed costs less."""
    record, n_lists = part.record, part.structure.n_lists
    share = n_allowed / record.n_vectors
    if part.structure.is_exact:
        effort, n_candidates = 1, k + EXACT_EXTRA
    else:
        effort, depth = effort_for(record.efforts, share, k)
        effort, n_candidates = min(effort, n_lists or record.n_vectors), depth * k
    cost = search_cost(effort, n_candidates, share, record.n_vectors, n_lists)
    if n_allowed <= ALWAYS_SCANNED or cost >= scan_cost(n_allowed):
        return None
    return _Step(number, effort, n_candidates, share)


def _ask_locally(
    part: Covered, step: _Step, queries: Rows, n: int, selection: Selection
) -> tuple[Positions, bool]:
    """Candidates with more effort for queries near which fewer passages are allowed than overall.

    The recorded effort is that of a random filter. Where the cells nearest to the query hold a
    smaller share, it is searched as if the filter left no more anywhere.
    """
    shares = part.index.local_share(queries, step.effort, selection)
    drops = np.log2(step.share / np.maximum(shares, 1 / len(part.index))) / np.log2(SHARE_DROP)
    groups = np.clip(drops.astype(np.int64), 0, None)
    found = np.empty((len(queries), n), dtype=np.int64)
    for group in np.unique(groups):
        chosen = np.flatnonzero(groups == group)
        effort = math.ceil(step.effort * SHARE_DROP**group)
        found[chosen] = part.index.search(queries[chosen], n, effort, selection)
    return found, bool(groups.any())


def _sorted(positions: Positions, scores: Rows, k: int) -> tuple[Positions, Rows]:
    """The k best of each row, ties by position; padded with -1 and -inf, shape (n, k)."""
    n, m = positions.shape
    scores = np.where(positions >= 0, scores, np.float32(-np.inf))
    order = np.lexsort((positions, -scores))[:, :k]
    rows = np.arange(n)[:, None]
    positions, scores = positions[rows, order], scores[rows, order]
    if m >= k:
        return positions, scores
    empty = np.full((n, k - m), -1, dtype=np.int64)
    return (
        np.concatenate([positions, empty], axis=1),
        np.concatenate([scores, np.full((n, k - m), -np.inf, dtype=np.float32)], axis=1),
    )
