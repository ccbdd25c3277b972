"""Random filters: the documents that Python or DuckDB itself finds, or one clear error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import commit, unit_rows, write_segment

from embedder.errors import FilterError
from indexes.layout import Layout
from indexes.metadata import MetadataStore

Row = dict[str, Any]
Condition = tuple[str, Callable[[Row], bool | None]]
"""A filter with what it means: true, false or unknown for a row."""

WORDS = ["", "bank", "Bank", "it's", "größe", "100%", "a_b", "名前"]
ROWS: list[Row] = [
    {
        "n": None if i % 7 == 3 else i % 12 - 4,
        "name": None if i % 5 == 2 else WORDS[i % len(WORDS)],
        "is it": None if i % 3 == 1 else i % 2 == 0,
        "items": [i % 3, i % 5],
    }
    for i in range(60)
]
TOKENS = [
    *("n", "name", '"is it"', "items", "id", "text", "documents", "nope", "__row", "rowid"),
    *(
        "1",
        "0",
        "-3",
        "2.5",
        "1e9",
        "'bank'",
        "'it''s'",
        "''",
        "NULL",
        "TRUE",
        "[1, 2]",
        "{'a': 1}",
    ),
    *("=", "<>", "<", ">=", "+", "-", "*", "/", "//", "%", "||", "::", ".", ",", "->", ":=", "~"),
    *("AND", "OR", "NOT", "IS NULL", "IN", "BETWEEN", "LIKE", "CASE WHEN", "THEN", "ELSE", "END"),
    *("(", ")", "[", "]", "{", "}", "(1)", "--", "/*", "*/", ";", "\n", "'", '"', "$$", "?", "$1"),
    *("length(", "abs(", "upper(", "list_contains(items,", "list_filter(items, lambda n:", "if("),
    *("SELECT", "FROM", "UNION", "WHERE", "WITH", "VALUES", "EXISTS (", "COLUMNS(*)", "COLLATE"),
    *("INT", "VARCHAR", "random()", "count(*)", "sum(n)", "OVER ()", "unnest(items)", "TRY("),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetadataStore]:
    """ROWS as documents of two segments."""
    layout, table = Layout(tmp_path_factory.mktemp("filters") / "an.index"), _table()
    records = [
        write_segment(layout, f"s{i}", unit_rows(30), metadata=table.slice(30 * i, 30))
        for i in range(2)
    ]
    opened = MetadataStore(layout, commit(layout, records), filter_seconds=10)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def reference() -> Iterator[duckdb.DuckDBPyConnection]:
    """The same documents as a table of a connection that nothing has locked."""
    connection = duckdb.connect()
    own = [
        {"id": f"s{i // 30}-{i % 30}", "text": f"text {i % 30} of s{i // 30}"} for i in range(60)
    ]
    numbers = [{"__segment": i // 30, "__row": i % 30} for i in range(60)]
    table = pa.Table.from_pylist([a | b | c for a, b, c in zip(own, numbers, ROWS, strict=True)])
    connection.register("arrow", table)
    connection.execute("CREATE TABLE documents AS FROM arrow")
    yield connection
    connection.close()


def _table() -> pa.Table:
    return pa.Table.from_pylist(ROWS)


# --- conditions with their meaning ---


def compared(column: str, sign: str, value: Any, sql_value: str) -> Condition:
    """A comparison: unknown where the column is null."""
    signs: dict[str, Callable[[Any, Any], bool]] = {
        "=": lambda a, b: a == b,
        "<>": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
    }
    test = signs[sign]
    return (
        f"{column} {sign} {sql_value}",
        lambda row: None if row[column] is None else test(row[column], value),
    )


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def negated(inner: Condition) -> Condition:
    """NOT: unknown stays unknown."""
    sql, test = inner
    return f"NOT ({sql})", lambda row: None if (found := test(row)) is None else not found


def joined(left: Condition, word: str, right: Condition) -> Condition:
    """AND and OR, where an unknown side counts only if the other does not decide."""

    def test(row: Row) -> bool | None:
        found, deciding = (left[1](row), right[1](row)), word == "OR"
        if deciding in found:
            return deciding
        return None if None in found else not deciding

    return f"({left[0]}) {word} ({right[0]})", test


def chosen(test: Condition, yes: Condition, no: Condition) -> Condition:
    """CASE: what is unknown is not true."""
    return (
        f"CASE WHEN {test[0]} THEN {yes[0]} ELSE {no[0]} END",
        lambda row: yes[1](row) if test[1](row) else no[1](row),
    )


def among(values: list[int]) -> Condition:
    """A list of values."""
    return (
        f"n IN ({', '.join(map(str, values))})",
        lambda row: None if row["n"] is None else row["n"] in values,
    )


signs = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
numbers = st.integers(-6, 9)
simple: st.SearchStrategy[Condition] = st.one_of(
    st.builds(lambda sign, v: compared("n", sign, v, str(v)), signs, numbers),
    st.builds(
        lambda sign, v: compared("name", sign, v, text(v)),
        st.sampled_from(["=", "<>"]),
        st.sampled_from([*WORDS, "bank' OR 'a' = 'a"]),
    ),
    st.builds(among, st.lists(numbers, min_size=1, max_size=4)),
    st.sampled_from(["n", "name", "is it"]).map(
        lambda name: (f'"{name}" IS NULL', lambda row: row[name] is None)
    ),
    st.just(('"is it"', lambda row: row["is it"])),
    st.integers(0, 6).map(
        lambda k: (
            f"length(name) > {k}",
            lambda row: None if row["name"] is None else len(row["name"]) > k,
        )
    ),
    st.integers(0, 5).map(lambda k: (f"list_contains(items, {k})", lambda row: k in row["items"])),
    st.builds(
        lambda k, v: (f"coalesce(n, {k}) + {v} > 3", lambda row: _either(row["n"], k) + v > 3),
        numbers,
        numbers,
    ),
    st.sampled_from([("true", lambda row: True), ("NULL", lambda row: None)]),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(negated, inner),
        st.builds(joined, inner, st.sampled_from(["AND", "OR"]), inner),
        st.builds(chosen, inner, inner, inner),
    ),
    max_leaves=12,
)


def _either(value: int | None, other: int) -> int:
    return other if value is None else value


@settings(max_examples=300)
@given(condition=conditions)
def test_filters_mean_what_python_means(store: MetadataStore, condition: Condition) -> None:
    """A filter of the grammar allows the documents for which its meaning is true."""
    where, test = condition
    assert store.allowed_documents(where).tolist() == [test(row) is True for row in ROWS]


@settings(max_examples=800)
@given(where=st.lists(st.sampled_from(TOKENS), min_size=1, max_size=9).map(" ".join))
def test_token_soup(store: MetadataStore, reference: duckdb.DuckDBPyConnection, where: str) -> None:
    """Any sequence of SQL's tokens is refused, or allows what DuckDB itself finds."""
    _check(store, reference, where)


