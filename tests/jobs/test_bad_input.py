"""Bad input: one line that says what is wrong, no traceback, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import Done, assert_refused, tree, write_corpus
from models import make_model
from tiny_heads import make_head

from indexes.manifest import FORMAT

Run = Callable[..., Done]


@pytest.fixture
def copy(tiny_index: Path, tmp_path: Path) -> Path:
    """A copy of the tiny index that may be damaged."""
    return Path(shutil.copytree(tiny_index, tmp_path / "copy.index"))


@pytest.fixture
def refuse_index(run: Run, tmp_path: Path, tiny_model: Path) -> Callable[..., Done]:
    """Run `index`, which must fail with one line, and leave nothing."""

    def refuse(source: str | Path, *arguments: str | Path, words: tuple[str, ...]) -> Done:
        out = tmp_path / "out.index"
        model = () if "--model" in arguments else ("--model", tiny_model)
        done = run("index", source, "--out", out, *model, *arguments, "-q")
        assert_refused(done, *words)
        assert not out.exists()
        return done

    return refuse


@pytest.fixture
def refuse_search(run: Run, tiny_index: Path, tmp_path: Path) -> Callable[..., Done]:
    """Run `search` in the tiny index, which must fail with one line."""

    def refuse(
        *arguments: str | Path, words: tuple[str, ...] = (), stdin: str | None = None
    ) -> Done:
        done = run("search", "--index", tiny_index, *arguments, cwd=tmp_path, stdin=stdin)
        assert_refused(done, *words)
        return done

    return refuse


Refuse = Callable[..., Done]


# --- sources ---


def test_a_missing_source(refuse_index: Refuse, tmp_path: Path) -> None:
    """A source that is not there is named."""
    refuse_index(tmp_path / "nowhere.parquet", words=("nowhere.parquet", "There is no file"))
    refuse_index(tmp_path / "*.parquet", words=("*.parquet", "No file matches"))
    refuse_index("", words=("an empty name",))


def test_a_folder_without_parquet(refuse_index: Refuse, tmp_path: Path) -> None:
    """A folder without Parquet files is refused with the endings that are looked for."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.csv").write_text("text\nx\n")
    refuse_index(tmp_path / "empty", words=("empty", "no Parquet files", ".parquet"))


@pytest.mark.parametrize("content", [b"id,text\n1,one\n", b"", b"PAR1", b"PAR1" + b"x" * 99])
def test_no_parquet(refuse_index: Refuse, tmp_path: Path, content: bytes) -> None:
    """A file that is called Parquet and is none is named."""
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    refuse_index(path, words=("a.parquet cannot be read as Parquet",))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file(
    refuse_index: Refuse, tmp_path: Path, small_corpus: Path, share: float
) -> None:
    """A Parquet file whose end is missing is named."""
    path = tmp_path / "cut.parquet"
    content = small_corpus.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refuse_index(path, words=("cut.parquet cannot be read as Parquet",))


def test_damaged_pages(run: Run, tmp_path: Path, short_texts: list[str], tiny_model: Path) -> None:
    """A Parquet file whose footer is whole and whose pages are not is named with the row group."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:200])
    column = pq.ParquetFile(path).metadata.row_group(2).column(1)
    content = bytearray(path.read_bytes())
    first = column.dictionary_page_offset or column.data_page_offset
    content[first : first + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    out = tmp_path / "out.index"
    done = run("index", path, "--out", out, "--model", tiny_model, "-q")
    assert_refused(done, "a.parquet", "row group 2")


def test_a_missing_column(refuse_index: Refuse, small_corpus: Path) -> None:
    """A column that is not there is refused with those that are."""
    for option in ("--text", "--id", "--metadata"):
        refuse_index(small_corpus, option, "nope", words=("'nope'", "title", option))


def test_a_numeric_text_column(refuse_index: Refuse, small_corpus: Path) -> None:
    """A text column of numbers is refused with its type and the columns that hold text."""
    refuse_index(small_corpus, "--text", "year", words=("int64", "--text", "title"))


def test_no_text_column(refuse_index: Refuse, tmp_path: Path) -> None:
    """A file without a text column is refused with the columns that it has."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [1], "m": [0.5]}), path)
    refuse_index(path, words=("no text column", "n (int64)", "m (double)"))


