"""Building: done once, resumed without a trace, and never half done."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import (
    Done,
    Tree,
    assert_refused,
    count_entries,
    run_with_file_limit,
    start,
    state,
    stored,
    summary,
    tree,
    wait_until,
    write_corpus,
)
from models import make_model

from indexes.layout import Layout
from indexes.manifest_file import read_manifest

Run = Callable[..., Done]
Build = Callable[..., dict[str, Any]]


@pytest.fixture
def build(run: Run, tiny_model: Path, tmp_path: Path) -> Build:
    """Run `index` with the tiny model into `tmp_path / "an.index"`; the summary."""

    def build_it(*arguments: str | Path) -> dict[str, Any]:
        out = tmp_path / "an.index"
        arguments = (*arguments, "--out", out, "--model", tiny_model, "--format", "json")
        return summary(run("index", *arguments))

    return build_it


# --- done once ---


def test_a_second_run_does_nothing(
    run: Run, tiny_index: Path, small_corpus: Path, tmp_path: Path
) -> None:
    """Indexing again changes no byte, succeeds, and says that the index is up to date."""
    out = Path(shutil.copytree(tiny_index, tmp_path / "an.index"))
    before = tree(out)
    done = run("index", small_corpus, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "Up to date." in done.stdout + done.stderr
    assert tree(out) == before
    assert summary(run("index", small_corpus, "--out", out, "--format", "json"))["up_to_date"]


def test_two_builds_are_byte_identical(
    run: Run, tiny_index: Path, tiny_model: Path, small_corpus: Path, tmp_path: Path
) -> None:
    """The same sources and model give the same index, byte for byte, in another folder."""
    out = tmp_path / "other.index"
    done = run("index", small_corpus, "--out", out, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert tree(out) == tree(tiny_index)


def test_identical_texts_are_encoded_once(
    build: Build, tmp_path: Path, short_texts: list[str]
) -> None:
    """A text that occurs several times, in one file or in two, has one vector, made once."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:100] + short_texts[:30])
    second = write_corpus(tmp_path / "b.parquet", short_texts[50:120])
    done = build(first, second)
    assert (done["n_passages"], done["n_encoded"], done["n_reused"]) == (200, 120, 80)
    vectors: dict[str, list[Any]] = {}
    for _, text, vector in stored(tmp_path / "an.index"):
        vectors.setdefault(text, []).append(vector)
    assert len(vectors) == 120
    assert all(found == found[:1] * len(found) for found in vectors.values())


def test_texts_that_words_are_looked_at_in_are_encoded_once(
    build: Build, tmp_path: Path, short_texts: list[str]
) -> None:
    """Those that senses rest on are encoded before the others, and not again with them."""
    done = build(write_corpus(tmp_path / "a.parquet", short_texts[:100]))
    assert done["n_tokens"] == read_manifest(Layout(tmp_path / "an.index")).n_tokens


