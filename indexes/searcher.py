"""Nearest documents: a plan, candidates, exact scores from the stored rows, each document once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFormatError, IndexMismatchError
from embedder.vectors import HalfRows, Rows, check_unit_rows
from indexes.faiss_index import FaissIndex
from indexes.layout import Layout
from indexes.manifest import Manifest, check_index_files
from indexes.metadata import DocumentRow, MetadataStore, PassageSpan
from indexes.segments import read_rows

SCAN_ROWS = 32_768
"""Rows scored at once in an exact scan."""

FEW_ALLOWED = 20_000
"""A filter that leaves at most this many passages is answered by scanning them."""

Positions = npt.NDArray[np.int64]
"""Numbers of passages, counted over all segments in the manifest's order."""


@dataclass(frozen=True)
class Neighbour:
    """A passage near a query.

    Args:
        score: cosine of query and passage, from the stored float16 row.
        span: where the passage lies in its document.
        document: the document, with the metadata asked for.
    """

    score: float
    span: PassageSpan
    document: DocumentRow


class Searcher:
    """Answers queries over one committed state of an index.

    Args:
        layout: the index.
        manifest: the state; later commits are not seen.

    Raises:
        IndexFormatError: a file that the manifest names is missing or damaged.
    """

    def __init__(self, layout: Layout, manifest: Manifest) -> None:
        check_index_files(layout, manifest)
        self.manifest = manifest
        self._layout = layout
        self._segments = manifest.segments
        self._width = manifest.encoder.width
        sizes = [segment.n_passages for segment in self._segments]
        self._firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        documents = [segment.n_documents for segment in self._segments]
        self._first_documents = np.concatenate([[0], np.cumsum(documents)]).astype(np.int64)
        self.metadata = MetadataStore(layout, manifest)
        self._last_filter: tuple[str, npt.NDArray[np.bool_]] | None = None

    def warm_up(self) -> None:
        """Open the FAISS structure and the passages' documents now rather than at a query."""
        _ = self._faiss, self._document_of

    def close(self) -> None:
        """Release what is open."""
        self.metadata.close()

    def search(
        self, queries: Rows, k: int, *, where: str | None = None, fields: Sequence[str] = ()
    ) -> list[list[Neighbour]]:
        """The k nearest documents of each query by their best passage, best first.

        Args:
            queries: unit rows, float32, shape (n_queries, width).
            k: documents a query; fewer only if there are fewer.
            where: SQL expression over the metadata that documents must satisfy.
            fields: metadata columns to return.

        Raises:
            FilterError: the expression or a field is wrong.
            IndexMismatchError: the queries are of another width.
        """
        if queries.ndim != 2 or queries.shape[1] != self._width:
            raise IndexMismatchError(
                f"The queries' vectors have shape {queries.shape}, and the index's have "
                f"{self._width} components."
            )
        allowed, n_documents = None, self.manifest.n_documents
        if where is not None:
            documents = self._allowed_documents(where)
            allowed, n_documents = documents[self._document_of], int(documents.sum())
        found = self._best_documents(queries, min(k, n_documents), allowed)
        return self._describe(found, fields)

    def _allowed_documents(self, where: str) -> npt.NDArray[np.bool_]:
        """Documents that satisfy a filter; the last answer is kept for the next queries."""
        if self._last_filter is None or self._last_filter[0] != where:
            self._last_filter = (where, self.metadata.allowed_documents(where))
        return self._last_filter[1]

    def _best_documents(
        self, queries: Rows, k: int, allowed: npt.NDArray[np.bool_] | None
    ) -> list[list[tuple[int, float]]]:
        """Best passage and score of the k best documents of each query.

        Candidates are passages, and several can belong to one document: if fewer than k
        documents come of them and there are more passages, twice as many are asked for.
        """
        n_available = int(allowed.sum()) if allowed is not None else int(self._firsts[-1])
        if not n_available or k < 1:
            return [[] for _ in queries]
        n_candidates = min(n_available, k + max(8, k // 2))
        while True:
            candidates = self._candidates(queries, n_candidates, allowed, n_available)
            best = [
                self._once_each(self._scored(query, row), k)
                for query, row in zip(queries, candidates, strict=True)
            ]
            if n_candidates == n_available or all(len(found) >= k for found in best):
                return best
            n_candidates = min(n_available, 2 * n_candidates)

    def _candidates(
        self, queries: Rows, n: int, allowed: npt.NDArray[np.bool_] | None, n_available: int
    ) -> list[Positions]:
        """At least the n best passages of each query that the plan finds."""
        if allowed is not None and n_available <= FEW_ALLOWED:
            return self._scan(queries, np.flatnonzero(allowed), n)
        parts = []
        if self._faiss is not None:
            parts.append(self._faiss_candidates(queries, n, allowed))
        uncovered = self._uncovered
        if allowed is not None:
            uncovered = uncovered[allowed[uncovered]]
        if len(uncovered):
            parts.append(self._scan(queries, uncovered, n))
        return [np.concatenate(rows) for rows in zip(*parts, strict=True)]

    def _faiss_candidates(
        self, queries: Rows, n: int, allowed: npt.NDArray[np.bool_] | None
    ) -> list[Positions]:
        """Candidates from the FAISS structure, with more effort until there are enough."""
        assert self._faiss is not None
        covered = self._covered
        live = covered >= 0
        inside = live if allowed is None else live & allowed[np.where(live, covered, 0)]
        n_inside = int(inside.sum())
        n = min(n, n_inside)
        selected = None if n_inside == len(covered) else inside
        n_probe = self._faiss.structure.n_probe
        while n:
            found = self._faiss.search(queries, n, allowed=selected, n_probe=n_probe)
            if n_probe >= self._faiss.structure.n_lists or (found >= 0).all():
                return [covered[row[row >= 0]] for row in found]
            n_probe *= 2
        return [np.empty(0, dtype=np.int64) for _ in queries]

    def _scan(self, queries: Rows, positions: Positions, n: int) -> list[Positions]:
        """The n best of some passages for each query, by scoring all of them."""
        best: list[list[Positions]] = [[] for _ in queries]
        scores: list[list[Rows]] = [[] for _ in queries]
        for start in range(0, len(positions), SCAN_ROWS):
            block = positions[start : start + SCAN_ROWS]
            found = queries @ self._rows(block).astype(np.float32).T
            for i, row in enumerate(found):
                # All that reach the n-th score, so that ties stay in the corpus's order.
                least = np.partition(row, max(0, len(row) - n))[max(0, len(row) - n)]
                top = np.flatnonzero(row >= least)
                best[i].append(block[top])
                scores[i].append(row[top])
        return [
            np.concatenate(p)[np.argsort(-np.concatenate(s), kind="stable")[:n]]
            for p, s in zip(best, scores, strict=True)
        ]

    def _scored(self, query: Rows, positions: Positions) -> list[tuple[int, float]]:
        """Candidates with scores from the stored rows, best first, ties in the corpus's order.

        One sum a row, so that a score depends on nothing but its query and its passage.
        """
        positions = np.sort(positions)
        rows = self._rows(positions).astype(np.float32)
        try:
            check_unit_rows(rows)
        except ValueError as error:
            raise IndexFormatError(
                f"Stored vectors are damaged: {error}.",
                "Run embedder index again to restore them.",
            ) from error
        scores = (rows * query).sum(1)
        order = np.argsort(-scores, kind="stable")
        return [(int(positions[i]), float(scores[i])) for i in order]

    def _once_each(self, scored: list[tuple[int, float]], k: int) -> list[tuple[int, float]]:
        """The best passage of each document, k documents at most."""
        seen: set[int] = set()
        kept = []
        for position, score in scored:
            document = int(self._document_of[position])
            if document not in seen:
                seen.add(document)
                kept.append((position, score))
                if len(kept) == k:
                    break
        return kept

    def _rows(self, positions: Positions) -> HalfRows:
        """Stored rows of passages, float16, shape (len(positions), width)."""
        rows = np.empty((len(positions), self._width), dtype=np.float16)
        segments = self._segment_of(positions)
        for segment in np.unique(segments):
            chosen = segments == segment
            folder = self._layout.segment(self._segments[segment].id)
            own = positions[chosen] - self._firsts[segment]
            rows[chosen] = read_rows(folder, own.tolist(), self._width)
        return rows

    def _segment_of(self, positions: Positions) -> Positions:
        return np.searchsorted(self._firsts, positions, side="right") - 1

    @cached_property
    def _document_of(self) -> npt.NDArray[np.int64]:
        """Number of the document of each passage."""
        return self.metadata.passage_documents()

    @cached_property
    def _faiss(self) -> FaissIndex | None:
        record = self.manifest.generation
        if record is None or not record.n_vectors:
            return None
        return FaissIndex(self._layout.generation(record.id), record, self._width)

    @cached_property
    def _covered(self) -> Positions:
        """Passage of each vector of the FAISS structure, -1 for one whose segment is gone."""
        record = self.manifest.generation
        if record is None:
            return np.empty(0, dtype=np.int64)
        numbers = {segment.id: i for i, segment in enumerate(self._segments)}
        if record.segments == tuple(numbers):
            return np.arange(record.n_vectors, dtype=np.int64)
        parts = [
            np.arange(size, dtype=np.int64) + self._firsts[numbers[segment]]
            if segment in numbers
            else np.full(size, -1, dtype=np.int64)
            for segment, size in zip(record.segments, record.sizes, strict=True)
        ]
        return np.concatenate(parts)

    @cached_property
    def _uncovered(self) -> Positions:
        """Passages that the FAISS structure does not hold yet."""
        missing = np.ones(int(self._firsts[-1]), dtype=np.bool_)
        missing[self._covered[self._covered >= 0]] = False
        return np.flatnonzero(missing)

    def _describe(
        self, found: list[list[tuple[int, float]]], fields: Sequence[str]
    ) -> list[list[Neighbour]]:
        """Fetch passages and documents of all hits in two queries."""
        positions = np.unique([p for row in found for p, _ in row]).astype(np.int64)
        segments = self._segment_of(positions)
        wanted: dict[int, list[int]] = {}
        for position, segment in zip(positions, segments, strict=True):
            wanted.setdefault(int(segment), []).append(int(position - self._firsts[segment]))
        spans = self.metadata.passages(wanted)
        rows: dict[int, set[int]] = {}
        for (segment, _), span in spans.items():
            rows.setdefault(segment, set()).add(span.document)
        documents = self.metadata.documents({s: sorted(r) for s, r in rows.items()}, fields)

        def neighbour(position: int, score: float) -> Neighbour:
            segment = int(self._segment_of(np.array([position]))[0])
            span = spans[segment, position - int(self._firsts[segment])]
            return Neighbour(score, span, documents[segment, span.document])

        return [[neighbour(position, score) for position, score in row] for row in found]
