"""Nearest passages: as a look at all of them finds, however they are covered and filtered."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from synthetic import make_manifest, unit_rows, write_segment

from embedder.errors import IndexFormatError, IndexMismatchError
from embedder.vectors import HalfRows, Rows
from indexes.generation_builder import build_generation
from indexes.layout import VECTORS_FILE, Layout
from indexes.manifest import Contract, Effort, GenerationRecord, Manifest, StructureKind
from indexes.npy import NPY_HEADER_BYTES
from indexes.passage_search import PassageSearch
from indexes.query_plan import StepKind, effort_for
from indexes.stored_rows import StoredRows, widened

WIDTH = 16
SIZES = (6000, 0, 4000, 5000, 700)
CONTRACT = Contract(recall=0.9, memory=1 << 30)
IVF = replace(CONTRACT, structure=StructureKind.IVF_SQ8)
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class World:
    """An index with two structures, one of them over a segment that is gone, and two loose ends."""

    layout: Layout
    manifest: Manifest
    half: HalfRows
    live: Flags

    def wanted(self, queries: Rows, k: int, allowed: Flags) -> tuple[list[list[int]], Rows]:
        """Positions and scores by looking at every row, ties in the corpus's order."""
        rows = self.half.astype(np.float32)
        scores = np.stack([np.einsum("ij,j->i", rows, query) for query in queries])
        scores[:, ~allowed] = -2
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return order.tolist(), np.take_along_axis(scores, order, axis=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Passages with many ties, a tenth of them dead."""
    layout = Layout(tmp_path_factory.mktemp("world") / "an.index")
    rows = [unit_rows(n, seed=i, n_clusters=150, width=WIDTH) for i, n in enumerate(SIZES)]
    rows[2][:50] = rows[0][0]  # equal passages, over several segments
    segments = [write_segment(layout, f"s{i}", part) for i, part in enumerate(rows)]
    gone = write_segment(layout, "gone", unit_rows(3000, seed=9, width=WIDTH))
    generations = (
        build_generation(layout, [segments[2], gone, segments[0]], WIDTH, IVF),
        build_generation(layout, [segments[3]], WIDTH, CONTRACT),
    )
    manifest = replace(make_manifest(segments, WIDTH), generations=generations)
    live = np.random.default_rng(4).random(sum(SIZES)) > 0.1
    return World(layout, manifest, np.concatenate(rows).astype(np.float16), live)


@pytest.fixture(scope="module")
def search(world: World) -> PassageSearch:
    """A search over the live passages."""
    return PassageSearch(world.layout, world.manifest, world.live)


def queries_of(n: int) -> Rows:
    """Queries like the passages, the first of them equal to some."""
    return np.concatenate(
        [
            unit_rows(SIZES[0], n_clusters=150, width=WIDTH)[:1],
            unit_rows(n - 1, seed=77, width=WIDTH),
        ]
    )


@pytest.mark.parametrize("share", [1, 0.5, 0.02, 0.001, 0])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_an_exact_search_is_brute_force(
    world: World, search: PassageSearch, share: float, k: int
) -> None:
    """Positions, scores and ties are those of a look at every live passage that is allowed."""
    allowed = np.random.default_rng(1).random(len(world.live)) < share
    positions, scores = search.nearest(queries_of(9), k, allowed=allowed, exact=True)
    n_there = min(k, int((allowed & world.live).sum()))
    wanted, wanted_scores = world.wanted(queries_of(9), n_there, allowed & world.live)
    assert positions[:, :n_there].tolist() == wanted
    assert scores[:, :n_there].tolist() == wanted_scores.tolist()
    assert (positions[:, n_there:] == -1).all() and np.isneginf(scores[:, n_there:]).all()


@pytest.mark.parametrize("share", [1, 0.5, 0.1, 0.01, 0.001])
def test_a_search_gives_k_live_passages_and_the_recall(
    world: World, search: PassageSearch, share: float
) -> None:
    """Whatever the filter: k live passages, nearly all of the nearest, best first."""
    allowed = np.random.default_rng(2).random(len(world.live)) < share
    positions, scores = search.nearest(queries_of(300), 10, allowed=allowed)
    assert (world.live & allowed)[positions].all()
    assert (np.diff(scores, axis=1) <= 0).all()
    wanted, _ = world.wanted(queries_of(300), 10, allowed & world.live)
    pairs = zip(positions.tolist(), wanted, strict=True)
    assert np.mean([len(set(f) & set(w)) / 10 for f, w in pairs]) >= CONTRACT.recall
    assert all(len(set(row)) == 10 for row in positions.tolist())


@pytest.mark.parametrize("share", [1, 0.3, 0.01])
def test_a_score_depends_on_query_and_passage_only(
    world: World, search: PassageSearch, share: float
) -> None:
    """Bit for bit the same results alone, in a batch, in another order, and for another k."""
    allowed = np.random.default_rng(2).random(len(world.live)) < share
    queries = queries_of(40)
    positions, scores = search.nearest(queries, 12, allowed=allowed)
    turned = search.nearest(queries[::-1].copy(), 12, allowed=allowed)
    assert turned[0][::-1].tolist() == positions.tolist()
    assert turned[1][::-1].tolist() == scores.tolist()
    for i in range(0, 40, 7):
        alone = search.nearest(queries[i : i + 1], 12, allowed=allowed)
        assert alone[0][0].tolist() == positions[i].tolist()
        assert alone[1][0].tolist() == scores[i].tolist()
    rows = world.half.astype(np.float32)
    for query, found, row in zip(queries, positions, scores, strict=True):
        assert row.tolist() == np.einsum("ij,j->i", rows[found], query).tolist()


def test_a_filter_made_once_answers_the_same(world: World, search: PassageSearch) -> None:
    """Flags and what `allowed` makes of them give the same results."""
    flags = np.random.default_rng(2).random(len(world.live)) < 0.2
    made = search.allowed(flags)
    first = search.nearest(queries_of(5), 7, allowed=flags)
    again = search.nearest(queries_of(5), 7, allowed=made)
    assert first[0].tolist() == again[0].tolist()
    assert first[1].tolist() == again[1].tolist()


def test_the_plan_says_what_was_done(world: World, search: PassageSearch) -> None:
    """Each structure and what none covers has a step, with the passages that it may return."""
    plan = search.search(queries_of(3), 10).plan
    assert [step.kind for step in plan.steps] == [StepKind.STRUCTURE, StepKind.STRUCTURE, "scan"]
    assert plan.n_allowed == plan.n_passages == int(world.live.sum())
    assert sum(step.n_passages for step in plan.steps) == plan.n_allowed
    assert plan.steps[0].n_probe >= 1 and plan.steps[0].n_candidates >= 10
    few = search.search(queries_of(3), 10, allowed=np.arange(len(world.live)) < 100).plan
    assert {step.kind for step in few.steps} == {StepKind.SCAN}
    assert few.share < 0.01
    exact = search.search(queries_of(3), 10, exact=True).plan
    assert {step.kind for step in exact.steps} == {StepKind.SCAN}
    assert "that no FAISS structure holds" in "\n".join(plan.lines())
    assert len(plan.lines()) == 4
    assert plan.to_json()["steps"][0]["structure"].startswith("IVF")


def test_an_effort_follows_the_share() -> None:
    """A smaller share or a larger k takes no less effort; below what was measured 1/share."""
    efforts = [
        Effort(share=1.0, n_probe=8, depth=2, recall=0.95),
        Effort(share=0.1, n_probe=20, depth=3, recall=0.95),
    ]
    assert effort_for(efforts, 1.0, 10) == (8, 2)
    assert effort_for(efforts, 0.1, 10) == (20, 3)
    assert effort_for(efforts, 0.01, 10) == (200, 3)
    assert effort_for(efforts, 1.0, 100) == (20, 3)
    found = [effort_for(efforts, share, 10)[0] for share in (1, 0.7, 0.5, 0.2, 0.1, 0.05)]
    assert found == sorted(found)


def test_no_queries_and_no_passages(tmp_path: Path, search: PassageSearch) -> None:
    """No queries have no results, and an empty index has none for any."""
    assert search.nearest(queries_of(1)[:0], 5)[0].shape == (0, 5)
    empty = PassageSearch(Layout(tmp_path), make_manifest([], WIDTH))
    assert empty.nearest(queries_of(2), 3)[0].tolist() == [[-1] * 3] * 2


def test_wrong_arguments_are_refused(search: PassageSearch) -> None:
    """Queries of another width and flags of another length are refused."""
    with pytest.raises(IndexMismatchError, match="16 components"):
        search.nearest(unit_rows(2, width=8), 3)
    with pytest.raises(ValueError, match="flags are bool"):
        search.nearest(queries_of(2), 3, allowed=np.ones(3, dtype=np.bool_))


@pytest.mark.parametrize("value", [b"\x00\x7e", b"\x00\x7c", b"\x00\x4a"], ids=["nan", "inf", "12"])
@pytest.mark.parametrize("is_covered", [False, True])
def test_a_damaged_row_is_not_returned(tmp_path: Path, value: bytes, is_covered: bool) -> None:
    """A stored row that is no finite unit vector stops the search that would return it."""
    layout = Layout(tmp_path / "an.index")
    rows = unit_rows(3000, width=WIDTH)
    segment = write_segment(layout, "s", rows)
    records: tuple[GenerationRecord, ...] = ()
    if is_covered:
        records = (build_generation(layout, [segment], WIDTH, IVF),)
    path = layout.segment("s") / VECTORS_FILE
    content = bytearray(path.read_bytes())
    at = NPY_HEADER_BYTES + 50 * WIDTH * 2
    content[at : at + 2] = value
    path.write_bytes(content)
    manifest = replace(make_manifest([segment], WIDTH), generations=records)
    with pytest.raises(IndexFormatError, match=r"damaged.*finite unit vectors"):
        PassageSearch(layout, manifest).nearest(rows[50:51], 3)


def test_more_segments_than_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of more segments than the process keeps mapped is searched like any other."""
    monkeypatch.setattr("indexes.stored_rows.MAPPED_SEGMENTS", 3)
    layout, rows = Layout(tmp_path / "an.index"), unit_rows(200, width=WIDTH)
    segments = [write_segment(layout, f"s{i}", part) for i, part in enumerate(np.split(rows, 20))]
    stored = StoredRows(layout, segments, WIDTH)
    positions = np.random.default_rng(1).permutation(200)
    assert (stored.take(positions) == rows.astype(np.float16)[positions]).all()
    assert len(stored._mapped) == 3
    found, _ = PassageSearch(layout, make_manifest(segments, WIDTH)).nearest(rows[:9], 4)
    assert found[:, 0].tolist() == list(range(9))


def test_threads_share_what_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that search together, in more segments than are mapped, all find what is there."""
    monkeypatch.setattr("indexes.stored_rows.MAPPED_SEGMENTS", 2)
    layout, rows = Layout(tmp_path / "an.index"), unit_rows(40, width=WIDTH)
    segments = [write_segment(layout, f"s{i}", part) for i, part in enumerate(np.split(rows, 4))]
    stored, half = StoredRows(layout, segments, WIDTH), rows.astype(np.float16)

    def read(seed: int) -> bool:
        chosen = np.random.default_rng(seed).integers(0, 4, 2000).tolist()
        return all((stored.segment(n) == half[10 * n : 10 * n + 10]).all() for n in chosen)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(read, range(4)))
    finally:
        sys.setswitchinterval(interval)


def test_widening_is_exact() -> None:
    """Every finite float16 becomes the float32 that NumPy makes of it, and no other stays small."""
    half = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(1, -1)
    finite = np.isfinite(half)
    found = widened(half)
    assert (found[finite] == half[finite].astype(np.float32)).all()
    assert (np.abs(found[~finite]) > 65_000).all()
