"""Filters: what they may compute, and what they may not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from filtered import allowed, make_layout, refused
from hostile import DEEP, HOSTILE
from synthetic import commit, unit_rows, write_segment

from indexes.filters import BARE_FUNCTIONS, TIME_FUNCTIONS
from indexes.layout import Layout
from indexes.manifest_file import read_manifest
from indexes.metadata import MetadataStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder of the process that evaluates the filters."""
    before = Path.cwd()
    working = tmp_path_factory.mktemp("working")
    os.chdir(working)
    yield working
    os.chdir(before)


@pytest.fixture(scope="module")
def layout(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Two segments with numbers, names and lists."""
    return make_layout(tmp_path_factory.mktemp("filters"))


@pytest.fixture(scope="module")
def store(layout: Layout) -> Iterator[MetadataStore]:
    """The documents of these segments, with little time for a filter."""
    opened = MetadataStore(layout, read_manifest(layout), filter_seconds=2)
    yield opened
    opened.close()


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its bytes."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is refused ---


@pytest.mark.parametrize("where", HOSTILE)
def test_hostile_expressions_have_no_effect(
    store: MetadataStore, layout: Layout, folder: Path, where: str
) -> None:
    """What reaches for files, statements, settings or our own query is refused without effect."""
    before = files(layout.root.parent)
    refused(store, where)
    assert files(layout.root.parent) == before
    assert list(folder.iterdir()) == []
    assert allowed(store, "n < 3") == [0, 1, 2]


@pytest.mark.parametrize("where", DEEP.values(), ids=DEEP.keys())
def test_deep_and_long_expressions(store: MetadataStore, where: str) -> None:
    """Ten thousand levels and a million characters are refused within the time of a filter."""
    start = time.monotonic()
    refused(store, where)
    assert time.monotonic() - start < 10
    assert allowed(store, "n < 3") == [0, 1, 2]


def test_impure_functions_are_refused_by_name(store: MetadataStore) -> None:
    """Every function that DuckDB calls volatile or bound to a query is refused but for the time."""
    rows = duckdb.sql(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'scalar' "
        "AND (has_side_effects OR stability <> 'CONSISTENT')"
    ).fetchall()
    names = {name for (name,) in rows} - TIME_FUNCTIONS
    assert {"random", "sleep_ms", "current_setting", "txid_current"} <= names
    for name in names:
        assert f"{name}()" in refused(store, f"{name}() IS NULL")


@pytest.mark.parametrize("kind", ["table", "table_macro", "aggregate", "window"])
def test_functions_over_rows_are_refused_by_name(store: MetadataStore, kind: str) -> None:
    """Functions that make tables or look at several documents are refused by their names."""
    rows = duckdb.sql(
        "SELECT function_name FROM duckdb_functions() GROUP BY ALL "
        f"HAVING bool_or(function_type = '{kind}') "
        "AND NOT bool_or(function_type IN ('scalar', 'macro'))"
    ).fetchall()
    assert rows
    for (name,) in rows:
        assert f"{name}()" in refused(store, f"{name}(n) IS NULL")


@pytest.mark.parametrize("name", ["pg_sleep", "get_block_size", "current_catalog", "assert_true"])
def test_macros_are_looked_into(store: MetadataStore, name: str) -> None:
    """A macro that calls what is refused, or queries, is refused by its own name."""
    assert f"{name}()" in refused(store, f"{name}(1) IS NULL")


@pytest.mark.parametrize(
    "call", ["RANDOM()", '"random"()', "main.random()", "system.main.random()", "(random())"]
)
def test_however_a_function_is_written(store: MetadataStore, call: str) -> None:
    """A refused function is refused in any case, quoted, and by any path."""
    assert "random()" in refused(store, f"n > 0 AND {call} > 0.5")


def test_functions_without_parentheses(store: MetadataStore) -> None:
    """SQL's own names for the connection's state are refused, those for the time are not."""
    for name in BARE_FUNCTIONS:
        assert f"{name}()" in refused(store, f"{name} = 'x'")
        assert f"{name}()" in refused(store, f"{name.upper()} = 'x'")
    for name in ("current_date", "current_timestamp", "localtimestamp"):
        assert len(allowed(store, f"{name} > '2020-01-01'")) == 100


@pytest.mark.parametrize(
    ("where", "word"),
    [
        ("n = ?", "parameter"),
        ("n = $1", "parameter"),
        ("n = $name", "parameter"),
        ("*", "COLUMNS"),
        ("COLUMNS(*) IS NOT NULL", "COLUMNS"),
        ("COLUMNS('n') > 1", "COLUMNS"),
        ("COLUMNS(lambda c: c = 'n') > 1", "COLUMNS"),
        ("#1 = 1", "position"),
        ("sum(n) OVER () > 1", "window"),
        ("row_number() OVER () = 1", "window"),
        ("DEFAULT", "DEFAULT"),
        ("count(*) > 1", "several documents"),
        ("max(n) = 1", "several documents"),
        ("sum(n) FILTER (n > 1) > 1", "several documents"),
        ("unnest(items) = 1", "unnest()"),
        ("grouping(n) = 1", "GROUPING"),
        ("list_transform(items, x -> x) = []", "lambda"),
        ("list_transform(items, lambda x: y) = []", '"y"'),
        ("no_such_function(n)", "no_such_function"),
        ("nope = 1", "nope"),
        ("n = ANY (SELECT 1)", "without a query"),
        ("n >", "syntax error"),
        ("", "empty"),
        ("text", "does not work"),
        ("name::INT = 1", "does not work"),
        ("n // 0 = 1", "Division by zero"),
    ],
)
def test_what_is_no_filter_is_named(store: MetadataStore, where: str, word: str) -> None:
    """A construct that has no place in a filter is refused with a word that says which."""
    assert word in refused(store, where)


# --- what works ---


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("year(now()) > 2000 AND today() > '2020-01-01' AND n < 2", [0, 1]),
        ("[x FOR x IN items IF x > 98] = [99, 100]", [99]),
        ("list_filter(items, lambda x: x > 98) = [99]", [98]),
        ("list_transform(items, lambda random: random + 1) = [4, 5]", [3]),
        ("list_sum(items) = 7", [3]),
        ("list_aggregate(items, 'max') = 5", [4]),
        ("array_to_string(items, '-') = '5-6'", [5]),
        ("items[1] = 6", [6]),
        ("split_part(name, ' ', 2) = '7'", [7]),
        ("name.upper().substr(6) = '8'", [8]),
        ("regexp_matches(name, '^it.s 9$')", [9]),
        ("if(n > 97, true, NULL)", [98, 99]),
        ("TRY(n // (n - 3)) IS NULL", [3]),
        ("struct_pack(a := n).a = 4 OR {'b': n}.b = 5", [4, 5]),
        ("json_extract(to_json(items), '$[0]')::INT = 6", [6]),
        ("strftime(DATE '2020-01-01' + n::INT, '%d') = '07' AND n < 10", [6]),
        ("hash(n) = hash(8::BIGINT)", [8]),
        ("documents.n = 9", [9]),
        ("n NOT IN (" + ", ".join(map(str, range(1, 5000))) + ")", [0]),
        (" AND ".join(["n > 97"] * 500), [98, 99]),
    ],
)
def test_what_a_filter_can_compute(store: MetadataStore, where: str, wanted: list[int]) -> None:
    """Functions of the values and of the time, lambdas and macros among them, work."""
    assert allowed(store, where) == wanted


def test_a_column_of_a_functions_name(tmp_path: Path) -> None:
    """A column that is called like a refused function is a column."""
    layout = Layout(tmp_path / "an.index")
    table = pa.table({"current_schema": [1, 2], "random": [3, 4], "Current_Catalog": [5, 6]})
    record = write_segment(layout, "s", unit_rows(2), metadata=table)
    store = MetadataStore(layout, commit(layout, [record]))
    assert allowed(store, "current_schema = 2") == [1]
    assert allowed(store, "random = 3 AND CURRENT_CATALOG = 5") == [0]
    assert "random()" in refused(store, "random() = random")
    store.close()