def test_several_text_columns(refuse_index: Refuse, tmp_path: Path) -> None:
    """Several text columns none of which has a telling name are listed."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"left": ["x"], "right": ["y"]}), path)
    refuse_index(path, words=("several text columns: left, right", "--text"))


def test_zero_rows(refuse_index: Refuse, tmp_path: Path) -> None:
    """A file without rows is refused."""
    refuse_index(write_corpus(tmp_path / "a.parquet", []), words=("a.parquet has no rows",))


def test_no_text_at_all(refuse_index: Refuse, tmp_path: Path) -> None:
    """A text column that is null or blank throughout is refused."""
    path = write_corpus(tmp_path / "a.parquet", [None, "", "  "] * 40)
    refuse_index(path, words=("'text'", "null or blank"))


@pytest.mark.parametrize("name", ["__id", "__TEXT", "__row"])
def test_a_reserved_column(refuse_index: Refuse, tmp_path: Path, name: str) -> None:
    """A metadata column with one of our own names is refused."""
    path = write_corpus(tmp_path / "a.parquet", ["x"], **{name: [1]})
    refuse_index(path, words=(repr(name), "reserved", "--metadata"))


def test_columns_that_differ_in_case(refuse_index: Refuse, tmp_path: Path) -> None:
    """Metadata columns that SQL cannot tell apart are refused."""
    path = write_corpus(tmp_path / "a.parquet", ["x"], Year=[1], year=[2])
    refuse_index(path, words=("'Year'", "'year'"))
    first = write_corpus(tmp_path / "first.parquet", ["x"])
    refuse_index(first, path, words=("a.parquet", "'Year'", "'year'"))


def test_a_file_name_that_is_no_text(tmp_path: Path, small_corpus: Path, tiny_model: Path) -> None:
    """A source whose name is not UTF-8 is indexed or refused, without a traceback."""
    source = os.fsencode(tmp_path) + b"/\xff.parquet"
    shutil.copy(small_corpus, source)
    out = os.fsencode(tmp_path / "out.index")
    model = os.fsencode(tiny_model)
    command = [sys.executable, "-m", "jobs", "index", source, "--out", out, "--model", model, "-q"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.returncode in (0, 1)


# --- output ---


def test_output_below_a_file(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path
) -> None:
    """An output folder below a regular file is refused, and the file stays."""
    (tmp_path / "file").write_text("content")
    out = tmp_path / "file" / "out.index"
    done = run("index", small_corpus, "--out", out, "--model", tiny_model, "-q")
    assert_refused(done, "out.index", "another folder")
    assert tree(tmp_path) == {"file": b"content"}


def test_output_is_a_file(run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path) -> None:
    """An output that is a file is refused, and the file stays."""
    (tmp_path / "file").write_text("content")
    done = run("index", small_corpus, "--out", tmp_path / "file", "--model", tiny_model, "-q")
    assert_refused(done, "is a file", "--out")
    assert tree(tmp_path) == {"file": b"content"}


@pytest.mark.parametrize("name", ["notes.txt", "ann/x", "segments.txt", ".hidden"])
def test_output_holds_something_else(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path, name: str
) -> None:
    """A folder that holds something else is refused, and stays as it is."""
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("precious")
    done = run("index", small_corpus, "--out", tmp_path / "out", "--model", tiny_model, "-q")
    assert_refused(done, "something else", "--out")
    assert tree(tmp_path) == {f"out/{name}": b"precious"}


def test_output_holds_another_programs_files(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path
) -> None:
    """Files of others under names like ours are never removed."""
    precious = {"segments/precious.txt": b"1", ".tmp-precious/a": b"2"}
    for name, content in precious.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True)
        (tmp_path / "out" / name).write_bytes(content)
    run("index", small_corpus, "--out", tmp_path / "out", "--model", tiny_model, "-q")
    there = tree(tmp_path / "out")
    assert {name: there.get(name) for name in precious} == precious


def test_too_little_memory_is_refused_before_anything_is_encoded(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path
) -> None:
    """A --memory in which no structure can be built is refused at once, in the user's own unit."""
    arguments = ("index", small_corpus, "--out", tmp_path / "out", "--model", tiny_model)
    for more in (["-q"], ["--dry-run"]):
        done = run(*arguments, "--memory", "1M", *more)
        lines = [x for x in done.stderr.splitlines() if x != "opening"]
        assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), done.stderr
        assert "300 vectors of 32 components" in lines[0]
        assert "and 1 MiB are allowed" in lines[0]
    assert not (tmp_path / "out").exists()
    least = lines[0].rpartition("--memory ")[2].partition(" ")[0]
    assert run(*arguments, "--memory", least, "-q").returncode == 0


