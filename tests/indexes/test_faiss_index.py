"""The FAISS structure: exact while it is flat, near enough when inverted, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from synthetic import WIDTH, unit_rows, write_segment

from embedder.errors import IndexFormatError
from embedder.vectors import Rows
from indexes.durable import record_file
from indexes.faiss_index import FaissIndex, build_generation, choose_structure
from indexes.layout import FAISS_FILE, VECTORS_FILE, Layout
from indexes.manifest import GenerationRecord, SegmentRecord
from indexes.segments import NPY_HEADER_BYTES

N = 20_000
Built = tuple[Layout, list[SegmentRecord], Rows]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Clustered vectors in three segments, one of them empty."""
    layout = Layout(tmp_path_factory.mktemp("faiss") / "an.index")
    rows = unit_rows(N, n_clusters=200)
    parts = [rows[:12_345], rows[:0], rows[12_345:]]
    segments = [write_segment(layout, f"s{i}", part) for i, part in enumerate(parts)]
    return layout, segments, rows.astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def flat(built: Built) -> FaissIndex:
    """The exact structure over all segments."""
    return open_built(built, exact_limit=N)


@pytest.fixture(scope="module")
def inverted(built: Built) -> FaissIndex:
    """The inverted file over all segments."""
    return open_built(built, exact_limit=N - 1)


def open_built(built: Built, exact_limit: int) -> FaissIndex:
    """Build a structure and open it as a search does."""
    layout, segments, _ = built
    record = build_generation(layout, segments, WIDTH, exact_limit=exact_limit)
    return FaissIndex(layout.generation(record.id), record, WIDTH)


def nearest(
    rows: Rows, queries: Rows, k: int, allowed: npt.NDArray[np.bool_] | None = None
) -> list[list[int]]:
    """The k nearest allowed rows of each query by looking at all."""
    scores = queries @ rows.T
    if allowed is not None:
        scores[:, ~allowed] = -2
    return [list(np.argsort(-row, kind="stable")[:k]) for row in scores]


def test_the_structure_follows_the_number_of_vectors() -> None:
    """Up to the limit the structure is exact, beyond it an inverted file."""
    assert choose_structure(1000, 1000).name == "SQfp16"
    assert choose_structure(1001, 1000).name.startswith("IVF")


def test_flat_equals_brute_force(built: Built, flat: FaissIndex) -> None:
    """The exact structure returns what a scan of all rows returns, filtered or not."""
    queries, rows = unit_rows(40, seed=1), built[2]
    found = flat.search(queries, 10, allowed=None)
    assert found.tolist() == nearest(rows, queries, 10)
    for share in (0.5, 0.01):
        allowed = np.random.default_rng(3).random(N) < share
        found = flat.search(queries, 10, allowed=allowed)
        assert found.tolist() == nearest(rows, queries, 10, allowed)


def test_an_exact_search_ends_with_minus_one(flat: FaissIndex) -> None:
    """Where fewer rows are allowed than asked for, the rest is -1."""
    allowed = np.zeros(N, dtype=np.bool_)
    allowed[[5, N - 1]] = True
    [found] = flat.search(unit_rows(1), 4, allowed=allowed)
    assert sorted(found.tolist()) == [-1, -1, 5, N - 1]


def test_inverted_recall(built: Built, inverted: FaissIndex) -> None:
    """At the recorded effort the inverted file finds at least 90 % of the ten nearest."""
    queries = unit_rows(200, seed=2, n_clusters=200)
    found = inverted.search(queries, 10, allowed=None)
    wanted = nearest(built[2], queries, 10)
    shared = [len(set(f) & set(w)) for f, w in zip(found.tolist(), wanted, strict=True)]
    assert np.mean(shared) / 10 >= 0.9


def test_inverted_is_exact_at_full_effort(built: Built, inverted: FaissIndex) -> None:
    """With every list visited, the ten nearest are among the first thirty by 8-bit codes."""
    queries = unit_rows(50, seed=2, n_clusters=200)
    found = inverted.search(queries, 30, allowed=None, n_probe=10**6)
    for row, wanted in zip(found.tolist(), nearest(built[2], queries, 10), strict=True):
        assert set(wanted) <= set(row)


def test_inverted_returns_only_what_is_allowed(inverted: FaissIndex) -> None:
    """A filter holds in the inverted file, and all allowed rows can be had."""
    allowed = np.random.default_rng(3).random(N) < 0.01
    [found] = inverted.search(unit_rows(1), int(allowed.sum()), allowed=allowed, n_probe=10**6)
    assert sorted(found.tolist()) == np.flatnonzero(allowed).tolist()


