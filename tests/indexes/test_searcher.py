"""Searching: what a look at every passage would find, whatever the filter and the structure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import best_documents, commit, make_manifest, unit_rows, write_segment

from embedder.errors import FilterError, IndexFormatError, IndexMismatchError
from embedder.vectors import HalfRows, Rows
from indexes import searcher as searcher_module
from indexes.deletions import delete_documents
from indexes.generation_builder import build_generation
from indexes.layout import DOCUMENTS_FILE, VECTORS_FILE, Layout
from indexes.manifest import Contract, Manifest
from indexes.query_plan import ALWAYS_SCANNED, StepKind
from indexes.searcher import Searcher

WIDTH = 8
CONTRACT = Contract(recall=0.9, memory=1 << 30)
SIZES = (18_000, 9_000, 6_000)
FILTERS = {
    "all": "true",
    "half": "n % 2 = 0",
    "tenth": "n % 10 = 3",
    "hundredth": "n % 100 = 7",
    "thousandth": "n % 1000 = 11",
    "one row": "n = 17017",
    "none": "n < 0",
}


@dataclass(frozen=True)
class World:
    """An index and all that is in it."""

    layout: Layout
    manifest: Manifest
    rows: HalfRows
    document_of: npt.NDArray[np.int64]
    ids: list[str]
    answers: dict[object, list[tuple[str, float]]] = field(default_factory=dict)

    def allowed(self, name: str) -> npt.NDArray[np.bool_]:
        """Which documents a filter of `FILTERS` allows, computed here."""
        n = np.arange(len(self.ids))
        return {
            "all": n >= 0,
            "half": n % 2 == 0,
            "tenth": n % 10 == 3,
            "hundredth": n % 100 == 7,
            "thousandth": n % 1000 == 11,
            "one row": n == 17017,
            "none": n < 0,
        }[name]

    def wanted(self, query: Rows, k: int, name: str = "all") -> list[tuple[str, float]]:
        """Ids and scores by looking at every passage, once for each question."""
        key = (query.tobytes(), k, name)
        if key not in self.answers:
            found = best_documents(self.rows, self.document_of, query, k, self.allowed(name))
            self.answers[key] = [(self.ids[document], score) for document, score in found]
        return self.answers[key]


def make_world(root: Path, sizes: tuple[int, ...] = SIZES) -> World:
    """Segments whose documents have one, two or three passages."""
    layout, records, rows, documents, ids = Layout(root), [], [], [], list[str]()
    for number, size in enumerate(sizes):
        each = np.random.default_rng(number).integers(1, 4, size)
        found = unit_rows(int(each.sum()), seed=number, width=WIDTH)
        table = pa.table({"n": np.arange(len(ids), len(ids) + size)})
        name = f"s{number}"
        records.append(
            write_segment(layout, name, found, passages_each=each.tolist(), metadata=table)
        )
        rows.append(found.astype(np.float16))
        documents.append(np.repeat(np.arange(len(ids), len(ids) + size), each))
        ids += [f"{name}-{i}" for i in range(size)]
    manifest = commit(layout, records)
    manifest = replace(manifest, encoder=replace(manifest.encoder, width=WIDTH))
    return World(layout, manifest, np.concatenate(rows), np.concatenate(documents), ids)


def coverings(world: World) -> dict[str, Manifest]:
    """States whose FAISS structure covers everything, nothing, some, and a segment long gone."""
    segments = world.manifest.segments
    gone = write_segment(world.layout, "gone", unit_rows(5_000, seed=99, width=WIDTH))
    kinds = {
        "nothing": None,
        "all": segments,
        "first": segments[:1],
        "last and first": (segments[2], segments[0]),
        "one gone": (segments[1], gone, segments[0]),
        "only gone": (gone,),
    }
    return {
        name: replace(
            world.manifest,
            generations=() if c is None else (build_generation(world.layout, c, WIDTH, CONTRACT),),
        )
        for name, c in kinds.items()
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """33,000 documents with about 66,000 passages in three segments."""
    return make_world(tmp_path_factory.mktemp("world") / "an.index")


@pytest.fixture(scope="module")
def states(world: World) -> dict[str, Manifest]:
    """The same segments under several FAISS structures."""
    return coverings(world)


@pytest.fixture(
    scope="module", params=["nothing", "all", "first", "last and first", "one gone", "only gone"]
)
def searcher(
    world: World, states: dict[str, Manifest], request: pytest.FixtureRequest
) -> Iterator[Searcher]:
    """A searcher over each of the states."""
    opened = Searcher(world.layout, states[request.param])
    yield opened
    opened.close()


def found(
    searcher: Searcher, queries: Rows, k: int, where: str | None = None
) -> list[list[tuple[str, float]]]:
    """Ids and scores of a search."""
    results = searcher.search(queries, k, where=where)
    return [[(n.document.id, n.score) for n in row] for row in results]


def test_the_filters_take_both_plans(world: World) -> None:
    """Some of the filters leave more passages than are scanned, and some fewer."""
    n_allowed = [int(world.allowed(name)[world.document_of].sum()) for name in FILTERS]
    assert sum(n > ALWAYS_SCANNED for n in n_allowed) >= 2
    assert sum(0 < n <= ALWAYS_SCANNED for n in n_allowed) >= 2


@pytest.mark.parametrize("name", FILTERS)
def test_agrees_with_a_look_at_every_passage(world: World, searcher: Searcher, name: str) -> None:
    """Ids and scores are those of a scan of all allowed passages, each document once."""
    queries, k = unit_rows(8, seed=5, width=WIDTH), 10
    where = None if name == "all" else FILTERS[name]
    results = found(searcher, queries, k, where)
    n_there = int(world.allowed(name).sum())
    for query, row in zip(queries, results, strict=True):
        assert row == world.wanted(query, k, name)
        assert len({document for document, _ in row}) == len(row) == min(k, n_there)


def test_scores_fall(searcher: Searcher) -> None:
    """Results are ordered by score, which is at most one."""
    [row] = found(searcher, unit_rows(1, seed=6, width=WIDTH), 50)
    scores = [score for _, score in row]
    assert scores == sorted(scores, reverse=True)
    assert all(-1.001 <= score <= 1.001 for score in scores)


def test_order_and_batch_of_queries_do_not_matter(world: World, searcher: Searcher) -> None:
    """A query has the same results alone, in a batch, and in a batch in another order."""
    queries = unit_rows(12, seed=8, width=WIDTH)
    for where in (None, FILTERS["half"], FILTERS["hundredth"]):
        together = found(searcher, queries, 7, where)
        assert together[::-1] == found(searcher, queries[::-1].copy(), 7, where)
        alone = [found(searcher, queries[i : i + 1], 7, where)[0] for i in range(12)]
        assert together == alone


@pytest.mark.parametrize("k", [0, 1, 3, 1000, 40_000])
def test_any_k(world: World, searcher: Searcher, k: int) -> None:
    """k documents are found where there are k, and all of them where there are fewer."""
    [row] = found(searcher, unit_rows(1, seed=3, width=WIDTH), k)
    assert len(row) == len({document for document, _ in row}) == min(k, sum(SIZES))


def test_one_document_with_most_of_the_best_passages(tmp_path: Path) -> None:
    """A document whose thousand passages are all nearer than any other's counts once."""
    near = unit_rows(1, width=WIDTH)
    rows = np.concatenate([np.repeat(near, 1000, 0), unit_rows(30, seed=4, width=WIDTH)])
    layout = Layout(tmp_path / "an.index")
    record = write_segment(layout, "s", rows, passages_each=[1000] + [1] * 30)
    manifest = commit(layout, [record])
    manifest = replace(
        manifest,
        encoder=replace(manifest.encoder, width=WIDTH),
        generations=(build_generation(layout, [record], WIDTH, CONTRACT),),
    )
    searcher = Searcher(layout, manifest)
    [row] = found(searcher, near, 20)
    assert len({document for document, _ in row}) == 20
    assert row[0][0] == "s-0"
    searcher.close()


