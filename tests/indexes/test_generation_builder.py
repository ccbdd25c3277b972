"""Building a FAISS structure: the recall that was asked for, the same bytes, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from synthetic import commit, make_manifest, unit_rows, write_segment

from embedder.errors import IndexFormatError, RequestError
from embedder.vectors import Rows
from indexes.durable import record_file
from indexes.generation_builder import build_generation, spread_numbers
from indexes.layout import VECTORS_FILE, Layout
from indexes.manifest import Contract, GenerationRecord, SegmentRecord, StructureKind
from indexes.npy import NPY_HEADER_BYTES
from indexes.passage_search import PassageSearch
from indexes.structures import Structure

WIDTH = 32
N = 20_000
RECALL = 0.9
KINDS = [kind for kind in StructureKind if kind is not StructureKind.AUTO]
Corpus = tuple[Layout, list[SegmentRecord], Rows]


def contract(kind: StructureKind = StructureKind.AUTO, recall: float = RECALL) -> Contract:
    """A contract with memory for anything."""
    return Contract(recall=recall, memory=1 << 32, structure=kind)


def corpus_at(root: Path, rows: Rows, cuts: tuple[int, ...] = ()) -> Corpus:
    """Segments of some rows, cut in places."""
    layout = Layout(root)
    parts = np.split(rows, cuts)
    segments = [write_segment(layout, f"s{i}", part) for i, part in enumerate(parts)]
    return layout, segments, rows.astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Clustered vectors in three segments, one of them empty."""
    rows = unit_rows(N, n_clusters=300, width=WIDTH)
    return corpus_at(tmp_path_factory.mktemp("built") / "an.index", rows, (12_345, 12_345))


@pytest.fixture(scope="module")
def built(corpus: Corpus) -> Callable[[StructureKind], GenerationRecord]:
    """One structure of each kind, built when it is first asked for."""
    records: dict[StructureKind, GenerationRecord] = {}

    def of(kind: StructureKind) -> GenerationRecord:
        if kind not in records:
            records[kind] = build_generation(*corpus[:2], WIDTH, contract(kind))
        return records[kind]

    return of


def opened(corpus: Corpus, *records: GenerationRecord) -> PassageSearch:
    """A search over all segments with some structures."""
    manifest = replace(make_manifest(corpus[1], WIDTH), generations=records)
    return PassageSearch(corpus[0], manifest)


