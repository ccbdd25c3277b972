"""Exporting: what other tools read is what is stored, whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import Done, assert_refused, run_with_file_limit, start, tree, wait_until
from synthetic import WIDTH, commit, make_manifest, unit_rows, write_segment
from worlds import make_index

from embedder.errors import FilterError, IndexFormatError, OutputError, RequestError
from indexes.durable import temporary_beside
from indexes.layout import DOCUMENTS_FILE, PASSAGES_FILE, VECTORS_FILE, Layout
from indexes.manifest_file import read_manifest
from indexes.metadata import MetadataStore
from jobs.delete import delete_where
from jobs.export import GROUP_ROWS, ExportFormat, ExportOptions, export_index
from jobs.output import column_names

Run = Callable[..., Done]
PLACE = ["id", "passage", "start", "end"]


def stored_rows(layout: Layout) -> list[dict[str, Any]]:
    """Every passage of a live document in order, read from the files by other means."""
    rows = []
    for segment in read_manifest(layout).finished().segments:
        folder = layout.segment(segment.id)
        documents = pq.read_table(folder / DOCUMENTS_FILE).to_pylist()
        vectors = np.load(folder / VECTORS_FILE)
        deleted = segment.deletion and np.load(layout.deleted / segment.deletion.name).tolist()
        passages = pq.read_table(folder / PASSAGES_FILE).to_pylist()
        counts: dict[int, int] = {}
        for passage, vector in zip(passages, vectors, strict=True):
            number = passage["document"]
            counts[number] = counts.get(number, -1) + 1
            if number in (deleted or ()):
                continue
            document = dict(documents[number])
            start, end, text = passage["start"], passage["end"], document.pop("__text")
            row = {
                "id": document.pop("__id"),
                "passage": counts[number],
                "start": start,
                "end": end,
            }
            del document["__row"]
            rows.append({**row, "text": text[start:end], **document, "vector": vector.tolist()})
    return rows


def exported(layout: Layout, out: Path, **options: Any) -> list[dict[str, Any]]:
    """The rows of an export to Parquet."""
    export_index(layout, ExportOptions(out=out, **options))
    found: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return found


def without(rows: Sequence[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Rows without some columns."""
    return [{key: value for key, value in row.items() if key not in names} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Two segments with deleted documents, some of several passages."""
    return make_index(tmp_path_factory.mktemp("whole") / "an.index")


# --- what is written ---


def test_parquet_holds_what_is_stored(whole: Layout, tmp_path: Path) -> None:
    """Rows, texts, metadata and vectors are those of live documents, value by value, in order."""
    wanted = stored_rows(whole)
    assert len(wanted) == read_manifest(whole).n_passages < 2560
    assert exported(whole, tmp_path / "x.parquet") == wanted
    schema = pq.read_schema(tmp_path / "x.parquet")
    assert schema.field("vector").type == pa.list_(pa.float32(), WIDTH)
    assert [schema.field(name).type for name in PLACE] == [pa.string(), *[pa.int32()] * 3]


def test_passages_of_long_documents(tiny_index: Path, tmp_path: Path) -> None:
    """Overlapping passages have their numbers, their characters and their stretch of the text."""
    layout = Layout(Path(shutil.copytree(tiny_index, tmp_path / "tiny.index")))
    delete_where(layout, "year = 2003")
    found = exported(layout, tmp_path / "x.parquet")
    assert found == stored_rows(layout)
    assert max(row["passage"] for row in found) > 2
    assert all(row["year"] != 2003 for row in found)


def test_arrays_hold_the_same_rows(whole: Layout, tmp_path: Path) -> None:
    """A .npy file has the stored float16 vectors, and the Parquet file beside it their rows."""
    summary = export_index(whole, ExportOptions(out=tmp_path / "v.npy"))
    assert summary.files == (tmp_path / "v.rows.parquet", tmp_path / "v.npy")
    vectors = np.load(tmp_path / "v.npy", mmap_mode="r", allow_pickle=False)
    wanted = stored_rows(whole)
    assert vectors.dtype == np.float16
    assert vectors.tolist() == [row["vector"] for row in wanted]
    assert pq.read_table(tmp_path / "v.rows.parquet").to_pylist() == without(wanted, "vector")
    assert sorted(tree(tmp_path)) == ["v.npy", "v.rows.parquet"]


@pytest.mark.parametrize(
    ("name", "form", "files"),
    [
        ("x.npy", None, ["x.npy", "x.rows.parquet"]),
        ("x", ExportFormat.NPY, ["x.npy", "x.rows.parquet"]),
        ("x.2020", ExportFormat.NPY, ["x.2020.npy", "x.2020.rows.parquet"]),
        ("x.npy", ExportFormat.PARQUET, ["x.npy"]),
        ("x.pq", None, ["x.pq"]),
    ],
)
def test_file_names(
    whole: Layout, tmp_path: Path, name: str, form: ExportFormat | None, files: list[str]
) -> None:
    """The format is the one asked for, else that of the ending, else Parquet."""
    export_index(whole, ExportOptions(out=tmp_path / name, format=form, where="n = 4"))
    assert sorted(tree(tmp_path)) == files


def test_a_filter_and_fields(whole: Layout, tmp_path: Path) -> None:
    """Only documents that satisfy the filter are written, with the fields named, without text."""
    found = exported(
        whole, tmp_path / "x.parquet", where="n % 7 = 2", fields=("ODD \"Name'",), with_text=False
    )
    wanted = [row for row in stored_rows(whole) if row["n"] % 7 == 2]
    assert found == without(wanted, "text", "n")
    assert list(found[0]) == [*PLACE, "odd \"name'", "vector"]


def test_a_filter_that_nothing_satisfies(whole: Layout, tmp_path: Path) -> None:
    """Without any row the files are there with all columns, and an array of no rows."""
    assert exported(whole, tmp_path / "x.parquet", where="n < 0") == []
    assert "vector" in pq.read_schema(tmp_path / "x.parquet").names
    summary = export_index(whole, ExportOptions(out=tmp_path / "x.npy", where="n < 0"))
    assert (summary.n_documents, summary.n_passages) == (0, 0)
    assert np.load(tmp_path / "x.npy").shape == (0, WIDTH)


def test_the_summary_counts(whole: Layout, tmp_path: Path) -> None:
    """The summary has the documents, passages and bytes that were written."""
    summary = export_index(whole, ExportOptions(out=tmp_path / "x.parquet"))
    manifest = read_manifest(whole)
    assert (summary.n_documents, summary.n_passages) == (manifest.n_documents, manifest.n_passages)
    assert summary.n_bytes == (tmp_path / "x.parquet").stat().st_size
    assert summary.width == WIDTH


# --- columns ---

ODD = {
    "id": ["a", "b", "c"],
    "Vector": [1, 2, 3],
    "metadata.id": [True, False, None],
    'it\'s "odd"': [1.5, None, float("inf")],
    "a.b": [[1, 2], [], None],
    "when": pa.array([0, None, 10**15], pa.timestamp("us", "UTC")),
    "struct": [{"x": 1}, None, {"x": None}],
    "bytes": [b"\x00\xff", None, b""],
    "dictionary": pa.array(["u", "v", "u"]).dictionary_encode(),
    "none": pa.nulls(3),
}


def odd_index(root: Path, *tables: dict[str, Any]) -> Layout:
    """An index with a segment of three documents for each table of metadata."""
    layout = Layout(root)
    segments = [
        write_segment(layout, f"s{i}", unit_rows(3, seed=i), metadata=pa.table(table))
        for i, table in enumerate(tables)
    ]
    commit(layout, segments)
    return layout


def test_odd_columns(tmp_path: Path) -> None:
    """Columns of odd names and many types are written as stored, ours under our names."""
    layout = odd_index(tmp_path / "an.index", ODD)
    found = pq.read_table(export_index(layout, ExportOptions(out=tmp_path / "x.parquet")).files[0])
    names = {"id": "metadata.metadata.id", "Vector": "metadata.Vector"}
    for name, values in pa.table(ODD).to_pydict().items():
        assert found[names.get(name, name)].to_pylist() == values, name
    assert found["id"].to_pylist() == ["s0-0", "s0-1", "s0-2"]
    assert found.schema.field("when").type == pa.timestamp("us", "UTC")
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/x.parquet'").fetchall() == [(3,)]


def test_columns_that_differ_between_segments(tmp_path: Path) -> None:
    """A column has one type over all segments, that of a search, and is null where it is not."""
    layout = odd_index(
        tmp_path / "an.index",
        {"n": [1, 2, None], "same": ["x", "y", "z"], "first": [1, 2, 3], "maybe": pa.nulls(3)},
        {"n": ["p", "q", None], "same": ["u", "v", "w"], "maybe": [1, 2, 3]},
        {"n": [1.5, 2.5, None], "SAME": ["r", "s", "t"], "last": [[1], None, []]},
    )
    found = exported(layout, tmp_path / "x.parquet")
    store = MetadataStore(layout, read_manifest(layout))
    fields = store.metadata_columns
    wanted = store.documents({i: [0, 1, 2] for i in range(3)}, fields)
    store.close()
    assert [{name: row[name] for name in fields} for row in found] == [
        row.metadata for row in wanted.values()
    ]
    assert [row["n"] for row in found[:4]] == ["1", "2", None, "p"]
    assert [row["same"] for row in found] == list("xyzuvwrst")
    assert [row["maybe"] for row in found[2:5]] == [None, 1, 2]


def test_dictionaries_of_many_blocks(tmp_path: Path) -> None:
    """Dictionaries that differ from block to block keep their values."""
    layout, n = Layout(tmp_path / "an.index"), 9000
    values = [f"v{i // 1000}" for i in range(n)]
    metadata = pa.table({"d": pa.array(values).dictionary_encode()})
    commit(layout, [write_segment(layout, "s", unit_rows(n), metadata=metadata, n_batches=4)])
    assert [row["d"] for row in exported(layout, tmp_path / "x.parquet")] == values


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (["x", "y"], ["x", "y"]),
        (["id", "TEXT"], ["metadata.id", "metadata.TEXT"]),
        (["id", "metadata.id"], ["metadata.metadata.id", "metadata.id"]),
    ],
)
def test_names_beside_our_own(fields: list[str], wanted: list[str]) -> None:
    """A metadata column that is named like one of ours gets `metadata.` before it, until free."""
    assert column_names(("id", "text"), fields) == wanted


# --- any number of passages ---

MEASURE = """
import resource, sys
from pathlib import Path
from indexes.layout import Layout
from jobs.export import ExportOptions, export_index
export_index(Layout(Path(sys.argv[1])), ExportOptions(out=sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
LARGE_WIDTH = 256


def large_index(root: Path, n_thousands: int) -> Layout:
    """An index of one segment of many passages, which repeat a thousand vectors."""
    layout = Layout(root)
    rows = np.tile(unit_rows(1000, width=LARGE_WIDTH), (n_thousands, 1))
    segment = write_segment(layout, "s", rows, n_batches=n_thousands)
    encoder = replace(make_manifest([segment]).encoder, width=LARGE_WIDTH)
    commit(layout, [segment], encoder=encoder)
    return layout


def peak(layout: Layout, out: Path) -> int:
    """Most memory of an export in a process of its own, in MiB."""
    command = [sys.executable, "-c", MEASURE, str(layout.root), str(out)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.parquet", "x.npy"])
def test_memory_does_not_grow_with_the_index(tmp_path: Path, name: str) -> None:
    """A segment of 100 MiB of vectors in float32 more needs hardly more memory."""
    few, many = (large_index(tmp_path / f"{n}.index", n) for n in (33, 133))
    assert peak(many, tmp_path / name) < peak(few, tmp_path / name) + 32
    n_groups = pq.read_metadata(next(tmp_path.glob("x*.parquet"))).num_row_groups
    assert n_groups == 1 + 33_000 // GROUP_ROWS


# --- whole or not at all ---


def test_a_killed_export_leaves_the_old_file(tmp_path: Path) -> None:
    """Killed while it writes, an export leaves no new file, and the old one as it was."""
    layout = large_index(tmp_path / "an.index", 100)
    out = tmp_path / "x.parquet"
    out.write_text("old")
    with start("export", layout.root, "--out", out) as export:
        assert wait_until(export, temporary_beside(out).exists)
        export.send_signal(signal.SIGKILL)
    assert out.read_text() == "old"
    export_index(layout, ExportOptions(out=out, where="n < 5"))
    assert pq.read_metadata(out).num_rows == 5
    assert not temporary_beside(out).exists()


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C ends an export with 130 and leaves no file."""
    layout = large_index(tmp_path / "an.index", 100)
    out = tmp_path / "x.parquet"
    with start("export", layout.root, "--out", out) as export:
        assert wait_until(export, temporary_beside(out).exists)
        export.send_signal(signal.SIGINT)
        export.communicate(timeout=60)
    assert export.returncode == 130
    assert not list(tmp_path.glob("*x.parquet"))


def test_old_vectors_never_lie_beside_new_rows(
    whole: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the array is there, it belongs to the rows: it goes first and comes last."""
    export_index(whole, ExportOptions(out=tmp_path / "x.npy", where="n < 9"))
    seen, rename = [], Path.replace

    def noting(self: Path, target: Path) -> Path:
        seen.append((target.name, (tmp_path / "x.npy").exists()))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", noting)
    export_index(whole, ExportOptions(out=tmp_path / "x.npy"))
    assert seen == [("x.rows.parquet", False), ("x.npy", False)]


@pytest.mark.parametrize("n_bytes", [0, 1, 5_000, 40_000, 90_000])
@pytest.mark.parametrize("name", ["x.parquet", "x.npy"])
def test_a_full_disk(whole: Layout, tmp_path: Path, name: str, n_bytes: int) -> None:
    """A file that cannot be written ends the export with one line and leaves nothing."""
    limit = min(n_bytes, 70_000) if name == "x.npy" else n_bytes
    done = run_with_file_limit(limit, "export", whole.root, "--out", tmp_path / name, "-q")
    assert_refused(done, name, "cannot be written")
    assert tree(tmp_path) == {}


def test_a_folder_is_no_file(run: Run, whole: Layout, tmp_path: Path) -> None:
    """A folder as the file, a folder that is not there, and the index itself are refused."""
    for name in ("v.parquet", "v.rows.parquet"):
        (tmp_path / name).mkdir()
    for out in (tmp_path, tmp_path / "v.parquet", tmp_path / "v.npy"):
        assert_refused(run("export", whole.root, "--out", out, "-q"), "it is a folder")
    out = tmp_path / "nowhere" / "x.parquet"
    assert_refused(run("export", whole.root, "--out", out, "-q"), "cannot be written", "nowhere")
    before = tree(whole.root)
    with pytest.raises(OutputError, match="which is read"):
        export_index(whole, ExportOptions(out=whole.manifest))
    assert tree(whole.root) == before


@pytest.mark.parametrize("name", [DOCUMENTS_FILE, PASSAGES_FILE, VECTORS_FILE])
def test_a_damaged_segment_is_not_exported(whole: Layout, tmp_path: Path, name: str) -> None:
    """A changed byte in any file of a segment ends the export, and nothing is written."""
    layout = Layout(Path(shutil.copytree(whole.root, tmp_path / "copy.index")))
    path = layout.segment("c") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    out = tmp_path / "out"
    out.mkdir()
    for where in (None, "n < 0"):
        with pytest.raises(IndexFormatError, match=re.escape(str(path))):
            export_index(layout, ExportOptions(out=out / "x.parquet", where=where))
    assert tree(out) == {}


def test_wrong_filters_and_fields(whole: Layout, tmp_path: Path) -> None:
    """A filter that is wrong, or a field that is not there, is refused and nothing is written."""
    for options in ({"where": "m = 3"}, {"fields": ("m",)}):
        with pytest.raises(FilterError):
            export_index(whole, ExportOptions(out=tmp_path / "x.parquet", **options))
    assert tree(tmp_path) == {}


def test_an_index_without_segments(tmp_path: Path) -> None:
    """An index whose first run has committed nothing has nothing to export."""
    layout = Layout(tmp_path / "an.index")
    commit(layout, [])
    with pytest.raises(RequestError, match="holds no documents yet"):
        export_index(layout, ExportOptions(out=tmp_path / "x.parquet"))


# --- the command ---


def test_the_command(run: Run, whole: Layout, tmp_path: Path) -> None:
    """The command writes what Python does, and says how much on one line."""
    options = ["--where", "n % 7 = 2", "--fields", "n", "--no-text"]
    done = run("export", "--index", whole.root, "--out", "x.parquet", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = exported(
        whole, tmp_path / "y.parquet", where="n % 7 = 2", fields=("n",), with_text=False
    )
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == wanted
    n_documents = len({row["id"] for row in wanted})
    assert done.stdout.startswith(
        f"x.parquet: {n_documents} documents in {len(wanted)} passages, vectors of 16 components, "
    )
    assert len(done.stdout.splitlines()) == 1
    assert "exporting" in done.stderr


def test_an_array_leaves_the_file_of_its_name(whole: Layout, tmp_path: Path) -> None:
    """The rows beside v.npy do not go into v.parquet, which may be the corpus."""
    (tmp_path / "v.parquet").write_text("precious")
    export_index(whole, ExportOptions(out=tmp_path / "v.npy", where="n = 4"))
    assert (tmp_path / "v.parquet").read_text() == "precious"


def test_quiet_and_the_environment(run: Run, whole: Layout, tmp_path: Path) -> None:
    """With -q nothing is said, and options come from the environment too."""
    env = {"EMBEDDER_INDEX": str(whole.root), "EMBEDDER_EXPORT_FORMAT": "npy"}
    done = run("export", "--out", tmp_path / "x", "-q", env={**os.environ, **env})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(tree(tmp_path)) == ["x.npy", "x.rows.parquet"]