@settings(max_examples=300)
@given(
    base=conditions, place=st.floats(0, 1), token=st.sampled_from(TOKENS), n_cut=st.integers(0, 6)
)
def test_damaged_filters(
    store: MetadataStore,
    reference: duckdb.DuckDBPyConnection,
    base: Condition,
    place: float,
    token: str,
    n_cut: int,
) -> None:
    """A filter with a token put into it, or some characters cut out, is refused or right."""
    at = int(place * len(base[0]))
    _check(store, reference, f"{base[0][:at]} {token} {base[0][at + n_cut :]}")


@settings(max_examples=300)
@given(where=st.text(max_size=40) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")))
def test_random_characters(
    store: MetadataStore, reference: duckdb.DuckDBPyConnection, where: str
) -> None:
    """Any characters are refused, or allow what DuckDB itself finds."""
    _check(store, reference, where)


def _check(store: MetadataStore, reference: duckdb.DuckDBPyConnection, where: str) -> None:
    try:
        found = store.allowed_documents(where)
    except FilterError as error:
        assert "\n" not in str(error)
        return
    sql = f"SELECT __segment * 30 + __row FROM documents WHERE (\n{where}\n)"
    wanted = {number for (number,) in reference.execute(sql).fetchall()}
    assert set(found.nonzero()[0].tolist()) == wanted