@pytest.mark.parametrize("is_covered", [False, True])
def test_ties_are_in_the_corpus_order(tmp_path: Path, is_covered: bool) -> None:
    """Of equally near documents the first in the corpus come first, however many there are."""
    one = unit_rows(1, width=WIDTH)
    rows = np.concatenate([unit_rows(50, seed=2, width=WIDTH), np.repeat(one, 500, 0)])
    layout = Layout(tmp_path / "an.index")
    record = write_segment(layout, "s", rows)
    manifest = commit(layout, [record])
    manifest = replace(
        manifest,
        encoder=replace(manifest.encoder, width=WIDTH),
        generations=(build_generation(layout, [record], WIDTH, CONTRACT),) if is_covered else (),
    )
    searcher = Searcher(layout, manifest)
    [row] = found(searcher, one, 5)
    assert [document for document, _ in row] == [f"s-{50 + i}" for i in range(5)]
    searcher.close()


@pytest.fixture(scope="module")
def inverted(world: World) -> Iterator[Searcher]:
    """A searcher over an approximate structure that covers two of the three segments."""
    covered = world.manifest.segments[:2]
    generation = build_generation(world.layout, covered, WIDTH, CONTRACT, exact_limit=1000)
    opened = Searcher(world.layout, replace(world.manifest, generations=(generation,)))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", FILTERS)