def nearest(
    rows: Rows, queries: Rows, k: int, allowed: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    """The k nearest allowed rows of each query by looking at all, shape (n_queries, k)."""
    scores = queries @ rows.T
    if allowed is not None:
        scores[:, ~allowed] = -2
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def recall(found: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> float:
    """Share of what was wanted that was found."""
    pairs = zip(found.tolist(), wanted.tolist(), strict=True)
    return float(np.mean([len(set(f) & set(w)) / len(w) for f, w in pairs]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract_holds_for_other_queries(
    corpus: Corpus, built: Callable[[StructureKind], GenerationRecord], kind: StructureKind
) -> None:
    """Queries that tuning has not seen find as many of their neighbours as was promised."""
    record = built(kind)
    queries = unit_rows(600, seed=5, n_clusters=300, width=WIDTH)
    found, _ = opened(corpus, record).nearest(queries, 10)
    assert recall(found, nearest(corpus[2], queries, 10)) >= RECALL
    assert record.recall >= RECALL


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("kind", [StructureKind.IVF_SQ8, StructureKind.IVF_PQ, StructureKind.HNSW])
def test_filters_keep_the_contract(
    corpus: Corpus,
    built: Callable[[StructureKind], GenerationRecord],
    kind: StructureKind,
    share: float,
) -> None:
    """A random filter of any share leaves the recall, and k results where there are k."""
    allowed = np.random.default_rng(11).random(N) < share
    queries = unit_rows(300, seed=6, n_clusters=300, width=WIDTH)
    found, _ = opened(corpus, built(kind)).nearest(queries, 10, allowed=allowed)
    assert (found >= 0).all() and allowed[found].all()
    assert recall(found, nearest(corpus[2], queries, 10, allowed)) >= RECALL


@pytest.mark.parametrize("n_allowed", [40, 1500, 5000])
def test_a_filter_far_from_the_query_keeps_the_contract(
    corpus: Corpus, built: Callable[[StructureKind], GenerationRecord], n_allowed: int
) -> None:
    """A filter that leaves only one distant region gives k results, and the right ones."""
    queries = unit_rows(300, seed=6, n_clusters=300, width=WIDTH)
    allowed = np.zeros(N, dtype=np.bool_)
    allowed[nearest(corpus[2], corpus[2][77:78], n_allowed)[0]] = True
    found, _ = opened(corpus, built(StructureKind.IVF_SQ8)).nearest(queries, 10, allowed=allowed)
    assert (found >= 0).all() and allowed[found].all()
    assert recall(found, nearest(corpus[2], queries, 10, allowed)) >= RECALL


def test_what_misses_the_recall_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the structures to try that reaches the recall is built, and only that stays."""
    tried = [
        Structure(kind, WIDTH, 150) for kind in (StructureKind.IVF_RABITQ, StructureKind.IVF_SQ8)
    ]
    monkeypatch.setattr("indexes.generation_builder.choose_structures", lambda *_, **__: tried)
    layout, segments, _ = corpus_at(tmp_path / "an.index", unit_rows(6000, width=WIDTH))
    record = build_generation(layout, segments, WIDTH, contract(recall=0.999))
    assert record.structure == "IVF150,SQ8_direct"
    assert [path.name for path in layout.ann.iterdir()] == [record.id]


def test_an_unreachable_recall_is_refused(tmp_path: Path) -> None:
    """What no effort reaches is refused with what can be reached, and nothing is left behind."""
    layout, segments, _ = corpus_at(tmp_path / "an.index", unit_rows(6000, width=WIDTH))
    with pytest.raises(RequestError, match=r"Recall 1 was asked for.*reaches 0\.\d+.*--recall 0\."):
        build_generation(layout, segments, WIDTH, contract(StructureKind.IVF_RABITQ, recall=1.0))
    assert list(layout.ann.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_built_twice_is_byte_identical(
    corpus: Corpus, tmp_path: Path, kind: StructureKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same vectors and contract give the same record, digests included, wherever built."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    records = []
    for name in "ab":
        there = Layout(tmp_path / f"{name}.index")
        there.root.mkdir()
        there.segments.symlink_to(corpus[0].segments)
        records.append(build_generation(there, corpus[1], WIDTH, contract(kind)))
    assert records[0] == records[1]
    assert records[0].latency_ms is None


def test_the_clock_changes_only_the_latency(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that measures the time of a query agrees in the rest with one that does not."""
    there = Layout(tmp_path / "an.index")
    there.root.mkdir()
    there.segments.symlink_to(corpus[0].segments)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    untimed = build_generation(there, corpus[1], WIDTH, contract(StructureKind.IVF_SQ8))
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    timed = build_generation(there, corpus[1], WIDTH, contract(StructureKind.IVF_SQ8))
    assert timed.latency_ms
    assert replace(timed, latency_ms=None) == untimed


def test_the_record_names_every_file(
    corpus: Corpus, built: Callable[[StructureKind], GenerationRecord]
) -> None:
    """A generation's record names its files with size and digest, and nothing is left beside."""
    record = built(StructureKind.IVF_SQ8)
    folder = corpus[0].generation(record.id)
    assert record.files == {path.name: record_file(path) for path in folder.iterdir()}
    assert all(not path.name.startswith(".") for path in corpus[0].ann.iterdir())
    assert (record.n_vectors, len(record.sizes)) == (N, 3)


def test_a_sample_is_uniform(tmp_path: Path) -> None:
    """Training sees the whole corpus, however it is ordered: here the first half is one cluster."""
    near = unit_rows(N // 2, seed=1, n_clusters=1, width=WIDTH)
    rows = np.concatenate([near, unit_rows(N // 2, seed=2, n_clusters=300, width=WIDTH)])
    there = corpus_at(tmp_path / "an.index", rows, (N // 2,))
    record = build_generation(*there[:2], WIDTH, contract(StructureKind.IVF_SQ8))
    queries = unit_rows(300, seed=6, n_clusters=300, width=WIDTH)
    found, _ = opened(there, record).nearest(queries, 10)
    assert recall(found, nearest(there[2], queries, 10)) >= RECALL


@pytest.mark.parametrize(("n", "n_chosen"), [(10, 10), (10, 3), (1_000_000, 999), (7, 20), (5, 0)])
def test_spread_numbers_are_distinct_and_in_every_part(n: int, n_chosen: int) -> None:
    """One number of each equal part, ascending, none twice."""
    found = spread_numbers(n, n_chosen, 1)
    assert len(found) == min(n, n_chosen)
    assert (np.diff(found) > 0).all()
    if len(found):
        assert found[0] >= 0 and found[-1] < n
        assert (np.abs(found - np.arange(len(found)) * n / len(found)) <= n / len(found)).all()


@pytest.mark.parametrize("n", [1, 2, 300])
@pytest.mark.parametrize("kind", [StructureKind.AUTO, StructureKind.IVF_PQ])
def test_any_number_of_vectors(tmp_path: Path, n: int, kind: StructureKind) -> None:
    """Few vectors are scanned exactly, whatever was asked for."""
    there = corpus_at(tmp_path / "an.index", unit_rows(n, width=WIDTH))
    record = build_generation(*there[:2], WIDTH, contract(kind))
    queries = unit_rows(20, seed=3, width=WIDTH)
    found, _ = opened(there, record).nearest(queries, 10)
    assert record.structure == "SQfp16"
    assert found[:, : min(n, 10)].tolist() == nearest(there[2], queries, 10).tolist()


@pytest.mark.parametrize("value", [b"\x00\x7e", b"\x00\x7c", b"\x00\x4a"], ids=["nan", "inf", "12"])
@pytest.mark.parametrize("kind", [StructureKind.FLAT, StructureKind.IVF_SQ8])
def test_damaged_vectors_are_refused(tmp_path: Path, value: bytes, kind: StructureKind) -> None:
    """A stored row that is not a finite unit vector stops the build of a structure."""
    layout, [segment], _ = corpus_at(tmp_path / "an.index", unit_rows(2500, width=WIDTH))
    path = layout.segment(segment.id) / VECTORS_FILE
    content = bytearray(path.read_bytes())
    at = NPY_HEADER_BYTES + 50 * WIDTH * 2
    content[at : at + 2] = value
    path.write_bytes(content)
    with pytest.raises(IndexFormatError, match=r"damaged.*finite unit vectors"):
        build_generation(layout, [segment], WIDTH, contract(kind))
    assert list(layout.ann.iterdir()) == []


def test_progress_goes_from_block_to_block(tmp_path: Path) -> None:
    """The caller is told of every block, and at the end that all is done."""
    layout, segments, _ = corpus_at(tmp_path / "an.index", unit_rows(20_000, width=WIDTH))
    told: list[tuple[int, int]] = []
    build_generation(
        layout,
        segments,
        WIDTH,
        contract(StructureKind.IVF_SQ8),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == sorted(told)
    assert told[-1] == (40_000, 40_000)


def test_building_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is written to stdout or stderr while a structure is built and searched."""
    there = corpus_at(tmp_path / "an.index", unit_rows(3000, width=WIDTH))
    record = build_generation(*there[:2], WIDTH, contract(StructureKind.IVF_SQ8))
    opened(there, record).nearest(unit_rows(3, width=WIDTH), 5)
    assert capfd.readouterr() == ("", "")


# Runs in a process of its own: reads the growth of its memory while it builds.
BUILD = """
import sys, threading, time
from pathlib import Path
from indexes.generation_builder import build_generation
from indexes.layout import Layout
from indexes.manifest import Contract, StructureKind
from indexes.manifest_file import read_manifest
layout = Layout(Path(sys.argv[1]))
manifest = read_manifest(layout)
def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
before = peak = anonymous()
done = False
def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.002)
thread = threading.Thread(target=watch, daemon=True)
thread.start()
contract = Contract(recall=0.9, memory=int(sys.argv[2]), structure=StructureKind.IVF_SQ8)
record = build_generation(layout, manifest.segments, int(sys.argv[3]), contract)
done = True
thread.join()
print(peak - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_building_stays_within_its_memory(tmp_path: Path) -> None:
    """A build grows the process by no more than the contract allows, far less than the vectors."""
    width, n, memory = 256, 120_000, 100_000_000
    layout = Layout(tmp_path / "an.index")
    rows = unit_rows(n, n_clusters=300, width=width)
    segments = [write_segment(layout, f"s{i}", part) for i, part in enumerate(np.split(rows, 4))]
    commit(layout, segments)
    command = [sys.executable, "-c", BUILD, str(layout.root), str(memory), str(width)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= memory < rows.nbytes


# Opens and searches a structure after one of its files was damaged; says what came of it.
SEARCH = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from synthetic import unit_rows
from embedder.errors import IndexFormatError
from indexes.layout import Layout
from indexes.manifest_file import read_manifest
from indexes.passage_search import PassageSearch
layout = Layout(Path(sys.argv[1]))
manifest = read_manifest(layout)
folder = layout.generation(manifest.generations[0].id)
whole = {path: path.read_bytes() for path in sorted(folder.iterdir())}
queries = unit_rows(5, width=32)
def answer():
    return PassageSearch(layout, manifest).nearest(queries, 10)[0].tolist()
wanted = answer()
for path, content in whole.items():
    size = len(content)
    damaged = [content[: size // 2], b"", content + b"x"]
    damaged += [content[:i] + bytes([content[i] ^ 255]) + content[i + 1 :]
                for i in {0, 5, 20, 41, size // 2, size - 1} if i < size]
    for new in damaged:
        path.write_bytes(new)
        try:
            print(path.name, answer() == wanted)
        except IndexFormatError as error:
            print(path.name, folder.name in str(error))
    path.write_bytes(content)
    path.unlink()
    try:
        answer()
        print("missing", path.name, False)
    except IndexFormatError as error:
        print("missing", path.name, folder.name in str(error))
    path.write_bytes(content)
print("end", True)
"""


@pytest.mark.parametrize("kind", [StructureKind.FLAT, StructureKind.IVF_SQ8, StructureKind.HNSW])
def test_damaged_files_are_refused(tmp_path: Path, kind: StructureKind) -> None:
    """A structure's file that was cut, changed or lost is refused by name, and never a crash."""
    layout, segments, _ = corpus_at(tmp_path / "an.index", unit_rows(3000, width=WIDTH))
    record = build_generation(layout, segments, WIDTH, contract(kind, recall=0.6))
    manifest = make_manifest(segments, WIDTH)
    commit(layout, segments, generations=(record,), encoder=manifest.encoder)
    command = [sys.executable, "-c", SEARCH, str(layout.root), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "end True"
    assert all(line.endswith("True") for line in lines), done.stdout


def test_a_structure_survives_a_move(tmp_path: Path) -> None:
    """An inverted file answers the same after its folder was renamed."""
    rows = unit_rows(3000, width=WIDTH)
    here = corpus_at(tmp_path / "here.index", rows)
    record = build_generation(*here[:2], WIDTH, contract(StructureKind.IVF_SQ8))
    queries = unit_rows(5, seed=9, width=WIDTH)
    wanted = opened(here, record).nearest(queries, 5)[0].tolist()
    there = (Layout(here[0].root.rename(tmp_path / "there.index")), *here[1:])
    assert opened(there, record).nearest(queries, 5)[0].tolist() == wanted