# --- indexes ---


def test_an_index_of_a_newer_format(run: Run, copy: Path, small_corpus: Path) -> None:
    """An index of a newer format is refused by every command and left as it is."""
    content = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**content, "format": FORMAT + 1}))
    before = tree(copy)
    words = (f"format {FORMAT + 1}", f"format {FORMAT}")
    assert_refused(run("index", small_corpus, "--out", copy, "-q"), *words)
    assert_refused(run("search", "x", "--index", copy), *words)
    assert_refused(run("info", copy), *words)
    assert tree(copy) == before


def test_a_damaged_manifest(run: Run, copy: Path, small_corpus: Path) -> None:
    """A manifest that was cut off is refused by every command and left as it is."""
    path = copy / "manifest.json"
    path.write_bytes(path.read_bytes()[:-100])
    before = tree(copy)
    for arguments in (
        ("index", small_corpus, "--out", copy, "-q"),
        ("search", "x", "--index", copy),
        ("info", copy),
    ):
        assert_refused(run(*arguments), "manifest.json is damaged", f"Remove {copy} and")
    assert tree(copy) == before


@pytest.mark.parametrize("name", ["vectors.npy", "documents.parquet", "passages.parquet"])
def test_a_missing_or_cut_segment_file(run: Run, copy: Path, name: str) -> None:
    """A segment's file that is cut off or gone is named, with what restores it."""
    path = next((copy / "segments").glob(f"*/{name}"))
    path.write_bytes(path.read_bytes()[:-1])
    assert_refused(run("search", "x", "--index", copy), name, "embedder index")
    path.unlink()
    assert_refused(run("search", "x", "--index", copy), name, "is missing", "embedder index")
    assert_refused(run("info", copy), name, "is missing")


@pytest.mark.parametrize(
    "name", ["vectors.npy", "documents.parquet", "passages.parquet", "index.faiss"]
)
def test_a_file_of_other_content(run: Run, copy: Path, name: str) -> None:
    """A file that has its size and other content ends in one line or in results."""
    for path in copy.rglob(name):
        path.write_bytes(b"\xaa" * path.stat().st_size)
    done = run("search", "x", "--index", copy)
    assert_refused(done, "damaged")


def test_no_index_here(run: Run, tmp_path: Path) -> None:
    """In a folder without an index, search and info say how to name or build one."""
    for arguments in (("search", "x"), ("info",)):
        done = run(*arguments, cwd=tmp_path)
        assert_refused(done, str(tmp_path), "--index", "embedder index")
        assert done.returncode == 2


def test_several_indexes_here(run: Run, tmp_path: Path, tiny_index: Path) -> None:
    """In a folder with several indexes they are listed, and EMBEDDER_INDEX names one."""
    for name in ("a.index", "b.index"):
        shutil.copytree(tiny_index, tmp_path / name)
    done = run("search", "x", cwd=tmp_path)
    assert_refused(done, "a.index, b.index", "--index")
    named = run("search", "x", cwd=tmp_path, env={"EMBEDDER_INDEX": "b.index"})
    assert named.returncode == 0, named.stderr
    assert "b.index" in run("info", cwd=tmp_path, env={"EMBEDDER_INDEX": "b.index"}).stdout
    gone = run("search", "x", cwd=tmp_path, env={"EMBEDDER_INDEX": "c.index"})
    assert_refused(gone, "no index at c.index")