def test_an_inverted_file_gives_k_where_k_exist(
    world: World, inverted: Searcher, name: str
) -> None:
    """Over an approximate structure a filter still gives k allowed documents where k exist."""
    queries, k = unit_rows(20, seed=5, width=WIDTH), 10
    allowed = {world.ids[i] for i in np.flatnonzero(world.allowed(name))}
    shared = []
    for query, row in zip(queries, found(inverted, queries, k, FILTERS[name]), strict=True):
        documents = {document for document, _ in row}
        assert len(documents) == len(row) == min(k, len(allowed))
        assert documents <= allowed
        wanted = dict(world.wanted(query, k, name))
        shared += [document in documents for document in wanted]
        assert all(score == wanted[d] for d, score in row if d in wanted)
    assert not shared or np.mean(shared) >= 0.9


@pytest.mark.parametrize("name", ["all", "half", "thousandth"])
def test_an_exact_search_is_exact_over_any_structure(
    world: World, inverted: Searcher, name: str
) -> None:
    """On request every allowed passage is looked at, and the plan says so."""
    queries = unit_rows(6, seed=15, width=WIDTH)
    answer = inverted.answer(queries, 10, where=FILTERS[name], exact=True)
    for query, row in zip(queries, answer.neighbours, strict=True):
        assert [(n.document.id, n.score) for n in row] == world.wanted(query, 10, name)
    assert {step.kind for step in answer.plan.steps} == {StepKind.SCAN}
    assert answer.plan.n_allowed == int(world.allowed(name)[world.document_of].sum())


def test_deleted_documents_are_not_found(world: World, tmp_path: Path) -> None:
    """A deleted document is found by no search, and the others as if it had never been there."""
    layout = Layout(tmp_path / "an.index")
    layout.root.mkdir()
    layout.segments.symlink_to(world.layout.segments)
    gone = np.arange(0, SIZES[0], 3, dtype=np.int64)
    first = world.manifest.segments[0]
    n_passages = np.searchsorted(world.document_of, SIZES[0])
    document_of = world.document_of[:n_passages].astype(np.int32)
    segments = (delete_documents(layout, first, gone, document_of), *world.manifest.segments[1:])
    record = build_generation(layout, segments, WIDTH, CONTRACT)
    searcher = Searcher(layout, replace(world.manifest, segments=segments, generations=(record,)))
    live = np.ones(len(world.ids), dtype=np.bool_)
    live[gone] = False
    queries = unit_rows(5, seed=21, width=WIDTH)
    for query, row in zip(queries, found(searcher, queries, 10), strict=True):
        wanted = best_documents(world.rows, world.document_of, query, 10, live)
        assert row == [(world.ids[document], score) for document, score in wanted]
    searcher.close()