def test_texts_of_an_earlier_run_are_not_encoded_again(
    build: Build, tmp_path: Path, short_texts: list[str]
) -> None:
    """What an earlier run encoded is reused by the next, and the result is that of one run; but
    for senses, which rest on the first sources and keep their names."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:100])
    second = write_corpus(tmp_path / "b.parquet", short_texts[50:120])
    build(first, "--no-senses")
    done = build(first, second)
    assert (done["n_added"], done["n_encoded"], done["n_reused"]) == (70, 20, 50)
    in_two = state(tmp_path / "an.index")
    shutil.rmtree(tmp_path / "an.index")
    build(first, second, "--no-senses")
    assert state(tmp_path / "an.index") == in_two


def test_only_a_changed_row_group_is_encoded(
    build: Build, tmp_path: Path, short_texts: list[str]
) -> None:
    """When one row group of a file changes, only its texts are encoded, and no trace is left."""
    path, texts = tmp_path / "a.parquet", short_texts[:200]
    write_corpus(path, texts)
    build(path, "--no-senses")
    texts[60] = short_texts[300]
    write_corpus(path, texts)
    done = build(path)
    assert (done["n_added"], done["n_removed"], done["n_encoded"]) == (1, 1, 1)
    assert done["n_documents"] == 200
    assert [text for _, text, _ in stored(tmp_path / "an.index")] == texts
    changed = state(tmp_path / "an.index")
    shutil.rmtree(tmp_path / "an.index")
    build(path, "--no-senses")
    assert state(tmp_path / "an.index") == changed


def test_documents_of_a_removed_file_are_removed(
    build: Build, tmp_path: Path, short_texts: list[str]
) -> None:
    """A file that is gone from a source folder takes its documents with it."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_corpus(folder / "a.parquet", short_texts[:100])
    before = (build(folder), state(tmp_path / "an.index"))[1]
    ids = [f"e{i}" for i in range(70)]
    write_corpus(folder / "b.parquet", short_texts[100:170], ids=ids)
    assert build(folder)["n_documents"] == 170
    (folder / "b.parquet").unlink()
    done = build(folder)
    assert (done["n_removed"], done["n_encoded"], done["n_documents"]) == (70, 0, 100)
    assert state(tmp_path / "an.index") == before


def test_two_equal_files_are_two_sources(
    build: Build, tmp_path: Path, short_texts: list[str]
) -> None:
    """Equal files are both indexed, encoded once, and their common ids counted."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:100])
    second = Path(shutil.copy(first, tmp_path / "b.parquet"))
    done = build(first, second)
    assert (done["n_documents"], done["n_encoded"]) == (200, 100)
    assert done["n_duplicate_ids"] == 100
    before = tree(tmp_path / "an.index")
    assert build(first, second)["up_to_date"]
    assert tree(tmp_path / "an.index") == before
    assert build(first)["n_removed"] == 100


def test_a_lost_segment_is_restored(build: Build, tmp_path: Path, short_texts: list[str]) -> None:
    """Files of an index that were lost or cut off are made again, to the byte."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:200])
    build(path)
    out = tmp_path / "an.index"
    before = tree(out)
    lost, cut = sorted((out / "segments").iterdir())[:2]
    shutil.rmtree(lost)
    (cut / "vectors.npy").write_bytes(b"")
    shutil.rmtree(out / "ann")
    assert build(path)["n_encoded"] == 100
    assert tree(out) == before


# --- options ---


def test_limit(build: Build, tmp_path: Path, short_texts: list[str]) -> None:
    """--limit indexes the first rows only, and leaving it out afterwards adds the rest."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:120])
    done = build(path, "--limit", "70")
    assert done["n_documents"] == 70
    assert [text for _, text, _ in stored(tmp_path / "an.index")] == short_texts[:70]
    assert build(path, "--limit", "70")["up_to_date"]
    done = build(path)
    assert (done["n_documents"], done["n_encoded"]) == (120, 50)


def test_a_structure_for_few_passages_is_not_built_and_said(
    run: Run, tmp_path: Path, tiny_model: Path, short_texts: list[str]
) -> None:
    """A --structure that is not built over so few passages is named with the limit."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:30])
    arguments = ("index", path, "--out", tmp_path / "an.index", "--model", tiny_model)
    done = run(*arguments, "--structure", "ivf-sq8")
    assert "--structure ivf-sq8 is built once there are more than 2,000 passages" in done.stderr
    assert "SQfp16 (exact)" in done.stdout
    done = run(*arguments, "--structure", "flat")
    assert "--structure" not in done.stderr


def test_overflow_window(build: Build, tmp_path: Path, small_corpus: Path) -> None:
    """By default a long document becomes several passages and is counted, and nothing is cut."""
    done = build(small_corpus)
    assert done["n_windowed"] > 200
    assert done["n_passages"] > done["n_documents"] == 300
    assert done["n_truncated"] == 0