def test_the_model_has_changed(run: Run, tmp_path: Path, copy: Path, tiny_model: Path) -> None:
    """Another model than the index was built with is refused, with how to rebuild."""
    other = make_model(tmp_path / "other", seed=5)
    done = run("search", "x", "--index", copy, "--model", other)
    assert_refused(done, "weights", "embedder index", f"--model {other}")
    assert done.returncode == 2
    assert run("search", "x", "--index", copy, "--model", tiny_model).returncode == 0


def test_the_model_has_gone(
    run: Run, tmp_path: Path, tiny_model: Path, short_texts: list[str]
) -> None:
    """An index whose model is not where it was says which one, and --model finds it."""
    moved = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    path = write_corpus(tmp_path / "a.parquet", short_texts[:5])
    out = tmp_path / "out.index"
    assert run("index", path, "--out", out, "--model", moved, "-q").returncode == 0
    moved.rename(tmp_path / "elsewhere")
    assert_refused(run("search", "x", "--index", out), str(moved), "--model")
    found = run("search", "x", "--index", out, "--model", tmp_path / "elsewhere")
    assert found.returncode == 0, found.stderr


# --- models ---


def test_a_head_is_no_encoder(run: Run, tmp_path: Path, short_texts: list[str]) -> None:
    """A folder that was trained to answer is refused as the model of an index."""
    head = make_head(tmp_path / "head")
    path = write_corpus(tmp_path / "a.parquet", short_texts[:5])
    done = run("index", path, "--out", tmp_path / "out.index", "--model", head, "-q")
    assert_refused(done, "is a head", "embedder predict")
    assert not (tmp_path / "out.index").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.safetensors", ("model.safetensors", "found none")),
        ("tokenizer.json", ("tokenizer.json",)),
        ("config.json", ("no config.json",)),
    ],
)
def test_a_model_folder_that_lacks_a_file(
    refuse_index: Refuse,
    tmp_path: Path,
    small_corpus: Path,
    tiny_model: Path,
    name: str,
    words: tuple[str, ...],
) -> None:
    """A model folder without weights, tokenizer or configuration is refused by that name."""
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (model / name).unlink()
    refuse_index(small_corpus, "--model", model, words=words)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"{}", b"[]"])
def test_a_model_folder_with_a_damaged_file(
    refuse_index: Refuse,
    tmp_path: Path,
    small_corpus: Path,
    tiny_model: Path,
    name: str,
    content: bytes,
) -> None:
    """A model folder with a damaged file is refused in one line."""
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (model / name).write_bytes(content)
    refuse_index(small_corpus, "--model", model, words=("model",))


def test_pickled_weights(
    refuse_index: Refuse, tmp_path: Path, small_corpus: Path, tiny_model: Path
) -> None:
    """A model folder with pickled weights only is refused, and says how to convert them."""
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    words = ("pytorch_model.bin", "never loaded", "save_pretrained")
    refuse_index(small_corpus, "--model", model, words=words)


def test_a_missing_model_folder(refuse_index: Refuse, tmp_path: Path, small_corpus: Path) -> None:
    """A model folder that is not there is named."""
    for name in (tmp_path / "nowhere", "./nowhere"):
        refuse_index(small_corpus, "--model", name, words=("no model folder", "nowhere"))


def test_a_hub_name_without_a_network(run: Run, tmp_path: Path, small_corpus: Path) -> None:
    """A name on the hub that is not on disk is refused offline, and says what to do."""
    out = tmp_path / "out.index"
    arguments = ("index", small_corpus, "--out", out, "--model", "some-one/some-model", "-q")
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    assert_refused(run(*arguments, env=offline), "some-one/some-model", "--model")
    assert not out.exists()


