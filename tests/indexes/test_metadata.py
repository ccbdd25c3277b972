"""Metadata: any column name works, a filter is one expression, and nothing else gets through."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import commit, unit_rows, write_segment

from embedder.errors import FilterError, IndexFormatError
from indexes import metadata
from indexes.deletions import delete_documents
from indexes.documents import passage_documents
from indexes.layout import DOCUMENTS_FILE, Layout
from indexes.metadata import MetadataStore

NAMES = [
    "a'b",
    'a"b',
    '"',
    "two words",
    "a.b",
    "a,b",
    "select",
    "order",
    "group",
    "where",
    "from",
    "documents",
    "file_row_number",
    "filename",
    "rowid",
    "größe",
    "名前",
    "😀",
    "1st",
    "UPPER",
    "a;b",
    "a--b",
    "a/*b",
    "a\\b",
    "%s",
    "{x}",
    "$1",
    "?",
    "*",
    " lead",
    "trail ",
    "a\nb",
    "a\u0301",  # two characters that look like one
    "1 = 1 OR true",
    "x'); DROP TABLE documents; --",
    "count(*)",
    "current_schema",
]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The layout of an index that is not there yet."""
    return Layout(tmp_path / "an.index")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetadataStore]:
    """Two segments with a number, a name and a flag; every tenth value is null."""
    layout = Layout(tmp_path_factory.mktemp("metadata") / "an.index")
    table = pa.table(
        {
            "n": [None if i % 10 == 9 else i for i in range(100)],
            "name": [None if i % 10 == 9 else f"it's {i}" for i in range(100)],
            "flag": [None if i % 10 == 9 else i % 2 == 0 for i in range(100)],
        }
    )
    records = [
        write_segment(layout, f"s{i}", unit_rows(50), metadata=table.slice(50 * i, 50))
        for i in range(2)
    ]
    opened = MetadataStore(layout, commit(layout, records))
    yield opened
    opened.close()


def allowed(store: MetadataStore, where: str) -> list[int]:
    """Numbers of the documents that a filter allows."""
    return [int(i) for i in store.allowed_documents(where).nonzero()[0]]


@given(st.integers(-5, 105), st.sampled_from(["<", "<=", "=", "<>", ">=", ">"]))
def test_a_filter_agrees_with_python(store: MetadataStore, bound: int, sign: str) -> None:
    """A comparison holds for the documents for which it holds in Python, and never for a null."""
    compare = {"=": "==", "<>": "!="}.get(sign, sign)
    wanted = [i for i in range(100) if i % 10 != 9 and eval(f"{i} {compare} {bound}")]
    assert allowed(store, f"n {sign} {bound}") == wanted


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("n IS NULL", list(range(9, 100, 10))),
        ("NULL", []),
        ("n BETWEEN 48 AND 51", [48, 50, 51]),  # 49 is null
        ("name = 'it''s 7'", [7]),
        ("name LIKE '%7' AND flag", []),
        ("NOT flag AND n < 5", [1, 3]),
        ("n < 2 OR n > 97", [0, 1, 98]),
        ("id = 's1-3'", [53]),
        ("text = 'text 3 of s0'", [3]),
        ("n IN (1, 60)", [1, 60]),
        ("list_contains([4, 5], n)", [4, 5]),
        ("n = 3 -- )", [3]),
        ("/* only */ n = 3", [3]),
        ("N = 3", [3]),
        ('"n" = 3', [3]),
        ("documents.n = 3", [3]),
        ("length(name) - 5 = 2 AND n < 12 AND name NOT LIKE '%;%'", [10, 11]),
    ],
)
def test_worked_filters(store: MetadataStore, where: str, wanted: list[int]) -> None:
    """Ordinary SQL expressions mean what they mean in SQL."""
    assert allowed(store, where) == wanted


def test_filters_on_nan(layout: Layout) -> None:
    """NaN is found, and is greater than all numbers, as in SQL, wherever in a value it is."""
    nan = float("nan")
    values = [1.0, nan, 3.0, None]
    table = pa.table(
        {
            "x": values,
            "half": pa.array(values, pa.float16()),
            "item": [{"x": x, "n": 1} for x in values],
            "items": [[x] for x in values],
        }
    )
    record = write_segment(layout, "s", unit_rows(4), metadata=table)
    store = MetadataStore(layout, commit(layout, [record]))
    for name in ("x", "half", "item.x", "items[1]"):
        assert allowed(store, f"isnan({name})") == [1]
        assert allowed(store, f"NOT isnan({name})") == [0, 2]
        assert allowed(store, f"{name} = 'nan'::DOUBLE") == [1]
        assert allowed(store, f"{name} > 2") == [1, 2]
        assert allowed(store, f"{name} IS NULL") == [3]
    store.close()