def test_overflow_truncate(build: Build, run: Run, tmp_path: Path, small_corpus: Path) -> None:
    """With `truncate` each document is one passage, and those that were cut are counted."""
    done = build(small_corpus, "--overflow", "truncate")
    assert done["n_passages"] == done["n_documents"] == 300
    assert done["n_truncated"] > 200
    assert done["n_windowed"] == 0
    assert build(small_corpus)["up_to_date"]
    info = json.loads(run("info", tmp_path / "an.index", "--format", "json").stdout)
    assert info["truncated_documents"] == done["n_truncated"]


def test_overflow_error(
    run: Run, build: Build, tmp_path: Path, tiny_model: Path, small_corpus: Path
) -> None:
    """With `error` a long document stops the run by its id, and another choice works after it."""
    out = tmp_path / "an.index"
    options = ("--out", out, "--model", tiny_model)
    done = run("index", small_corpus, *options, "--overflow", "error", "-q")
    first_id = pq.read_table(small_corpus)["id"][0].as_py()
    assert_refused(done, first_id, "--overflow")
    assert build(small_corpus, "--overflow", "window")["n_documents"] == 300


def test_no_metadata(
    build: Build, run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path
) -> None:
    """With an empty --metadata no column is kept, and the index can be searched and updated."""
    build(small_corpus, "--metadata", "")
    out = tmp_path / "an.index"
    assert read_manifest(Layout(out)).metadata == ()
    done = run("search", "--index", out, "bank", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [hit["metadata"] for hit in json.loads(done.stdout)] == [{}] * 10
    assert build(small_corpus)["up_to_date"]


def test_named_columns(build: Build, tmp_path: Path, short_texts: list[str]) -> None:
    """Text, id and metadata are taken from the columns that are named."""
    path = write_corpus(
        tmp_path / "a.parquet",
        ["x"] * 60,
        body=short_texts[:60],
        key=list(range(60)),
        other=[1] * 60,
    )
    build(path, "--text", "body", "--id", "key", "--metadata", "other, id")
    manifest = read_manifest(Layout(tmp_path / "an.index"))
    assert (manifest.text, manifest.id, manifest.metadata) == ("body", "key", ("other", "id"))
    documents = [(document_id, text) for document_id, text, _ in stored(tmp_path / "an.index")]
    assert documents == [(str(i), text) for i, text in enumerate(short_texts[:60])]
    assert build(path)["up_to_date"]


def test_left_out_rows_are_counted(build: Build, tmp_path: Path, short_texts: list[str]) -> None:
    """Null, empty and blank texts are left out, each counted under its reason."""
    texts = [*short_texts[:10], None, None, "", " \n\t", "  ", " "]
    done = build(write_corpus(tmp_path / "a.parquet", texts, rows=4))
    assert done["n_documents"] == 10
    assert done["counts"] == {"blank text": 3, "empty text": 1, "null text": 2}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("weights", ["--model", "OTHER"], marks=pytest.mark.slow),
        pytest.param("pooling", ["--pooling", "cls"], marks=pytest.mark.slow),
        pytest.param("layers", ["--layers", "2"], marks=pytest.mark.slow),
        ("window", ["--window", "32"]),
        ("stride", ["--stride", "20"]),
        ("overflow", ["--overflow", "truncate"]),
        ("text", ["--text", "title"]),
        ("metadata", ["--metadata", "year"]),
        ("passage_prompt", ["--passage-prompt", "passage: "]),
        pytest.param(
            "precision", ["--precision", "fp32", "--engine", "torch"], marks=pytest.mark.slow
        ),
    ],
)
def test_other_options_are_refused(
    run: Run, tiny_index: Path, small_corpus: Path, tmp_path: Path, name: str, arguments: list[str]
) -> None:
    """An option other than the index was built with is refused, and the index stays as it is."""
    out = Path(shutil.copytree(tiny_index, tmp_path / "an.index"))
    other = make_model(tmp_path / "other", seed=1) if "OTHER" in arguments else Path()
    before = tree(out)
    chosen = [str(other) if a == "OTHER" else a for a in arguments]
    if name == "precision" and '"precision": "fp32"' in (out / "manifest.json").read_text():
        pytest.skip("this machine built the index at fp32")
    done = run("index", small_corpus, "--out", out, *chosen, "-q")
    assert_refused(done, "was built with", "--out")
    assert done.returncode == 2
    assert tree(out) == before


