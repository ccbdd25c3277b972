"""Nearest documents: the nearest passages, each document once, with its text and metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFormatError, IndexMismatchError
from embedder.records import hash_texts
from embedder.vectors import Rows
from indexes.covered import Allowed
from indexes.deletions import live_documents
from indexes.documents import check_documents
from indexes.layout import Layout
from indexes.manifest import Manifest
from indexes.manifest_file import check_index_files
from indexes.metadata import DocumentRow, MetadataStore, PassageSpan
from indexes.passage_documents import Flags, PassageDocuments
from indexes.passage_search import Found, PassageSearch
from indexes.penalty import Penalty
from indexes.query_plan import QueryPlan
from indexes.segments import row_checksums
from indexes.stored_rows import Positions

REPAIR = "Run embedder index again to restore it, and embedder verify to see what is damaged."


CHECKED_BYTES = 200 << 20
"""An index of at most so many bytes is compared with its digests when it is opened, in about a
tenth of a second. Of a larger one only what a search returns is, and what is read with it."""


@dataclass(frozen=True)
class Neighbour:
    """A passage near a query.

    Args:
        score: cosine of query and passage, from the stored float16 row, less any penalty.
        span: where the passage lies in its document.
        document: the document, with the metadata asked for.
    """

    score: float
    span: PassageSpan
    document: DocumentRow


@dataclass(frozen=True)
class Answer:
    """What a search found, and how.

    Args:
        neighbours: for each query the nearest documents, best first.
        plan: what was scanned and what was asked of which FAISS structure.
    """

    neighbours: list[list[Neighbour]]
    plan: QueryPlan


@dataclass(frozen=True)
class _Filter:
    """What a filter leaves: documents that are not deleted, and passages."""

    where: str | None
    n_documents: int
    passages: Allowed


class Searcher:
    """Answers queries over one committed state of an index.

    Args:
        layout: the index.
        manifest: the state; later commits are not seen.

    Raises:
        IndexFormatError: a file that the manifest names is missing or damaged.
    """

    def __init__(self, layout: Layout, manifest: Manifest) -> None:
        self._is_checked = manifest.n_bytes <= CHECKED_BYTES
        check_index_files(layout, manifest, with_digests=self._is_checked)
        self.layout, self.manifest = layout, manifest
        self._width = manifest.encoder.width
        self._documents = PassageDocuments(layout, manifest.segments)
        self._live = live_documents(layout, manifest)
        live = None if self._live is None else self._documents.passages(self._live)
        self.passages = PassageSearch(layout, manifest, live)
        self._unfiltered = _Filter(None, manifest.n_documents, self.passages.allowed(None))
        self._filter = self._unfiltered
        self.metadata = MetadataStore(layout, manifest)

    def warm_up(self) -> None:
        """Open the FAISS structures and the passages' documents now rather than at a query."""
        self.passages.warm_up()
        self._documents.warm_up()

    def close(self) -> None:
        """Release what is open."""
        self.metadata.close()

    def search(
        self,
        queries: Rows,
        k: int,
        *,
        where: str | None = None,
        fields: Sequence[str] = (),
        exact: bool = False,
    ) -> list[list[Neighbour]]:
        """The k nearest documents of each query by their best passage, best first; see `answer`."""
        return self.answer(queries, k, where=where, fields=fields, exact=exact).neighbours

    def answer(
        self,
        queries: Rows,
        k: int,
        *,
        where: str | None = None,
        fields: Sequence[str] = (),
        exact: bool = False,
        within: Flags | None = None,
        penalty: Penalty | None = None,
    ) -> Answer:
        """The k nearest documents of each query by their best passage, and the plan.

        Args:
            queries: unit rows, float32, shape (n_queries, width).
            k: documents a query; fewer only if there are fewer.
            where: SQL expression over the metadata that documents must satisfy.
            fields: metadata columns to return.
            exact: look at every passage.
            within: only these passages, shape (n_passages,); all by default.
            penalty: what some passages lose of their scores.

        Raises:
            FilterError: the expression or a field is wrong.
            IndexMismatchError: the queries are of another width.
            IndexFormatError: a file that is read is damaged.
        """
        if queries.ndim != 2 or queries.shape[1] != self._width:
            raise IndexMismatchError(
                f"The queries' vectors have shape {queries.shape}, and the index's have "
                f"{self._width} components."
            )
        chosen = self._allowed(where)
        if within is not None:
            chosen = self._within(chosen, within)
        k = min(max(k, 0), chosen.n_documents)
        found = self._best_documents(queries, k, chosen, exact, penalty or Penalty.none())
        return Answer(self._describe(found, fields), found.plan)

    def _allowed(self, where: str | None) -> _Filter:
        """What a filter leaves; the last answer is kept for the next queries."""
        if where is None:
            return self._unfiltered
        found = self._filter  # which another thread may replace meanwhile
        if found.where != where:
            documents = self.metadata.allowed_documents(where)
            if self._live is not None:
                documents &= self._live
            passages = self.passages.allowed(self._documents.passages(documents))
            found = self._filter = _Filter(where, int(np.count_nonzero(documents)), passages)
        return found

    def _within(self, chosen: _Filter, flags: Flags) -> _Filter:
        """What a filter leaves of some passages."""
        both = flags if chosen.passages.flags is None else flags & chosen.passages.flags
        passages = self.passages.allowed(both)
        assert passages.flags is not None
        documents = np.unique(self._documents.of(np.flatnonzero(passages.flags)))
        return _Filter(chosen.where, len(documents), passages)

    def _best_documents(
        self, queries: Rows, k: int, chosen: _Filter, exact: bool, penalty: Penalty
    ) -> Found:
        """The best passages of the k best documents of each query.

        Candidates are passages, and several can belong to one document: if fewer than k
        documents come of them and there are more passages, twice as many are asked for. So are
        they where a passage that is not among them could still be better than one that has lost
        some of its score.
        """
        n_available = chosen.passages.n
        n_candidates = min(n_available, k + (0 if self._documents.is_one_each else max(8, k // 2)))
        positions = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        left = np.arange(len(queries))
        while True:
            found = self.passages.search(
                queries[left], n_candidates, allowed=chosen.passages, exact=exact
            )
            last = found.scores[:, -1] if n_candidates else np.zeros(len(left), dtype=np.float32)
            found = _lowered(found, penalty)
            is_first = _is_first(self._documents.of(found.positions))
            positions[left], scores[left] = _kept(found, is_first, k)
            is_open = is_first.sum(1) < k
            if len(penalty.positions) and k:
                is_open |= scores[left, -1] < last
            left = left[is_open]
            if n_candidates == n_available or not len(left):
                return Found(positions, scores, found.plan_made)
            n_candidates = min(n_available, 2 * n_candidates)

    def _describe(self, found: Found, fields: Sequence[str]) -> list[list[Neighbour]]:
        """Fetch passages and documents of all hits in two queries, and check them."""
        positions = np.unique(found.positions[found.positions >= 0])
        if not len(positions):
            return [[] for _ in found.positions]
        segments = self.passages.stored.segments_of(positions)
        firsts = self.passages.stored.firsts
        places = {
            int(position): (int(segment), int(position - firsts[segment]))
            for position, segment in zip(positions, segments, strict=True)
        }
        wanted: dict[int, list[int]] = {}
        for segment, row in places.values():
            wanted.setdefault(segment, []).append(row)
        spans = self.metadata.passages(wanted)
        rows: dict[int, set[int]] = {}
        for (segment, _), span in spans.items():
            rows.setdefault(segment, set()).add(span.document)
        documents = self.metadata.documents({s: sorted(r) for s, r in rows.items()}, fields)
        if spans.keys() != set(places.values()) or len(documents) < sum(map(len, rows.values())):
            raise IndexFormatError("Stored documents or passages are damaged.", REPAIR)
        if not self._is_checked:
            self._check_pages(rows, fields)
        self._check_vectors(positions, [spans[place].checksum for place in places.values()])
        for (segment, _), span in spans.items():
            _check_text(span, documents[segment, span.document])

        def neighbour(position: int, score: float) -> Neighbour:
            place = places[position]
            span = spans[place]
            return Neighbour(score, span, documents[place[0], span.document])

        return [
            [neighbour(p, s) for p, s in zip(*row, strict=True) if p >= 0]
            for row in zip(found.positions.tolist(), found.scores.tolist(), strict=True)
        ]

    def _check_pages(self, rows: Mapping[int, Collection[int]], fields: Sequence[str]) -> None:
        """Raise IndexFormatError unless ids and metadata lie in pages that are as written.

        DuckDB does not compare the pages' checksums; texts have digests of their own.
        """
        names = ["__row", "__id", *self.metadata.resolve_fields(fields)]
        for segment, numbers in rows.items():
            check_documents(self.layout, self.manifest.segments[segment], sorted(numbers), names)

    def _check_vectors(self, positions: Positions, checksums: Sequence[int]) -> None:
        """Raise IndexFormatError unless the rows that were scored are those that were written."""
        found = row_checksums(self.passages.stored.take(positions))
        if found.tolist() != list(checksums):
            raise IndexFormatError("Stored vectors are damaged: a checksum is wrong.", REPAIR)


def _check_text(span: PassageSpan, document: DocumentRow) -> None:
    """Raise IndexFormatError unless a passage's text is the one that was encoded."""
    [found] = hash_texts([document.text[span.start : span.end]])
    is_inside = 0 <= span.start <= span.end <= len(document.text)
    if not is_inside or found.tolist() != [span.hash_low, span.hash_high]:
        raise IndexFormatError(
            f"The text of document {document.id!r} is damaged: its digest is wrong.", REPAIR
        )


def _lowered(found: Found, penalty: Penalty) -> Found:
    """What was found, with lowered scores, best first again."""
    if not len(penalty.positions):
        return found
    scores = penalty.lower(found.positions, found.scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    positions = np.take_along_axis(found.positions, order, 1)
    return Found(positions, np.take_along_axis(scores, order, 1), found.plan_made)


def _is_first(documents: Positions) -> npt.NDArray[np.bool_]:
    """Where a document comes for the first time in its row; nowhere for -1."""
    order = np.argsort(documents, axis=1, kind="stable")
    ordered = np.take_along_axis(documents, order, axis=1)
    is_new = ordered >= 0
    is_new[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    is_first = np.zeros_like(is_new)
    np.put_along_axis(is_first, order, is_new, axis=1)
    return is_first


def _kept(found: Found, is_kept: npt.NDArray[np.bool_], k: int) -> tuple[Positions, Rows]:
    """Positions and scores of the first k of what is kept of each row, padded as they were."""
    order = np.argsort(~is_kept, axis=1, kind="stable")[:, :k]
    positions = np.where(is_kept, found.positions, -1)
    scores = np.where(is_kept, found.scores, np.float32(-np.inf))
    return np.take_along_axis(positions, order, 1), np.take_along_axis(scores, order, 1)
