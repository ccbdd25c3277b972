"""Damaged query files: queries, or one clear error."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mutations import damaged

from embedder.errors import EmbedderError, SourceError
from jobs.queries import QUERY_NAMES, read_queries

TEXTS = ["river bank", "größe", "名前 😀", "a\tb", "  spaced  ", "", "\\", '"quoted"', "x" * 300]
LINES = [
    *TEXTS,
    *({name: text} for name, text in zip(QUERY_NAMES * 3, TEXTS, strict=True)),
    {"id": 7, "query": "with more", "deep": [[{"query": None}]]},
]
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*QUERY_NAMES, "id"]), inner),
    max_leaves=5,
)


def queries_of(path: Path, column: str | None = None) -> list[str] | None:
    """The queries of a file, None if it is refused as it should be."""
    try:
        return list(read_queries(str(path), column))
    except EmbedderError as error:
        assert "\n" not in str(error)
        assert path.name in str(error)
        return None


@pytest.mark.parametrize("ending", [".txt", ".jsonl"])
def test_damaged_files(tmp_path: Path, ending: str) -> None:
    """Thousands of damaged files each give queries without blank ones, or an error of ours."""
    lines = TEXTS if ending == ".txt" else [json.dumps(x, ensure_ascii=False) for x in LINES]
    whole, path = "\n".join(lines).encode(), tmp_path / f"queries{ending}"
    n_refused = 0
    for seed in range(2000):
        path.write_bytes(damaged(whole, [whole, bytes(range(256))], seed))
        found = queries_of(path, "query" if seed % 5 == 0 else None)
        assert found is None or all(query.strip() == query != "" for query in found), seed
        n_refused += found is None
    assert 200 < n_refused < 1950


@same_folder
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(content="\ufeffas some editors begin a file".encode())
@example(content=b"\xef")
def test_lines_of_text(tmp_path: Path, content: bytes) -> None:
    """A file of text holds its lines that are not blank; one that is not UTF-8 is refused."""
    path = tmp_path / "queries.txt"
    path.write_bytes(content)
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        with pytest.raises(SourceError, match="UTF-8"):
            list(read_queries(str(path)))
        return
    lines = [line.strip() for line in io.StringIO(text, newline=None)]
    assert queries_of(path) == [line for line in lines if line]


@same_folder
@given(value=json_values)
def test_lines_of_json(tmp_path: Path, value: Any) -> None:
    """A JSON line is a text or an object with one; anything else is refused."""
    path = tmp_path / "queries.jsonl"
    path.write_text(json.dumps(value) + "\n")
    wanted = value
    if isinstance(value, dict):
        wanted = next((value[name] for name in QUERY_NAMES if name in value), None)
    if not isinstance(wanted, str) or any("\ud800" <= c <= "\udfff" for c in wanted):
        assert queries_of(path) is None
    else:
        assert queries_of(path) == [wanted.strip()] * bool(wanted.strip())


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".parquet", ".pq", ".ndjson", ""])
def test_no_queries_at_all(tmp_path: Path, ending: str) -> None:
    """A file of zeros, or an empty one, is refused or holds no queries."""
    path = tmp_path / f"queries{ending}"
    for content in (b"", b"\0" * 100, b"\n\n\n", b"\xff\xfe\0\0", b"PAR1"):
        path.write_bytes(content)
        found = queries_of(path)
        assert found in (None, [], ["\0" * 100], ["PAR1"]), content


def test_deep_json(tmp_path: Path) -> None:
    """A line with a hundred thousand levels is refused."""
    path = tmp_path / "queries.jsonl"
    path.write_text("[" * 100_000 + "]" * 100_000)
    assert queries_of(path) is None