def test_fields_and_spans_come_along(world: World, searcher: Searcher) -> None:
    """A neighbour names its document, its metadata and where its passage lies."""
    [[first, *_]] = searcher.search(unit_rows(1, seed=3, width=WIDTH), 3, fields=["n"])
    number = world.ids.index(first.document.id)
    assert first.document.metadata == {"n": number}
    assert (first.span.start, first.span.end) == (0, len(first.document.text))
    assert first.document.text.endswith(f"of {first.document.id.partition('-')[0]}")


def test_wrong_requests_are_refused(searcher: Searcher) -> None:
    """Queries of another width, unknown fields and wrong filters are refused."""
    with pytest.raises(IndexMismatchError, match="8 components"):
        searcher.search(unit_rows(1, width=WIDTH * 2), 3)
    with pytest.raises(FilterError, match="nope"):
        searcher.search(unit_rows(1, width=WIDTH), 3, fields=["nope"])
    with pytest.raises(FilterError, match="nope"):
        searcher.search(unit_rows(1, width=WIDTH), 3, where="nope = 1")


def test_no_queries(searcher: Searcher) -> None:
    """No queries have no results."""
    assert searcher.search(unit_rows(0, width=WIDTH), 3) == []


def test_an_empty_index(tmp_path: Path) -> None:
    """An index that holds nothing yet answers with nothing."""
    layout = Layout(tmp_path / "an.index")
    manifest = commit(layout, [])
    manifest = replace(manifest, encoder=replace(manifest.encoder, width=WIDTH))
    searcher = Searcher(layout, manifest)
    assert searcher.search(unit_rows(2, width=WIDTH), 3) == [[], []]
    assert searcher.search(unit_rows(2, width=WIDTH), 3, where="true") == [[], []]
    searcher.close()


def test_a_missing_file_is_named_at_the_start(tmp_path: Path) -> None:
    """An index one of whose files is gone is refused when it is opened."""
    world = make_world(tmp_path / "an.index", (5, 5))
    (world.layout.segment("s1") / VECTORS_FILE).unlink()
    with pytest.raises(IndexFormatError, match=r"s1/vectors\.npy is missing"):
        Searcher(world.layout, world.manifest)


def pages(path: Path, column: str) -> tuple[int, int]:
    """Where the pages of a column of the first row group begin and end."""
    group = pq.read_metadata(path).row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    chunk = next(chunk for chunk in chunks if chunk.path_in_schema == column)
    first = chunk.dictionary_page_offset or chunk.data_page_offset
    return first, first + chunk.total_compressed_size


@pytest.mark.parametrize("column", ["__id", "n"])
def test_a_large_index_returns_no_damaged_id_or_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """Where nothing was compared at opening, the pages of what is returned are."""
    layout = Layout(tmp_path / "an.index")
    layout.root.mkdir()
    rows = unit_rows(200, width=WIDTH)
    segment = write_segment(layout, "s", rows, n_batches=2)
    manifest = replace(make_manifest([segment], WIDTH), n_settled=1)
    path = layout.segment("s") / DOCUMENTS_FILE
    whole = path.read_bytes()
    monkeypatch.setattr(searcher_module, "CHECKED_BYTES", 0)

    def answer(row: int) -> list[tuple[str, int]]:
        searcher = Searcher(layout, manifest)
        try:
            [found] = searcher.search(rows[row : row + 1], 1, fields=["N"])
            return [(hit.document.id, hit.document.metadata["n"]) for hit in found]
        finally:
            searcher.close()

    wanted = answer(7), answer(150)
    silent = 0
    begin, end = pages(path, column)
    for place in range(begin, end, max(1, (end - begin) // 40)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with contextlib.suppress(IndexFormatError):
            silent += answer(7) != wanted[0]
        assert answer(150) == wanted[1]  # from another row group
    assert not silent