@pytest.mark.parametrize("exact_limit", [N, 0])
def test_built_twice_is_byte_identical(
    built: Built, tmp_path: Path, exact_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same vectors give the same structure, byte for byte, wherever it is built."""
    layout, segments, _ = built
    monkeypatch.setattr("indexes.faiss_index.BLOCK_ROWS", 1000)
    first = build_generation(layout, segments, WIDTH, exact_limit=exact_limit)
    elsewhere = Layout(tmp_path / "moved.index")
    elsewhere.root.mkdir()
    elsewhere.segments.symlink_to(layout.segments)
    assert build_generation(elsewhere, segments, WIDTH, exact_limit=exact_limit) == first


@pytest.mark.parametrize("exact_limit", [N, 0])
def test_building_prints_nothing(
    built: Built, tmp_path: Path, exact_limit: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written to stdout or stderr while a structure is built and opened."""
    layout, segments, _ = built
    there = Layout(tmp_path / "an.index")
    there.root.mkdir()
    there.segments.symlink_to(layout.segments)
    record = build_generation(there, segments, WIDTH, exact_limit=exact_limit)
    FaissIndex(there.generation(record.id), record, WIDTH)
    assert capfd.readouterr() == ("", "")


def test_a_structure_survives_a_move(built: Built, tmp_path: Path) -> None:
    """An inverted file answers the same after its folder was renamed."""
    layout, segments, _ = built
    here = Layout(tmp_path / "here.index")
    here.root.mkdir()
    here.segments.symlink_to(layout.segments)
    record = build_generation(here, segments, WIDTH, exact_limit=0)
    queries = unit_rows(5, seed=9)
    before = FaissIndex(here.generation(record.id), record, WIDTH)
    wanted = before.search(queries, 5, allowed=None).tolist()
    there = Layout(here.root.rename(tmp_path / "there.index"))
    after = FaissIndex(there.generation(record.id), record, WIDTH)
    assert after.search(queries, 5, allowed=None).tolist() == wanted


@pytest.mark.parametrize("value", [b"\x00\x7e", b"\x00\x7c", b"\x00\x4a"], ids=["nan", "inf", "12"])
@pytest.mark.parametrize("exact_limit", [100, 10])
def test_damaged_vectors_are_refused(tmp_path: Path, value: bytes, exact_limit: int) -> None:
    """A stored row that is not a finite unit vector stops the build of a structure."""
    layout = Layout(tmp_path / "an.index")
    segment = write_segment(layout, "s", unit_rows(100))
    path = layout.segment("s") / VECTORS_FILE
    content = bytearray(path.read_bytes())
    at = NPY_HEADER_BYTES + 50 * WIDTH * 2
    content[at : at + 2] = value
    path.write_bytes(content)
    with pytest.raises(IndexFormatError, match=r"damaged.*finite unit vectors"):
        build_generation(layout, [segment], WIDTH, exact_limit=exact_limit)
    assert list(layout.ann.iterdir()) == []


@pytest.mark.parametrize("n_bytes", [0, 3, 40, 1000])
def test_a_cut_structure_is_refused(tmp_path: Path, n_bytes: int) -> None:
    """A structure's file that was cut off is refused by name."""
    layout = Layout(tmp_path / "an.index")
    segment = write_segment(layout, "s", unit_rows(100))
    record = build_generation(layout, [segment], WIDTH)
    path = layout.generation(record.id) / FAISS_FILE
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(IndexFormatError, match=r"index\.faiss is damaged"):
        FaissIndex(path.parent, record, WIDTH)


def test_another_structure_is_refused(tmp_path: Path) -> None:
    """A structure of another size than the manifest's is refused."""
    layout = Layout(tmp_path / "an.index")
    segments = [write_segment(layout, name, unit_rows(100)) for name in "ab"]
    one, both = (build_generation(layout, part, WIDTH) for part in (segments[:1], segments))
    with pytest.raises(IndexFormatError, match="holds 100 vectors of width 16, and 200"):
        FaissIndex(layout.generation(one.id), both, WIDTH)


def test_the_record_names_every_file(built: Built) -> None:
    """A generation's record names its files with size and digest, and nothing is left beside."""
    layout, segments, _ = built
    record: GenerationRecord = build_generation(layout, segments, WIDTH, exact_limit=0)
    folder = layout.generation(record.id)
    assert record.files == {path.name: record_file(path) for path in folder.iterdir()}
    assert all(not path.name.startswith(".") for path in layout.ann.iterdir())
    assert (record.n_vectors, len(record.sizes)) == (N, 3)
