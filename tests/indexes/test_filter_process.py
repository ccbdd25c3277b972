"""The process of filters: bounded in time and memory, restarted when needed, gone afterwards."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from filtered import allowed, make_layout, refused

from embedder.errors import EmbedderError, IndexFormatError
from indexes.filters import MAX_CHARACTERS
from indexes.layout import DOCUMENTS_FILE, Layout
from indexes.manifest_file import read_manifest
from indexes.metadata import MetadataStore

TOO_MUCH = [
    "length(repeat('x', 3000000000)) > 0",
    "length(repeat(text, 100000000)) > 0",
    "length(printf('%1000000000d', n)) > 0",
    "len(range(1000000000)) > 0",
    "length(list_reduce(list_transform(range(45), lambda i: 'abc'), lambda a, b: a || a)) > 0",
]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Two segments with numbers, names and lists."""
    return make_layout(tmp_path_factory.mktemp("filters"))


@pytest.fixture
def store(layout: Layout) -> Iterator[MetadataStore]:
    """The documents of these segments."""
    opened = MetadataStore(layout, read_manifest(layout))
    yield opened
    opened.close()


STRANGERS: set[int] = set()
"""Processes that were there before the test, of tests that ran in this process earlier."""


@pytest.fixture(autouse=True)
def strangers() -> None:
    """Note what runs before the test."""
    STRANGERS.clear()
    STRANGERS.update(process.pid for process in psutil.Process().children())


def children() -> list[psutil.Process]:
    """The processes that this test has started and that have not ended."""
    running = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [process for process in running if process.pid not in STRANGERS]


@pytest.mark.parametrize("where", TOO_MUCH)
def test_memory_is_bounded(store: MetadataStore, where: str) -> None:
    """A filter that needs gigabytes is refused, and the next one works."""
    assert "more memory than 2 GB" in refused(store, where)
    assert allowed(store, "n < 3") == [0, 1, 2]


@pytest.mark.parametrize(
    "where",
    [
        "levenshtein(repeat(text, 10000), repeat(text, 10000)) > 0",
        "n" + ".a" * 30_000 + " = 1",  # slow before it even runs
    ],
)
def test_time_is_bounded(layout: Layout, where: str) -> None:
    """A filter that takes too long is ended, inside one call of a function too; the next works."""
    store = MetadataStore(layout, read_manifest(layout), filter_seconds=0.7)
    start = time.monotonic()
    assert "longer than 0.7 s" in refused(store, where)
    assert time.monotonic() - start < 2
    assert not children()
    assert allowed(store, "n < 3") == [0, 1, 2]
    store.close()
    assert not children()


def test_a_process_that_was_killed_is_replaced(store: MetadataStore) -> None:
    """A process that somebody else has ended is started again for the next filter."""
    assert allowed(store, "n < 2") == [0, 1]
    (process,) = children()
    process.kill()
    process.wait()
    assert allowed(store, "n < 2") == [0, 1]


def test_the_process_is_kept(store: MetadataStore) -> None:
    """Filters after the first are evaluated by the same process, refused ones between them too."""
    assert allowed(store, "n < 2") == [0, 1]
    before = children()
    refused(store, "nope = 1")
    refused(store, "random() = 1")
    assert allowed(store, "n < 3") == [0, 1, 2]
    assert children() == before


def test_no_filter_no_process(store: MetadataStore) -> None:
    """What needs no filter starts no process."""
    store.documents({0: [1]}, ["n"])
    assert not children()


def test_a_store_that_nobody_closes(layout: Layout) -> None:
    """The process ends with its store, closed or not."""
    store = MetadataStore(layout, read_manifest(layout))
    assert allowed(store, "n < 2") == [0, 1]
    assert children()
    del store
    gc.collect()
    assert not children()


def test_filters_of_several_threads(store: MetadataStore) -> None:
    """Threads that filter the same documents each get their own answers."""
    assert store.metadata_columns == ["n", "name", "items"]  # read once, before the threads
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: allowed(store, f"n = {i}"), range(100)))
    assert found == [[i] for i in range(100)]


def test_a_long_list_of_values(store: MetadataStore) -> None:
    """A filter may be long: thousands of values, quickly."""
    values = ", ".join(f"'{i:030}'" for i in range(10_000))
    assert len(values) < MAX_CHARACTERS
    assert allowed(store, f"name IN ({values}) OR n = 7") == [7]


def test_an_interpreter_that_is_missing(
    store: MetadataStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the process cannot be started, one line says so."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere"))
    with pytest.raises(EmbedderError, match="cannot be started"):
        store.allowed_documents("n < 2")


def test_damaged_documents(tmp_path: Path) -> None:
    """Documents that cannot be decoded are the index's fault, not the filter's."""
    layout = make_layout(tmp_path)
    path = layout.segment("s0") / DOCUMENTS_FILE
    columns = pq.ParquetFile(path).metadata.row_group(0)
    chunk = next(c for c in map(columns.column, range(9)) if c.path_in_schema == "n")
    content = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)
    store = MetadataStore(layout, read_manifest(layout))
    with pytest.raises(IndexFormatError, match="cannot be read"):
        store.allowed_documents("n < 2")
    store.close()
