"""Searching from the command line: every format says what Python says."""

from __future__ import annotations

import base64
import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import Done, assert_refused, tree

from embedder.errors import RequestError
from jobs import Hit, open_index

Run = Callable[..., Done]
QUERIES = ["bank", "a river in spring", "größe"]
FIELDS = ["title", "year"]
CORE = ("query", "rank", "id", "passage", "start", "end")


@pytest.fixture(scope="module")
def hits(tiny_index: Path) -> list[Hit]:
    """What Python finds."""
    with open_index(tiny_index) as index:
        found = index.search_many(QUERIES, 4, where="lang = 'en'", fields=FIELDS)
    return [hit for row in found for hit in row]


@pytest.fixture
def search(run: Run, tiny_index: Path, tmp_path: Path) -> Callable[..., Done]:
    """Run `search` in the tiny index, which must go well without a word on stderr."""

    def search_it(*arguments: str | Path, **options: Any) -> Done:
        done = run("search", "--index", tiny_index, *arguments, cwd=tmp_path, **options)
        assert (done.returncode, done.stderr) == (0, "")
        return done

    return search_it


Search = Callable[..., Done]
ASKED = (*QUERIES, "-k", "4", "--where", "lang = 'en'", "--fields", ", ".join(FIELDS))


def core(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What identifies the hits."""
    return [tuple(row[name] for name in CORE) for row in rows]


def check(rows: list[dict[str, Any]], hits: list[Hit]) -> None:
    """Flat rows are these hits, with scores and metadata."""
    assert core(rows) == core([hit.to_json() for hit in hits])
    assert [row["score"] for row in rows] == pytest.approx([hit.score for hit in hits], abs=1e-6)
    assert [{name: row[name] for name in FIELDS} for row in rows] == [h.metadata for h in hits]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_is_what_python_finds(search: Search, hits: list[Hit], form: str) -> None:
    """JSON and JSON lines hold the hits of the Python API, value by value."""
    text = search(*ASKED, "--format", form).stdout
    found = json.loads(text) if form == "json" else [json.loads(x) for x in text.splitlines()]
    assert found == [hit.to_json() for hit in hits]


def test_csv_is_what_python_finds(search: Search, hits: list[Hit]) -> None:
    """CSV holds the hits with a column for each field."""
    rows: list[dict[str, Any]] = list(
        csv.DictReader(search(*ASKED, "--format", "csv").stdout.splitlines(keepends=True))
    )
    for row in rows:
        row.update({name: int(row[name]) for name in ("rank", "start", "end", "year")})
        row["score"] = float(row["score"])
    check(rows, hits)


def test_parquet_is_what_python_finds(search: Search, hits: list[Hit], tmp_path: Path) -> None:
    """Parquet holds the hits with typed columns."""
    search(*ASKED, "--out", "hits.parquet")
    table = pq.read_table(tmp_path / "hits.parquet")
    assert table.schema.field("score").type == pa.float32()
    assert table.schema.field("year").type == pa.int64()
    check(table.to_pylist(), hits)


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_out_holds_what_stdout_would(search: Search, tmp_path: Path, form: str) -> None:
    """--out takes its format from its ending, leaves stdout empty, and leaves nothing beside it."""
    shown = search(*ASKED, "--format", form).stdout
    ending = "txt" if form == "text" else form
    assert search(*ASKED, "--out", f"hits.{ending}").stdout == ""
    assert tree(tmp_path) == {f"hits.{ending}": (tmp_path / f"hits.{ending}").read_bytes()}
    written = (tmp_path / f"hits.{ending}").read_bytes().decode()
    assert written.replace("\r\n", "\n") == shown


def test_out_replaces_an_older_result(search: Search, tmp_path: Path) -> None:
    """--out replaces the file of an earlier search."""
    (tmp_path / "hits.json").write_text("x" * 100_000)
    search("bank", "-k", "1", "--out", "hits.json")
    assert len(json.loads((tmp_path / "hits.json").read_text())) == 1


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "ndjson", "txt", "queries", "-"])
def test_queries_from_files(search: Search, hits: list[Hit], tmp_path: Path, ending: str) -> None:
    """Queries from a file or stdin have the results of queries as arguments."""
    path, lines = tmp_path / f"q.{ending}", "\n".join(QUERIES) + "\n"
    stdin = None
    if ending == "parquet":
        pq.write_table(pa.table({"n": [1, 2, 3], "query": QUERIES}), path)
    elif ending in ("jsonl", "ndjson"):
        path.write_text("\n".join(json.dumps({"query": q, "n": 1}) for q in QUERIES))
    elif ending == "-":
        path, stdin = Path("-"), lines
    else:
        path.write_text(lines)
    done = search("--queries", path, *ASKED[len(QUERIES) :], "--format", "json", stdin=stdin)
    assert json.loads(done.stdout) == [hit.to_json() for hit in hits]


def test_a_named_column_of_queries(search: Search, tmp_path: Path) -> None:
    """--column names the field that holds the query, in JSON lines and in Parquet."""
    (tmp_path / "q.jsonl").write_text('{"query": "no", "q": "bank"}\n"bare"\n')
    pq.write_table(pa.table({"query": ["no", "no"], "q": ["bank", "bare"]}), tmp_path / "q.parquet")
    for name in ("q.jsonl", "q.parquet"):
        done = search("--queries", name, "--column", "q", "-k", "1", "--format", "json")
        assert [hit["query"] for hit in json.loads(done.stdout)] == ["bank", "bare"]


def test_blank_queries_of_a_file_are_left_out(run: Run, tiny_index: Path, tmp_path: Path) -> None:
    """Blank lines of a file of queries are left out and counted on stderr."""
    (tmp_path / "q.txt").write_text("bank\n\n  \nriver\n")
    done = run(
        "search", "--index", tiny_index, "--queries", tmp_path / "q.txt", "-k", "1", "--format=csv"
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert "2 blank queries" in done.stderr


def test_many_queries(search: Search, tmp_path: Path, short_texts: list[str]) -> None:
    """Six hundred queries, more than are answered at once, are all answered in order."""
    queries = short_texts[:600]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, queries)))
    done = search("--queries", "q.jsonl", "-k", "2", "--fields", "", "--format", "jsonl")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [hit["query"] for hit in found] == [query for query in queries for _ in range(2)]
    one = json.loads(search(queries[300], "-k", "2", "--fields", "", "--format", "json").stdout)
    assert found[600:602] == one


def test_text_names_rank_score_and_id_and_marks_a_sentence(demo_index: Path, run: Run) -> None:
    """Text shows each query, and rank, score, id and a marked sentence of each hit."""
    queries = ("a king and his wars", "how plants grow")
    arguments = ("--index", demo_index, "-k", "3")
    done = run("search", *queries, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(run("search", *queries, *arguments, "--format", "json").stdout)
    for query in queries:
        assert f"── {query}" in done.stdout
    for hit in found:
        assert f"{hit['rank']:>3}.  {hit['score']:.3f}  {hit['id']}" in done.stdout
    assert 0 < done.stdout.count("»") == done.stdout.count("«") <= 6
    marked = " ".join(done.stdout.split()).partition("»")[2].partition("«")[0]
    assert any(marked in " ".join(hit["passage"].split()) for hit in found)
    assert "\x1b" not in done.stdout


def test_python_finds_the_sentence(demo_index: Path) -> None:
    """The marked sentence is a span of the passage, and the passage one of the document."""
    with open_index(demo_index) as index:
        for hit in index.search("a king and his wars", 5, with_sentences=True):
            assert hit.sentence is not None
            assert 0 <= hit.sentence[0] < hit.sentence[1] <= len(hit.passage)
            assert hit.end - hit.start == len(hit.passage)


def test_more_than_there_is(search: Search) -> None:
    """-k beyond the corpus returns every document once."""
    found = json.loads(search("bank", "-k", "100000", "--format", "json").stdout)
    assert len(found) == len({hit["id"] for hit in found}) == 300
    assert [hit["rank"] for hit in found] == list(range(1, 301))


@pytest.mark.parametrize(
    ("form", "wanted"), [("text", ""), ("json", "[]\n"), ("jsonl", ""), ("csv", None)]
)
def test_no_hits(run: Run, tiny_index: Path, form: str, wanted: str | None) -> None:
    """A filter that nothing satisfies gives an empty result that is valid in its format, and
    says why on stderr."""
    done = run("search", "--index", tiny_index, "bank", "--where", "year < 0", "--format", form)
    text = done.stdout
    assert (done.returncode, done.stderr) == (
        0,
        "nothing found: no document passes the filter\n",
    )
    header = "query,rank,score,id,passage,start,end,sense,title,url,year,lang\n"
    assert text == (header if wanted is None else wanted)


def test_a_query_that_is_cut_off_is_counted(run: Run, tiny_index: Path) -> None:
    """A query longer than the model reads is answered by its beginning, and that is said."""
    done = run("search", "--index", tiny_index, "bank " * 2000, "water", "-k", "1")
    assert done.returncode == 0
    assert done.stderr.endswith("whose ends were not read: 1\n")


def test_plans_are_for_whom_the_answers_are_for(run: Run, tiny_index: Path, tmp_path: Path) -> None:
    """A file for programs brings plans for programs, whatever names its format."""
    asked = ("bank", "--explain-plan", "--out", tmp_path / "x.jsonl")
    done = run("search", "--index", tiny_index, *asked)
    assert "n_allowed" in json.loads(done.stderr.splitlines()[0])


@pytest.mark.parametrize(
    "command", ["info", "verify", "compact", "export --out x.npy", "delete --where true"]
)
def test_one_index_is_named(run: Run, tiny_index: Path, tmp_path: Path, command: str) -> None:
    """Two that differ are refused; one of the environment gives way."""
    done = run(*command.split(), tmp_path / "other.index", "--index", tiny_index)
    assert_refused(done, "other.index", "tiny")
    env = {"EMBEDDER_INDEX": str(tmp_path / "other.index")}
    assert run("info", tiny_index, env=env).returncode == 0


def test_the_environment_sets_options(search: Search) -> None:
    """EMBEDDER_SEARCH_K and its like set options, and the command line wins over them."""
    env = {"EMBEDDER_SEARCH_K": "3", "EMBEDDER_SEARCH_FORMAT": "json"}
    assert len(json.loads(search("bank", env=env).stdout)) == 3
    assert len(json.loads(search("bank", "-k", "2", env=env).stdout)) == 2


@pytest.mark.parametrize("n_lines", [0, 1])
@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
@pytest.mark.parametrize("k", ["1", "300"])
def test_a_reader_that_goes_away(tiny_index: Path, form: str, k: str, n_lines: int) -> None:
    """When the reader of the output goes away, as `head` does, the search ends without a word."""
    command = [sys.executable, "-m", "jobs", "search", "--index", str(tiny_index), "bank"]
    command += ["-k", k, "--format", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as searching:
        assert searching.stdout is not None
        assert searching.stderr is not None
        for _ in range(n_lines):
            searching.stdout.readline()
        searching.stdout.close()
        assert searching.stderr.read() == b""
    assert searching.returncode == 0


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_a_full_stdout(tiny_index: Path, form: str) -> None:
    """When stdout is on a full disk, the search fails with one line."""
    command = [sys.executable, "-m", "jobs", "search", "--index", str(tiny_index), "bank"]
    with open(os.devnull.replace("null", "full"), "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [*command, "--format", form],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("Error: ")


def test_any_locale(run: Run, tiny_index: Path) -> None:
    """Output is UTF-8 whatever the locale says."""
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("search", "größe", "--index", tiny_index, "-k", "1", env=env)
    assert done.returncode == 0, done.stderr
    assert "── größe" in done.stdout


def test_values_of_every_kind_round_trip(tiny_model: Path, run: Run, tmp_path: Path) -> None:
    """In CSV and JSON a nested value is JSON, with nulls as such, and bytes are in base64."""
    values: dict[str, Any] = {
        "names": ["x; y", "z", None],
        "pair": {"a": [1, None], "b": "q"},
        "raw": b"\x03\x00\xff",
    }
    table = pa.table(
        {"id": ["1"], "text": ["the bank of a river"], **{k: [v] for k, v in values.items()}}
    )
    pq.write_table(table, tmp_path / "kinds.parquet")
    built = run(
        "index", tmp_path / "kinds.parquet", "--model", tiny_model, "--out", "k.index", cwd=tmp_path
    )
    assert built.returncode == 0, built.stderr
    for form in ("csv", "jsonl"):
        done = run("search", "--index", "k.index", "bank", "--format", form, cwd=tmp_path)
        if form == "csv":
            [row] = csv.DictReader(done.stdout.splitlines())
            found = {k: row[k] if k == "raw" else json.loads(row[k]) for k in values}
        else:
            found = {k: json.loads(done.stdout)["metadata"][k] for k in values}
        assert base64.b64decode(found["raw"]) == values["raw"]
        assert {k: found[k] for k in ("names", "pair")} == {k: values[k] for k in ("names", "pair")}


def test_what_python_is_asked_is_checked(tiny_index: Path) -> None:
    """A query that is no text, and an option that there is none of, are refused."""
    with open_index(tiny_index) as index:
        for query in (5, None, ["a", "b"]):
            with pytest.raises(RequestError, match="text is wanted"):
                index.search(query)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"no option 'senses'; there are: .*with_senses"):
            index.search("bank", senses=False)  # type: ignore[call-arg]