def test_times_without_a_zone_are_utc(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter finds the same documents wherever the machine stands."""
    instants = pa.array([0, 3 * 3600, 30 * 3600], pa.timestamp("s", "Europe/Berlin"))
    record = write_segment(layout, "s", unit_rows(3), metadata=pa.table({"seen": instants}))
    manifest = commit(layout, [record])
    for zone in ("America/New_York", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        store = MetadataStore(layout, manifest)
        assert allowed(store, "seen < '1970-01-01 03:00:00'") == [0]
        assert allowed(store, "seen::DATE = DATE '1970-01-01'") == [0, 1]
        store.close()


def test_files_outside_the_index_cannot_be_read(store: MetadataStore) -> None:
    """Even without the check of the expression the connection reads nothing else."""
    for sql in (
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "ATTACH '/tmp/x.db'",
        "COPY (SELECT 1) TO '/tmp/copied.csv'",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
    ):
        with pytest.raises(IndexFormatError):
            store._rows(sql, "it")


@pytest.mark.parametrize("name", NAMES)
def test_any_column_name_works(layout: Layout, name: str) -> None:
    """A column of any name can be filtered by, quoted as SQL wants it, and comes back."""
    tables = [pa.table({name: [3 * part + i for i in range(3)]}) for part in range(2)]
    records = [
        write_segment(layout, f"s{i}", unit_rows(3), metadata=table)
        for i, table in enumerate(tables)
    ]
    store = MetadataStore(layout, commit(layout, records, metadata=(name,)))
    quoted = '"' + name.replace('"', '""') + '"'
    assert store.metadata_columns == [name]
    assert allowed(store, f"{quoted} = 4") == [4]
    assert allowed(store, f"{quoted} < 2") == [0, 1]
    found = store.documents({0: [2], 1: [1]}, [name])
    assert {key: row.metadata for key, row in found.items()} == {
        (0, 2): {name: 2},
        (1, 1): {name: 4},
    }
    assert store.arrow_schema([name]) == pa.schema([(name, pa.int64())])
    store.close()


@pytest.mark.parametrize(
    "folder", ["two words", "it's", "a[1]", "a*", "a?b", "{x}", "größe", "y=2020", "-x", "a\\b"]
)
def test_any_folder_name_works(tmp_path: Path, folder: str) -> None:
    """An index in a folder of any name can be queried, even where a pattern would match another."""
    for name in (folder, "a1", "axb", "abc"):  # the last three are what patterns would match
        layout = Layout(tmp_path / name / "an.index")
        table = pa.table({"n": [len(name)]})
        record = write_segment(layout, "s", unit_rows(1), metadata=table)
        manifest = commit(layout, [record])
    layout = Layout(tmp_path / folder / "an.index")
    store = MetadataStore(layout, manifest)
    assert allowed(store, f"n = {len(folder)}") == [0]
    assert store.documents({0: [0]}, ["n"])[0, 0].metadata == {"n": len(folder)}
    store.close()


def test_a_relative_folder_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index named by a relative path can be queried."""
    monkeypatch.chdir(tmp_path)
    layout = Layout(Path("an.index"))
    store = MetadataStore(layout, commit(layout, [write_segment(layout, "s", unit_rows(2))]))
    assert allowed(store, "n = 1") == [1]
    store.close()


def test_columns_that_only_some_segments_have(layout: Layout) -> None:
    """A column that a segment lacks is null there, in filters and in results."""
    tables = [pa.table({"a": [1, 2]}), pa.table({"b": ["x", "y"]}), pa.table({"a": [5, 6]})]
    records = [
        write_segment(layout, f"s{i}", unit_rows(2), metadata=table)
        for i, table in enumerate(tables)
    ]
    store = MetadataStore(layout, commit(layout, records))
    assert sorted(store.metadata_columns) == ["a", "b"]
    assert allowed(store, "a > 1") == [1, 4, 5]
    assert allowed(store, "a IS NULL AND b = 'y'") == [3]
    for wanted in ({0: [1], 1: [0]}, {1: [0]}, {0: [1]}):
        found = store.documents(wanted, ["b", "a"])
        expected = {(0, 1): {"a": 2, "b": None}, (1, 0): {"a": None, "b": "x"}}
        assert {key: row.metadata for key, row in found.items()} == {
            (segment, rows[0]): expected[segment, rows[0]] for segment, rows in wanted.items()
        }
    store.close()


def test_columns_that_differ_in_case(layout: Layout) -> None:
    """A column that one file writes `Year` and another `year` is one column, as in SQL."""
    tables = [pa.table({"Year": [1, 2]}), pa.table({"year": [3, 4]})]
    records = [
        write_segment(layout, f"s{i}", unit_rows(2), metadata=table)
        for i, table in enumerate(tables)
    ]
    store = MetadataStore(layout, commit(layout, records))
    assert store.metadata_columns == ["Year"]
    for name in ("Year", "year", '"YEAR"'):
        assert allowed(store, f"{name} IN (2, 4)") == [1, 3]
    for wanted in ({0: [1], 1: [1]}, {1: [1]}):
        found = store.documents(wanted, ["YEAR"])
        assert found[1, 1].metadata == {"Year": 4}
    store.close()


def test_columns_of_differing_types(layout: Layout) -> None:
    """A column that is a number in one file and text in another can be queried as text."""
    tables = [pa.table({"a": [1, 2]}), pa.table({"a": ["2", "x"]})]
    records = [
        write_segment(layout, f"s{i}", unit_rows(2), metadata=table)
        for i, table in enumerate(tables)
    ]
    store = MetadataStore(layout, commit(layout, records))
    assert allowed(store, "a = '2'") == [1, 2]
    found = store.documents({0: [1], 1: [0]}, ["a"])
    assert [row.metadata["a"] for row in found.values()] == ["2", "2"]
    store.close()


def test_a_column_named_as_ours_wins(layout: Layout) -> None:
    """A metadata column `id` or `text` hides the document's own under that name."""
    table = pa.table({"id": [7, 8], "text": ["x", "y"]})
    record = write_segment(layout, "s", unit_rows(2), metadata=table)
    manifest = commit(layout, [record], text="body", id=None, metadata=("id", "text"))
    store = MetadataStore(layout, manifest)
    assert allowed(store, "id = 8") == [1]
    assert allowed(store, "text = 'x'") == [0]
    assert allowed(store, "body = 'text 1 of s'") == [1]
    store.close()


@pytest.mark.parametrize("wanted", [{0: [1]}, {}, {0: []}])
def test_an_unknown_field_is_refused(store: MetadataStore, wanted: dict[int, list[int]]) -> None:
    """A field that no segment has is refused with those there are, even where nothing is found."""
    with pytest.raises(FilterError, match=r"'nope'; it has: n, name, flag"):
        store.documents(wanted, ["nope"])


def test_the_schema_of_an_unknown_field_is_refused(store: MetadataStore) -> None:
    """The type of a field that no segment has is refused as the request's fault."""
    with pytest.raises(FilterError, match="nope"):
        store.arrow_schema(["nope"])


def test_duplicate_ids_are_counted(layout: Layout) -> None:
    """Documents with the id of an earlier one are counted over all segments."""
    records = [write_segment(layout, "s", unit_rows(n)) for n in (3, 5)]
    store = MetadataStore(layout, commit(layout, [records[1], records[1]]))
    assert store.count_duplicate_ids() == 5
    store.close()


def test_ids_of_many_segments_are_read_together(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several segments take one query, their documents stay in order, and deleted ones do not
    count."""
    monkeypatch.setattr(metadata, "SCANNED_SEGMENTS", 4)
    monkeypatch.setattr(metadata, "SCANNED_DOCUMENTS", 12)
    sizes = [1, 2, 1, 3, 2, 20, 1, 1, 3]
    other = pa.table({"m": ["x"] * 20})
    records = [
        write_segment(layout, f"s{i}", unit_rows(n), metadata=other.slice(0, n) if i % 2 else None)
        for i, n in enumerate(sizes)
    ]
    dead = delete_documents(
        layout, records[5], np.arange(3, 20), passage_documents(layout, records[5])
    )
    records = [*records[:5], dead, *records[6:]]
    store = MetadataStore(layout, commit(layout, [*records, *records[3:6]]))
    parts = list(store._scans())
    assert [number for part in parts for number in part] == list(range(12))
    assert len(parts) == 6
    assert store.count_duplicate_ids() == 3 + 2 + 3
    store.close()


def test_threads_share_a_store(layout: Layout) -> None:
    """Queries from several threads at once get the answers that they get one by one."""
    records = [write_segment(layout, f"s{i}", unit_rows(50, seed=i)) for i in range(3)]
    store = MetadataStore(layout, commit(layout, records))
    asked = [{i % 3: [i % 50], (i + 1) % 3: [(7 * i) % 50]} for i in range(120)]
    with ThreadPoolExecutor(8) as pool:
        documents = list(pool.map(lambda wanted: store.documents(wanted, ["n"]), asked))
        passages = list(pool.map(store.passages, asked))
    for wanted, found, spans in zip(asked, documents, passages, strict=True):
        places = {(segment, row) for segment, rows in wanted.items() for row in rows}
        assert {place: row.id for place, row in found.items()} == {
            (segment, row): f"s{segment}-{row}" for segment, row in places
        }
        assert {place: span.document for place, span in spans.items()} == {p: p[1] for p in places}
    store.close()


def test_no_segments(layout: Layout) -> None:
    """An index without segments allows nothing and has no passages, columns or duplicates."""
    store = MetadataStore(layout, commit(layout, []))
    assert store.allowed_documents("true").tolist() == []
    assert store.count_duplicate_ids() == 0
    assert store.metadata_columns == []
    store.close()


@pytest.mark.parametrize("n_bytes", [0, 4, 300])
def test_damaged_documents_are_named(layout: Layout, n_bytes: int) -> None:
    """A documents file that was cut off is an error of the index, with a way out."""
    manifest = commit(layout, [write_segment(layout, "s", unit_rows(20))])
    path = layout.segment("s") / DOCUMENTS_FILE
    path.write_bytes(path.read_bytes()[:n_bytes])
    store = MetadataStore(layout, manifest)
    with pytest.raises(IndexFormatError, match="cannot be read"):
        store.documents({0: [1]}, [])
    with pytest.raises(IndexFormatError, match="cannot be read"):
        store.allowed_documents("n = 1")
    store.close()