# --- options ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stride", "1000"], ("stride of 1000", "--stride")),
        (["--window", "5000"], ("5000", "--window")),
        (["--layers", "50"], ("50 layers", "--layers")),
        (["--precision", "int8", "--engine", "torch"], ("int8",)),
        (["--device", "nonsense"], ("nonsense",)),
        (["--device", "nonsense", "--engine", "torch"], ("nonsense",)),
        (["--device", "cuda:99", "--engine", "torch"], ("cuda",)),
        (["--device", "cuda", "--engine", "openvino"], ("--device cuda", "--engine torch")),
    ],
)
def test_bad_options(
    refuse_index: Refuse, small_corpus: Path, arguments: list[str], words: tuple[str, ...]
) -> None:
    """An option that does not fit the model or the machine is refused."""
    refuse_index(small_corpus, *arguments, words=words)


@pytest.mark.parametrize(
    "arguments",
    [
        ["index"],
        ["index", "x.parquet", "--stride", "0"],
        ["index", "x.parquet", "--precision", "fp64"],
        ["index", "x.parquet", "--nope"],
        ["search", "x", "-k", "0"],
        ["search", "x", "-k", "many"],
        ["search", "x", "--format", "xml"],
        ["nope"],
    ],
)
def test_usage_errors(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    """A command that cannot be parsed ends with 2 and a last line that says why."""
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- queries ---


def test_no_query(refuse_search: Refuse) -> None:
    """A search without a query shows an example."""
    refuse_search(words=("No query", "embedder search"))


@pytest.mark.parametrize("query", ["", " ", "\n\t"])
def test_an_empty_query(refuse_search: Refuse, query: str) -> None:
    """An empty query is refused by its number."""
    refuse_search("bank", query, words=("Query 2 is empty",))


def test_queries_twice(refuse_search: Refuse, tmp_path: Path) -> None:
    """Queries as arguments and in a file are refused together."""
    (tmp_path / "q.txt").write_text("x\n")
    refuse_search("bank", "--queries", "q.txt", words=("--queries",))
    refuse_search("bank", "--column", "query", words=("--column is of a Parquet",))


@pytest.mark.parametrize("name", ["q.txt", "q.jsonl", "q.parquet"])
def test_a_missing_queries_file(refuse_search: Refuse, name: str) -> None:
    """A file of queries that is not there is named."""
    refuse_search("--queries", name, words=(name,))


@pytest.mark.parametrize("name", ["q.txt", "q.jsonl", "q.parquet"])
def test_a_binary_queries_file(refuse_search: Refuse, tmp_path: Path, name: str) -> None:
    """A file of queries that holds something else is named."""
    (tmp_path / name).write_bytes(bytes(range(256)))
    refuse_search("--queries", name, words=(name,))


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "nonsense",
        "3",
        "null",
        "[]",
        '{"other": "x"}',
        '{"query": 3}',
        "[" * 100_000,
        '{"query": "\\ud800"}',
        '"\\ud800"',
        "9" * 5000,
    ],
    ids=lambda line: line[:16],
)
def test_a_bad_json_line(refuse_search: Refuse, tmp_path: Path, line: str) -> None:
    """A line of a JSON lines file that holds no query is named by its number."""
    (tmp_path / "q.jsonl").write_text(f'{{"query": "fine"}}\n\n{line}\n')
    refuse_search("--queries", "q.jsonl", words=("q.jsonl, line 3",))


def test_a_missing_query_column(refuse_search: Refuse, tmp_path: Path) -> None:
    """A column of queries that is not there is refused."""
    write_corpus(tmp_path / "q.parquet", ["x"])
    refuse_search("--queries", "q.parquet", "--column", "nope", words=("'nope'", "Give --column"))
    pq.write_table(pa.table({"one": ["x"], "two": ["y"]}), tmp_path / "r.parquet")
    refuse_search("--queries", "r.parquet", words=("one, two", "as in: --column one"))
    (tmp_path / "q.jsonl").write_text('{"query": "x"}\n')
    refuse_search("--queries", "q.jsonl", "--column", "nope", words=("nope", "line 1"))


