"""Segments: what other tools can read, and what comes back as it was written."""

from __future__ import annotations

import datetime
import decimal
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import WIDTH, commit, unit_rows, write_segment

from embedder.errors import IndexFormatError
from indexes.durable import check_files
from indexes.layout import DOCUMENTS_FILE, PASSAGES_FILE, VECTORS_FILE, Layout
from indexes.metadata import MetadataStore
from indexes.npy import NPY_HEADER_BYTES, npy_header
from indexes.segments import open_vectors, read_rows

UTC = datetime.UTC
TYPES: dict[str, pa.Array] = {
    "int64": pa.array([1, None, -(2**63)], pa.int64()),
    "uint64": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "int8": pa.array([-128, None, 127], pa.int8()),
    "double": pa.array([0.1, None, -math.inf], pa.float64()),
    "float": pa.array([0.5, None, 1e30], pa.float32()),
    "bool": pa.array([True, None, False]),
    "string": pa.array(["a'b\"c\n", None, ""]),
    "large string": pa.array(["größe", None, "😀"], pa.large_string()),
    "dictionary": pa.array(["x", None, "x"]).dictionary_encode(),
    "binary": pa.array([b"\x00\xff", None, b""]),
    "date": pa.array([datetime.date(2020, 2, 29), None, datetime.date(1, 1, 1)]),
    "timestamp": pa.array([datetime.datetime(2020, 1, 2, 3, 4, 5, 6), None, None]),
    "timestamp with zone": pa.array(
        [datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")
    ),
    "time": pa.array([datetime.time(1, 2, 3), None, None], pa.time64("us")),
    "decimal": pa.array([decimal.Decimal("1.25"), None, None], pa.decimal128(10, 2)),
    "list": pa.array([[1, 2], None, []], pa.list_(pa.int64())),
    "list of strings": pa.array([["a", None], None, []], pa.list_(pa.string())),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
    "all null": pa.nulls(3),
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The layout of an index that is not there yet."""
    return Layout(tmp_path / "an.index")


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_numpy_loads_the_vectors(layout: Layout, n: int) -> None:
    """vectors.npy is an ordinary file for numpy: the float16 rows that were written."""
    rows = unit_rows(n)
    write_segment(layout, "s", rows, n_batches=3 if n else 1)
    loaded = np.load(layout.segment("s") / VECTORS_FILE, allow_pickle=False)
    assert loaded.dtype == np.float16
    assert np.array_equal(loaded, rows.astype(np.float16))


@given(st.integers(0, 2**40), st.integers(1, 100_000))
def test_the_npy_header_has_one_length(n_rows: int, width: int) -> None:
    """The header of any number of rows fills its room exactly and says the shape."""
    header = npy_header(np.dtype("<f2"), (n_rows, width))
    assert len(header) == NPY_HEADER_BYTES
    assert header.endswith(b"\n")
    assert f"({n_rows}, {width})".encode() in header


def test_vectors_open_and_read_alike(layout: Layout) -> None:
    """A segment's rows are the same memory-mapped and read one by one, in any order."""
    rows = unit_rows(50).astype(np.float16)
    record = write_segment(layout, "s", unit_rows(50))
    assert np.array_equal(open_vectors(layout, record, WIDTH), rows)
    order = [49, 0, 7, 7, 3]
    assert np.array_equal(read_rows(layout.segment("s"), order, WIDTH), rows[order])


@pytest.mark.parametrize("n_bytes", [0, 10, NPY_HEADER_BYTES, NPY_HEADER_BYTES + 7])
def test_cut_vectors_are_refused(layout: Layout, n_bytes: int) -> None:
    """A vectors file that was cut off is refused by name."""
    record = write_segment(layout, "s", unit_rows(20))
    path = layout.segment("s") / VECTORS_FILE
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(IndexFormatError, match=r"vectors\.npy"):
        open_vectors(layout, record, WIDTH)
    with pytest.raises(IndexFormatError, match=r"vectors\.npy"):
        check_files(layout.segment("s"), record.files)


def test_vectors_of_another_width_are_refused(layout: Layout) -> None:
    """A vectors file of another width than the manifest's is refused."""
    record = write_segment(layout, "s", unit_rows(20))
    with pytest.raises(IndexFormatError, match="was written"):
        open_vectors(layout, record, WIDTH * 2)


def test_the_writer_takes_only_checked_vectors(layout: Layout) -> None:
    """Rows of a wrong number are refused where they are written."""
    with pytest.raises(ValueError, match="vectors are float16"):
        write_segment(layout, "s", unit_rows(5), passages_each=[1, 1, 2, 2])


def test_equal_content_has_equal_bytes(layout: Layout, tmp_path: Path) -> None:
    """Two segments of equal content written in equal batches are byte-identical."""
    other = Layout(tmp_path / "other.index")
    records = [write_segment(there, "s", unit_rows(30), n_batches=4) for there in (layout, other)]
    assert records[0] == records[1]


@pytest.mark.parametrize("n_batches", [1, 2])
@pytest.mark.parametrize("kind", TYPES)
def test_metadata_comes_back(layout: Layout, kind: str, n_batches: int) -> None:
    """Metadata of every type, nulls included, comes back as the values that were written."""
    table = pa.table({kind: TYPES[kind]})
    record = write_segment(layout, "s", unit_rows(3), metadata=table, n_batches=n_batches)
    store = MetadataStore(layout, commit(layout, [record]))
    found = store.documents({0: [0, 1, 2]}, [kind])
    values = [found[0, row].metadata[kind] for row in range(3)]
    store.close()
    assert values == TYPES[kind].to_pylist()


def test_nan_is_not_null(layout: Layout) -> None:
    """A NaN in metadata comes back as NaN and a null as None."""
    table = pa.table({"x": pa.array([math.nan, None])})
    record = write_segment(layout, "s", unit_rows(2), metadata=table)
    store = MetadataStore(layout, commit(layout, [record]))
    found = [store.documents({0: [row]}, ["x"])[0, row].metadata["x"] for row in (0, 1)]
    store.close()
    assert math.isnan(found[0])
    assert found[1] is None


def test_documents_and_passages_are_plain_parquet(layout: Layout) -> None:
    """Ids, texts, metadata and passages are columns of Parquet files with the counts recorded."""
    record = write_segment(layout, "s", unit_rows(6), passages_each=[1, 3, 2], n_batches=2)
    assert (record.n_documents, record.n_passages, record.n_tokens) == (3, 6, 30)
    documents = pq.read_table(layout.segment("s") / DOCUMENTS_FILE).to_pylist()
    assert documents[1] == {"__row": 1, "__id": "s-1", "__text": "text 1 of s", "n": 1}
    passages = pq.read_table(layout.segment("s") / PASSAGES_FILE)
    assert passages["document"].to_pylist() == [0, 1, 1, 1, 2, 2]


def test_a_segment_without_documents(layout: Layout) -> None:
    """A shard whose rows were all left out is a segment that can be queried."""
    empty: dict[str, Any] = {"metadata": pa.table({"n": pa.array([], pa.int64())})}
    record = write_segment(layout, "s", unit_rows(0), **empty)
    store = MetadataStore(layout, commit(layout, [record]))
    assert store.allowed_documents("n > 0").tolist() == []
    store.close()