def test_default_out(run: Run, tmp_path: Path, tiny_model: Path, short_texts: list[str]) -> None:
    """Without --out the index is named after the source and lies in the working folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "work").mkdir()
    write_corpus(tmp_path / "data" / "news.2020.parquet", short_texts[:20])
    source = "../data/news.2020.parquet"
    done = run("index", source, "--model", tiny_model, cwd=tmp_path / "work")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["news.2020.index"]
    found = run("search", "bank", "-k", "1", "--format", "json", cwd=tmp_path / "work")
    assert len(json.loads(found.stdout)) == 1


def test_quiet_says_nothing(
    run: Run, tmp_path: Path, tiny_model: Path, short_texts: list[str]
) -> None:
    """With -q a run that goes well writes nothing to stdout or stderr."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:20])
    done = run("index", path, "--out", tmp_path / "an.index", "--model", tiny_model, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["it's [1] a*b?.index", "größe 名前.index", "-x.index"])
def test_any_folder_name_works(
    run: Run, tmp_path: Path, tiny_model: Path, short_texts: list[str], name: str
) -> None:
    """An index can lie in a folder of any name, and be updated, shown and searched there."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:20], n=list(range(20)))
    for _ in range(2):
        done = run("index", path, f"--out={name}", "--model", tiny_model, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert run("info", f"--index={name}", cwd=tmp_path).returncode == 0
    found = run("search", f"--index={name}", "x", "--where", "n < 5", "--format=json", cwd=tmp_path)
    assert len(json.loads(found.stdout)) == 5


def test_metadata_of_many_types(build: Build, run: Run, tmp_path: Path) -> None:
    """Columns of many types go through indexing, filtering and every output format."""
    columns = {
        "when": pa.array([0, None, 10**15], pa.timestamp("us", "UTC")),
        "day": pa.array([0, None, 20_000], pa.date32()),
        "list": pa.array([[1, 2], None, []], pa.list_(pa.int64())),
        "struct": pa.array([{"a": 1}, None, {"a": None}]),
        "bytes": pa.array([b"\x00\xff", None, b""]),
        "x": pa.array([float("nan"), None, float("inf")]),
        "big": pa.array([2**63 - 1, None, -(2**63)]),
    }
    build(write_corpus(tmp_path / "a.parquet", ["one", "two", "three"], **columns))
    out, search = tmp_path / "an.index", ("search", "one", "--index", tmp_path / "an.index")
    found = run(*search, "--where", '"when" IS NOT NULL AND len(list) = 2', "--format", "json")
    assert found.returncode == 0, found.stderr
    assert [hit["id"] for hit in json.loads(found.stdout)] == ["d0"]
    for form in ("text", "jsonl", "csv", "parquet"):
        done = run(*search, "--format", form, "--out", out.parent / f"hits.{form}")
        assert done.returncode == 0, done.stderr
    strict = [
        json.loads(line, parse_constant=pytest.fail)
        for line in (tmp_path / "hits.jsonl").read_text().splitlines()
    ]
    assert len(strict) == 3
    table = pq.read_table(tmp_path / "hits.parquet")
    assert table["big"].to_pylist().count(None) == 1
    assert table.schema.field("list").type.value_type == pa.int64()


# --- int8 ---


@pytest.mark.slow
def test_int8_is_calibrated_once(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path
) -> None:
    """An int8 build records its calibration, and a second run uses it and finds nothing to do."""
    out = tmp_path / "an.index"
    named = ("index", small_corpus, "--model", tiny_model, "--out", out)
    arguments = (*named, "--metadata", "", "--format", "json")
    first = summary(run(*arguments, "--precision", "int8"))
    assert first["n_encoded"] > 0
    manifest = read_manifest(Layout(out))
    assert manifest.calibration is not None
    assert manifest.encoder.precision == "int8"
    texts = json.loads((out / "calibration.json").read_text())
    assert 0 < len(texts) <= 250
    before = tree(out)
    assert summary(run(*arguments))["up_to_date"]
    assert tree(out) == before
    assert run("search", "--index", out, "river").returncode == 0
    (out / "calibration.json").unlink()
    assert_refused(run("index", small_corpus, "--out", out, "-q"), "calibration.json")


# --- disturbed ---


@pytest.fixture(scope="module")
def long_corpus(tmp_path_factory: pytest.TempPathFactory, sample_corpus: Path) -> Path:
    """Two files with 60 row groups, some of whose texts occur in several; built in seconds."""
    folder = tmp_path_factory.mktemp("long") / "long"
    folder.mkdir()
    table = pq.read_table(sample_corpus).slice(0, 1500)
    repeated = pa.concat_tables([table.slice(1000), table.slice(0, 300)])
    pq.write_table(table.slice(0, 1000), folder / "a.parquet", row_group_size=30)
    pq.write_table(repeated, folder / "b.parquet", row_group_size=30)
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, long_corpus: Path, tiny_model: Path, run: Run
) -> Tree:
    """The files of an index of the long corpus that was built in one go."""
    out = tmp_path_factory.mktemp("undisturbed") / "an.index"
    done = run("index", long_corpus, "--out", out, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    return tree(out)


POINTS: dict[str, Callable[[Path], bool]] = {
    "folder": lambda out: out.exists(),
    "lock": lambda out: (out / "lock").exists(),
    "segments folder": lambda out: (out / "segments").exists(),
    "first manifest": lambda out: (out / "manifest.json").exists(),
    "first temporary": lambda out: any((out / "segments").glob(".tmp-*")),
    "temporary vectors": lambda out: any((out / "segments").glob(".tmp-*/vectors.npy")),
    "temporary documents": lambda out: any((out / "segments").glob(".tmp-*/documents.parquet")),
    "structure begun": lambda out: (out / "ann").exists(),
    "structure temporary": lambda out: any((out / "ann").glob(".tmp-*/*")),
    "structure published": lambda out: count_entries(out / "ann") > 0,
    "committed": lambda out: b'"n_lists"' in _manifest(out) or b'"SQfp16"' in _manifest(out),
}
N_SEGMENTS = (1, 5, 21, 56)


def _manifest(out: Path) -> bytes:
    try:
        return (out / "manifest.json").read_bytes()
    except FileNotFoundError:
        return b""


def has_segments(n: int) -> Callable[[Path], bool]:
    """Whether so many segments lie under their final names."""
    return lambda out: count_entries(out / "segments") >= n


def check_search(done: Done) -> None:
    """A search over whatever was committed succeeded, or said that there is no index."""
    if done.returncode:
        assert_refused(done, "There is no index at", "embedder index")
    else:
        assert len(json.loads(done.stdout)) in (0, 10)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*POINTS, *(f"{n} segments" for n in N_SEGMENTS)])
def test_a_killed_build_resumes_without_a_trace(
    run: Run,
    tmp_path: Path,
    long_corpus: Path,
    tiny_model: Path,
    undisturbed: Tree,
    point: str,
) -> None:
    """Killed anywhere and run again, a build ends byte-identical to one that was not killed."""
    out = tmp_path / "an.index"
    arguments = ("index", long_corpus, "--out", out, "--model", tiny_model, "-q")
    is_reached = POINTS.get(point) or has_segments(int(point.split()[0]))
    with start(*arguments) as build:
        wait_until(build, lambda: is_reached(out))
        build.kill()
    found = run("search", "--index", out, "bank", "--format", "json")
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(out) == undisturbed
    check_search(found)


@pytest.mark.slow
def test_a_build_killed_again_and_again(
    run: Run, tmp_path: Path, long_corpus: Path, tiny_model: Path, undisturbed: Tree
) -> None:
    """A build that is killed every time it has done a little more still ends the same."""
    out = tmp_path / "an.index"
    arguments = ("index", long_corpus, "--out", out, "--model", tiny_model, "-q")
    for n in range(4, 60, 8):
        with start(*arguments) as build:
            wait_until(build, lambda n=n: has_segments(n)(out))  # type: ignore[misc]
            build.kill()
    assert run(*arguments).returncode == 0
    assert tree(out) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 25])
def test_an_interrupted_build_says_how_to_go_on(
    run: Run, tmp_path: Path, long_corpus: Path, tiny_model: Path, undisturbed: Tree, n: int
) -> None:
    """Ctrl-C ends a build with 130 and one line that says how to go on, and it does go on."""
    out = tmp_path / "an.index"
    arguments = ("index", long_corpus, "--out", out, "--model", tiny_model, "-q")
    for _ in range(5):  # on a busy machine a build may be over before it is interrupted
        shutil.rmtree(out, ignore_errors=True)
        with start(*arguments) as build:
            assert wait_until(build, lambda: has_segments(n)(out))
            build.send_signal(signal.SIGINT)
            _, stderr = build.communicate(timeout=30)
        if build.returncode:
            break
    assert build.returncode == 130, stderr
    assert "run the same command to go on" in stderr
    assert len(stderr.strip().splitlines()) == 1
    committed = read_manifest(Layout(out))
    assert len(committed.segments) >= n - 1  # one may be renamed and not counted yet
    done = run(*arguments[:-1], "--format", "json")
    assert summary(done)["n_written"] == 1800 - committed.n_documents
    assert tree(out) == undisturbed


@pytest.mark.slow
def test_one_writer_at_a_time(
    run: Run, tmp_path: Path, long_corpus: Path, tiny_model: Path, undisturbed: Tree
) -> None:
    """A second build into the same folder is refused by name while readers go on."""
    out = tmp_path / "an.index"
    arguments = ("index", long_corpus, "--out", out, "--model", tiny_model, "-q")
    with start(*arguments) as build:
        assert wait_until(build, lambda: has_segments(1)(out))
        build.send_signal(signal.SIGSTOP)
        try:
            assert_refused(run(*arguments), f"process {build.pid}")
            found = run("search", "--index", out, "bank", "--format", "json")
        finally:
            build.send_signal(signal.SIGCONT)
        _, stderr = build.communicate(timeout=120)
    assert (build.returncode, stderr) == (0, "")
    assert tree(out) == undisturbed
    check_search(found)


@pytest.mark.parametrize("n_bytes", [1, 600, 5_000, 12_000, 40_000, 70_000])
def test_a_full_disk(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path, tiny_index: Path, n_bytes: int
) -> None:
    """A file that cannot be written ends the run with one line, and the next run completes it."""
    out = tmp_path / "tiny.index"
    arguments = ("index", small_corpus, "--out", out, "--model", tiny_model, "-q")
    done = run_with_file_limit(n_bytes, *arguments)
    found = run("search", "--index", out, "bank", "--format", "json")
    assert run(*arguments).returncode == 0
    assert tree(out) == tree(tiny_index)
    assert_refused(done, "cannot be written")
    assert done.returncode == 1
    check_search(found)


def test_vectors_do_not_depend_on_the_batch(
    build: Build, tmp_path: Path, short_texts: list[str]
) -> None:
    """A text's stored vector is the same bits whatever other texts are encoded with it."""
    few = write_corpus(tmp_path / "few.parquet", short_texts[:7])
    build(few)
    alone = {text: vector for _, text, vector in stored(tmp_path / "an.index")}
    shutil.rmtree(tmp_path / "an.index")
    build(write_corpus(tmp_path / "many.parquet", short_texts[:400]))
    together = {text: vector for _, text, vector in stored(tmp_path / "an.index")}
    assert all(np.array_equal(together[text], vector) for text, vector in alone.items())