@pytest.mark.parametrize("is_stdin", [False, True])
def test_queries_that_are_no_text(tiny_index: Path, is_stdin: bool) -> None:
    """A query of bytes that are not UTF-8 is refused in one line, as an argument and on stdin."""
    command: list[str | bytes] = [sys.executable, "-m", "jobs", "search"]
    command += ["--index", str(tiny_index)]
    command += ["--queries", "-"] if is_stdin else [b"caf\xe9"]
    done = subprocess.run(command, input=b"caf\xe9\n", capture_output=True, check=False)
    texts = (done.stdout.decode(), done.stderr.decode(errors="replace"))
    assert_refused(subprocess.CompletedProcess(command, done.returncode, *texts), "UTF-8")


@pytest.mark.parametrize(
    "where",
    [
        "nope = 1",
        "year >",
        "year; DROP TABLE x",
        "year IN (SELECT 1)",
        "",
        "true) UNION SELECT 0, (1",
    ],
)
def test_a_bad_filter(refuse_search: Refuse, where: str) -> None:
    """A filter that is no expression over the columns is refused, in whole sentences."""
    done = refuse_search("bank", "--where", where, words=("filter",))
    assert re.search(
        r"[.!?] (For example: --where|It can use the columns|Name columns) ", done.stderr
    )


def test_fields_that_are_no_line_of_csv(run: Run, tiny_index: Path) -> None:
    """A quote that is not closed is a wrong usage, with an example."""
    done = run("search", "x", "--index", tiny_index, "--fields", '"title')
    assert done.returncode == 2
    assert 'title,"a, b"' in done.stderr.replace("\n", " ")


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_an_unknown_field(refuse_search: Refuse, form: str) -> None:
    """A field that is not in the index is refused with those that are, in every format."""
    words = ("'nope'", "title, url, year, lang", "--fields")
    refuse_search("bank", "--fields", "year,nope", "--format", form, words=words)
    filtered = ("--where", "year < 0", "--fields", "nope", "--format", form)
    refuse_search("bank", *filtered, words=words)


def test_an_unknown_field_for_parquet(refuse_search: Refuse, tmp_path: Path) -> None:
    """A field that is not in the index is refused before a Parquet file is begun."""
    out = tmp_path / "hits.parquet"
    refuse_search("bank", "--fields", "nope", "--out", out, words=("'nope'", "--fields"))
    assert list(tmp_path.iterdir()) == []


def test_parquet_to_the_screen(refuse_search: Refuse) -> None:
    """Parquet without a file to put it in is refused."""
    refuse_search("bank", "--format", "parquet", words=("--out",))


@pytest.mark.parametrize(
    "out", ["file/x.json", "nowhere/x.csv", "folder", ".", "/", "nowhere/x.parquet"]
)
def test_results_that_cannot_be_written(refuse_search: Refuse, tmp_path: Path, out: str) -> None:
    """An output file that cannot be made is refused by name, and nothing is left."""
    (tmp_path / "file").write_text("content")
    (tmp_path / "folder").mkdir()
    refuse_search("bank", "--out", out, words=(f"{out} cannot be written",))
    assert tree(tmp_path) == {"file": b"content"}


def test_an_old_result_survives_a_failure(refuse_search: Refuse, tmp_path: Path) -> None:
    """A search that fails leaves the file of an earlier one as it was."""
    (tmp_path / "hits.json").write_text("old")
    refuse_search("bank", "--where", "nope", "--out", "hits.json")
    assert tree(tmp_path) == {"hits.json": b"old"}


def test_traceback_is_for_those_who_ask(run: Run, tmp_path: Path) -> None:
    """With --traceback an error shows where it came from."""
    done = run("--traceback", "info", tmp_path / "nowhere")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "IndexNotFoundError" in done.stderr
