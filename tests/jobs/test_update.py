"""Following the sources: adding, replacing, deleting for good, compacting, and the history."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import Done, assert_refused, state, stored, summary, tree, write_corpus

from embedder.encoders import EncoderOptions
from indexes.layout import Layout
from indexes.manifest_file import read_manifest, write_manifest
from jobs.build import _Build, build_index
from jobs.plan import BuildOptions

Run = Callable[..., Done]
Command = Callable[..., Any]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the index goes."""
    return tmp_path / "an.index"


@pytest.fixture
def build(run: Run, tiny_model: Path, out: Path) -> Command:
    """Run `index` with the tiny model; the summary."""

    def build_it(*arguments: str | Path) -> Any:
        return summary(
            run("index", *arguments, "--out", out, "--model", tiny_model, "--format", "json")
        )

    return build_it


@pytest.fixture
def ask(run: Run, out: Path) -> Command:
    """Run another command on the index; its JSON."""

    def ask_it(command: str, *arguments: str | Path) -> Any:
        return summary(run(command, *arguments, "--index", out, "--format", "json"))

    return ask_it


def ids(ask: Command, *arguments: str) -> set[str]:
    """Ids that a search for everything finds."""
    return {hit["id"] for hit in ask("search", "bank", "-k", "1000", *arguments)}


def numbered(first: int, last: int) -> list[str]:
    """The ids that `write_corpus` gives."""
    return [f"d{i}" for i in range(first, last)]


# --- --add ---


def test_add_keeps_what_is_gone(
    build: Command, ask: Command, tmp_path: Path, short_texts: list[str]
) -> None:
    """With --add the documents of other sources stay, and both can be found."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:60])
    second = write_corpus(tmp_path / "b.parquet", short_texts[60:100], ids=numbered(60, 100))
    build(first)
    done = build(second, "--add")
    assert (done["n_added"], done["n_removed"], done["n_documents"]) == (40, 0, 100)
    assert ids(ask) == set(numbered(0, 100))
    assert build(second, "--add")["up_to_date"]
    assert [source["name"] for source in ask("info")["sources"]] == [str(first), str(second)]
    assert build(first, second)["n_documents"] == 100
    assert build(second)["n_removed"] == 60


def test_new_columns_are_told(
    run: Run, out: Path, tmp_path: Path, tiny_model: Path, short_texts: list[str]
) -> None:
    """Columns that an index was built without are named, unless it was told which ones to have."""
    first = tmp_path / "a.parquet"
    table = pq.read_table(write_corpus(tmp_path / "b.parquet", short_texts[20:30]))
    table = table.append_column("year", pa.array([1999] * 10))
    pq.write_table(table, first)
    pq.write_table(table.append_column("lang", pa.array(["en"] * 10)), tmp_path / "b.parquet")
    for options, is_told in (((), True), (("--metadata", "year"), False)):
        index = out.with_name(f"{is_told}.index")
        build = ("--out", index, "--model", tiny_model, *options)
        assert run("index", first, *build).returncode == 0
        done = run("index", tmp_path / "b.parquet", "--add", *build)
        assert done.returncode == 0
        assert ("Left out: lang. The index was built without" in done.stderr) == is_told
        assert "Left out" not in run("index", first, "--add", *build).stderr


def test_add_replaces_documents_with_the_same_id(
    build: Command, ask: Command, out: Path, tmp_path: Path, short_texts: list[str]
) -> None:
    """A document whose id comes again in an added source gives way to the new one."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:60])
    second = write_corpus(tmp_path / "b.parquet", short_texts[100:130], ids=numbered(40, 70))
    build(first)
    done = build(second, "--add")
    assert (done["n_added"], done["n_removed"], done["n_documents"]) == (30, 20, 70)
    assert done["n_duplicate_ids"] == 0
    assert ids(ask) == set(numbered(0, 70))
    texts = {hit["id"]: hit["passage"] for hit in ask("search", "bank", "-k", "100")}
    assert texts["d40"] in short_texts[100]
    before = tree(out)
    assert build(second, "--add")["up_to_date"]
    assert tree(out) == before


def test_without_an_id_column_a_changed_file_replaces_its_rows(
    build: Command, tmp_path: Path, short_texts: list[str]
) -> None:
    """With ids made from file and row, adding a changed file again replaces its documents."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": short_texts[:30]}), path, row_group_size=10)
    build(path)
    pq.write_table(
        pa.table({"text": [*short_texts[:5], "new", *short_texts[6:30]]}), path, row_group_size=10
    )
    done = build(path, "--add")
    assert (done["n_added"], done["n_removed"], done["n_documents"]) == (1, 1, 30)


def test_files_of_one_name_do_not_replace_each_other(build: Command, tmp_path: Path) -> None:
    """Without an id column a document belongs to its file, wherever the naming starts."""
    for year in (2020, 2021):
        texts = [f"bank number {n} of {year}" for n in range(5)]
        path = tmp_path / "hive" / f"year={year}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"text": texts}), path)
    build(tmp_path / "hive" / "year=2020")
    done = build(tmp_path / "hive" / "year=2021", "--add")
    assert (done["n_added"], done["n_removed"], done["n_documents"]) == (5, 0, 10)
    assert done["n_duplicate_ids"] == 0
    again = build(tmp_path / "hive", "--add")
    assert again["up_to_date"], "the same files under another name"
    assert build(tmp_path / "hive" / "year=2021" / "part-0.parquet", "--add")["up_to_date"]
    assert build(tmp_path / "hive")["n_documents"] == 10


def test_an_index_and_its_files_can_be_moved_together(
    build: Command, out: Path, tmp_path: Path, run: Run, tiny_model: Path
) -> None:
    """In another folder nothing is to be done, and what was deleted stays deleted."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        table = pa.table({"text": [f"bank number {n} of {name}" for n in range(5)]})
        pq.write_table(table, tmp_path / name / "x.parquet")
    build(tmp_path / "a" / "x.parquet")
    build(tmp_path / "b" / "x.parquet", "--add")
    assert run("delete", out, "--where", "id = 'x.parquet:0'").returncode == 0
    new = tmp_path / "new"
    new.mkdir()
    for name in ("a", "b", out.name):
        (tmp_path / name).rename(new / name)
    asked = (new / "a" / "x.parquet", new / "b" / "x.parquet", "--out", new / out.name)
    done = run("index", *asked, "--model", tiny_model, "--format", "json")
    found = summary(done)
    assert (found["n_documents"], found["n_added"], found["n_removed"]) == (9, 0, 0)


def interrupt(*_: object) -> None:
    """End a run as Ctrl-C does."""
    raise KeyboardInterrupt


def test_the_files_of_a_killed_run_keep_their_labels(
    build: Command, out: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first run that was killed says whose its documents are: files of the same name that are
    added do not replace them."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        table = pa.table({"text": [f"bank number {n} of {name}" for n in range(5)]})
        pq.write_table(table, tmp_path / name / "x.parquet")
    asked = BuildOptions(
        sources=(str(tmp_path / "a" / "x.parquet"),),
        out=out,
        encoder=EncoderOptions(model=str(tiny_model)),
    )
    with monkeypatch.context() as patched:  # segments are committed, and nothing is finished
        patched.setattr(_Build, "_finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_index(asked)
    done = build(tmp_path / "b" / "x.parquet", "--add")
    ids = {id_: text[-1] for id_, text, _ in stored(out)}
    assert ids == {
        f"{label}x.parquet:{n}": f for label, f in [("", "a"), ("b/", "b")] for n in range(5)
    }
    assert done["n_documents"] == 10


def test_what_changes_is_said_before(
    run: Run, build: Command, out: Path, tmp_path: Path, short_texts: list[str]
) -> None:
    """Before an update starts it says what will be added and what will go."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:60])
    second = write_corpus(tmp_path / "b.parquet", short_texts[60:100])
    build(first)
    done = run("index", second, "--out", out)
    assert "b.parquet (40 rows)" in done.stderr
    assert "to compare or remove: 60 documents" in done.stderr
    assert done.stderr.index("to compare or remove") < done.stderr.index("encoding")


def test_the_sources_named_now_win(
    build: Command, ask: Command, tmp_path: Path, short_texts: list[str]
) -> None:
    """A file that is added again, or goes back to what it was, has all its documents again."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:30])
    second = write_corpus(tmp_path / "b.parquet", short_texts[50:70], ids=numbered(20, 40))
    build(first)
    build(second, "--add")
    done = build(first, "--add")
    assert (done["n_documents"], done["n_added"], done["n_removed"]) == (40, 10, 10)
    texts = {hit["id"]: hit["passage"] for hit in ask("search", "bank", "-k", "100")}
    assert texts["d25"] in short_texts[25]
    assert build(second, "--add")["n_documents"] == 40
    assert build(first)["n_documents"] == 30
    assert ids(ask) == set(numbered(0, 30))


@pytest.mark.parametrize("compacts", [False, True])
def test_replaced_documents_come_back(
    build: Command,
    ask: Command,
    out: Path,
    tmp_path: Path,
    short_texts: list[str],
    *,
    compacts: bool,
) -> None:
    """Without --add the index ends as one that was built of the sources alone."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:30], rows=10)
    second = write_corpus(tmp_path / "b.parquet", short_texts[50:70], ids=numbered(20, 40))
    build(first)
    fresh = stored(out)
    ask("delete", "--where", "id = 'd3'")
    build(second, "--add")
    if compacts:
        ask("compact")
    assert build(first)["n_documents"] == 29
    assert ids(ask) == set(numbered(0, 30)) - {"d3"}
    assert build(first)["up_to_date"]
    assert build(first, "--undelete")["n_documents"] == 30
    if not compacts:
        assert stored(out) == fresh


def test_a_changed_file_in_a_compacted_index_replaces_only_itself(
    build: Command, ask: Command, tmp_path: Path, short_texts: list[str]
) -> None:
    """What is left of an old row group in a merged segment replaces nothing."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:20])
    texts = short_texts[20:40]
    second = write_corpus(tmp_path / "b.parquet", texts, ids=numbered(20, 40))
    build(first, second)
    ask("compact")
    write_corpus(second, ["a text that is new", *texts[1:]], ids=numbered(20, 40))
    assert build(first, second)["n_documents"] == 40
    assert build(first, "--add")["n_documents"] == 40
    assert ids(ask) == set(numbered(0, 40))


# --- delete ---


def test_deleted_ids_are_gone_at_once(
    build: Command, ask: Command, run: Run, out: Path, tmp_path: Path, short_texts: list[str]
) -> None:
    """After `delete --ids` no search finds the documents, filtered or not, and others stay."""
    build(write_corpus(tmp_path / "a.parquet", short_texts[:60], n=list(range(60))))
    gone = numbered(10, 30)
    (tmp_path / "ids.txt").write_text("\n".join([*gone, "unknown", ""]))
    done = ask("delete", "--ids", tmp_path / "ids.txt")
    assert (done["n_deleted"], done["n_documents"], done["n_unknown"]) == (20, 40, 1)
    assert ids(ask) == set(numbered(0, 60)) - set(gone)
    assert ids(ask, "--where", "n < 15") == set(numbered(0, 10))
    assert ids(ask, "--where", "n BETWEEN 10 AND 20") == set()
    info = ask("info")
    assert (info["documents"], info["deleted_documents"]) == (40, 20)
    before = tree(out)
    assert ask("delete", "--ids", tmp_path / "ids.txt")["n_deleted"] == 0
    assert tree(out) == before


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "stdin", "numbers"])
def test_ids_come_in_many_forms(
    build: Command, run: Run, out: Path, tmp_path: Path, short_texts: list[str], kind: str
) -> None:
    """Ids are read from JSON lines, Parquet columns of text or numbers, and standard input."""
    keys = [str(i) for i in range(20)]
    build(write_corpus(tmp_path / "a.parquet", short_texts[:20], ids=keys))
    path, stdin, more = tmp_path / f"ids.{kind}", None, []
    if kind == "jsonl":
        path.write_text('{"id": "3"}\n"5"\n7\n')
    elif kind == "stdin":
        path, stdin = Path("-"), "3\n5\n7\n"
    else:
        path, more = tmp_path / "ids.parquet", ["--column", "key"]
        values = [3, 5, None, 7]
        pq.write_table(
            pa.table({"key": values if kind == "numbers" else ["3", "5", None, "7"]}), path
        )
    done = run("delete", "--index", out, "--ids", path, *more, "--format", "json", stdin=stdin)
    assert summary(done)["n_deleted"] == 3
    assert [i for i, _, _ in stored(out)] == keys  # on disk until the index is compacted


def test_delete_where(
    build: Command, ask: Command, run: Run, out: Path, tmp_path: Path, short_texts: list[str]
) -> None:
    """`delete --where` deletes what the filter holds for, and each document once; --dry-run says
    what it would, and writes nothing."""
    build(write_corpus(tmp_path / "a.parquet", short_texts[:60], n=list(range(60))))
    before = tree(out)
    dry = ask("delete", "--where", "n >= 50", "--dry-run")
    assert (dry["n_deleted"], dry["n_documents"], dry["is_dry_run"]) == (10, 50, True)
    assert "would delete 10, 50 documents left" in (
        run("delete", "--index", out, "--where", "n >= 50", "--dry-run").stdout
    )
    assert tree(out) == before
    assert ask("delete", "--where", "n >= 50")["n_deleted"] == 10
    assert ask("delete", "--where", "n >= 40")["n_deleted"] == 10
    assert ids(ask) == set(numbered(0, 40))
    assert_refused(run("delete", "--index", out, "--where", "nonsense >"), "filter")
    assert ids(ask) == set(numbered(0, 40))


def test_deleted_documents_stay_deleted(
    build: Command, ask: Command, tmp_path: Path, short_texts: list[str]
) -> None:
    """Sources that still hold a deleted document do not bring it back, until it changes there."""
    path, texts = tmp_path / "a.parquet", short_texts[:60]
    write_corpus(path, texts, rows=20)
    build(path)
    ask("delete", "--where", "id IN ('d3', 'd7')")
    assert build(path)["up_to_date"]
    texts[5] = "a text that is new"  # in the same row group, which is read again
    texts[7] = "another text that is new"
    write_corpus(path, texts, rows=20)
    done = build(path)
    assert (done["n_documents"], done["n_added"]) == (59, 2)
    assert "d3" not in ids(ask)
    assert "d7" in ids(ask)


@pytest.mark.parametrize("compacts", [False, True])
def test_undelete(
    build: Command,
    ask: Command,
    out: Path,
    tmp_path: Path,
    short_texts: list[str],
    *,
    compacts: bool,
) -> None:
    """With --undelete the sources' deleted documents come back, also after a compaction."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:60], rows=20)
    build(path)
    fresh = state(out)
    ask("delete", "--where", "id < 'd3'")
    if compacts:
        ask("compact")
    done = build(path, "--undelete")
    assert done["n_documents"] == 60
    assert ids(ask) == set(numbered(0, 60))
    assert done["n_encoded"] <= 25  # only texts that compaction has dropped
    if not compacts:
        assert state(out) == fresh


def test_bad_deletes_are_refused(run: Run, tiny_index: Path, tmp_path: Path) -> None:
    """What to delete is said in one way, from a file that can be read, of an index that exists."""
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "bad.jsonl").write_text('{"key": 1}\n')
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe")
    before = tree(tiny_index)
    assert_refused(run("delete", "--index", tiny_index), "--ids", "--where")
    assert_refused(run("delete", "--index", tiny_index, "--ids", "x", "--where", "y"), "either")
    for name, word in (
        ("none.txt", "cannot be read"),
        ("empty.txt", "No ids"),
        ("bad.jsonl", "line 1"),
        ("latin.txt", "UTF-8"),
    ):
        assert_refused(run("delete", "--index", tiny_index, "--ids", tmp_path / name), word)
    assert_refused(run("delete", "--index", tmp_path / "no.index", "--where", "1=1"), "no index")
    assert not (tmp_path / "no.index").exists()
    assert tree(tiny_index) == before


def test_everything_can_be_deleted(
    build: Command, ask: Command, tmp_path: Path, short_texts: list[str]
) -> None:
    """An index whose documents are all deleted answers with nothing, and can be filled again."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:20])
    build(path)
    assert ask("delete", "--where", "true")["n_documents"] == 0
    assert ask("search", "bank") == []
    assert build(path)["up_to_date"]
    ask("compact")
    assert ask("search", "bank") == []
    assert build(path)["n_documents"] == 0
    assert build(path, "--undelete")["n_documents"] == 20


@pytest.mark.parametrize("damage", ["gone", "changed", "cut"])
def test_a_damaged_file_of_what_was_deleted_ends_nothing(
    run: Run,
    build: Command,
    ask: Command,
    out: Path,
    tmp_path: Path,
    tiny_model: Path,
    short_texts: list[str],
    damage: str,
) -> None:
    """Then `index` goes on and says so, what was deleted stays out, and --undelete works."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:40], rows=20)
    build(path)
    ask("delete", "--where", "id IN ('d3', 'd33')")
    excluded = read_manifest(Layout(out)).excluded
    assert excluded is not None
    file = out / "deleted" / excluded[0]
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] + (b"" if damage == "cut" else b"!"))
    assert "embedder index again" in run("verify", out, "-q").stderr
    shutil.copytree(out, tmp_path / "other.index")
    done = run("index", path, "--out", out, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert f"{file} is missing or damaged" in done.stderr
    assert file.read_bytes() == content
    assert ids(ask) == set(numbered(0, 40)) - {"d3", "d33"}
    assert run("verify", out, "-q").returncode == 0
    other = ("index", path, "--out", tmp_path / "other.index", "--model", tiny_model)
    assert summary(run(*other, "--undelete", "--format", "json"))["n_documents"] == 40


# --- compact ---


def test_compact_changes_no_answer(
    build: Command, ask: Command, out: Path, tmp_path: Path, short_texts: list[str]
) -> None:
    """Compaction frees room, merges segments, and every search finds what it found before."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:120], rows=10, n=list(range(120)))
    build(path)
    ask("delete", "--where", "n % 3 = 0")
    found = ask("search", "bank", "-k", "100", "--where", "n < 90")
    done = ask("compact")
    assert (done["n_segments_before"], done["n_segments"], done["n_dropped"]) == (12, 1, 40)
    assert done["bytes"] < done["bytes_before"]
    assert ask("search", "bank", "-k", "100", "--where", "n < 90") == found
    assert len(stored(out)) == 80
    assert sorted(p.name for p in (out / "segments").iterdir()) == [
        segment.id for segment in read_manifest(Layout(out)).segments
    ]
    before = tree(out)
    assert not ask("compact")["is_changed"]
    assert tree(out) == before


def test_a_compacted_index_is_up_to_date(
    build: Command, ask: Command, tmp_path: Path, short_texts: list[str]
) -> None:
    """After a compaction the sources are still known, and only what changes in them is done."""
    path, texts = tmp_path / "a.parquet", short_texts[:60]
    write_corpus(path, texts, rows=20)
    build(path)
    ask("delete", "--where", "id = 'd33'")
    ask("compact")
    assert build(path)["up_to_date"]
    texts[0] = "a text that is new"
    write_corpus(path, texts, rows=20)
    done = build(path)
    assert (done["n_encoded"], done["n_documents"], done["n_added"], done["n_removed"]) == (
        1,
        59,
        1,
        1,
    )
    assert ids(ask) == set(numbered(0, 60)) - {"d33"}


def test_what_was_counted_leaves_with_its_source(
    build: Command, ask: Command, tmp_path: Path, short_texts: list[str]
) -> None:
    """After a compaction too, counts and tokens of a source that is gone are not shown."""
    long = " ".join(short_texts[100:200])
    first = write_corpus(tmp_path / "a.parquet", [*short_texts[:30], None, ""])
    second = write_corpus(tmp_path / "b.parquet", [*short_texts[30:40], None, long])
    build(second, "--overflow", "window")
    wanted = ask("info")
    build(first, second)
    ask("delete", "--where", "id = 'd3'")
    ask("compact")
    assert ask("info")["left_out_or_defective"] == {"null text": 2, "empty text": 1}
    build(second, "--undelete")
    for name in ("tokens", "left_out_or_defective", "windowed_documents", "documents"):
        assert ask("info")[name] == wanted[name], name


def test_an_unfinished_index_is_not_compacted(
    run: Run, build: Command, out: Path, tmp_path: Path, short_texts: list[str]
) -> None:
    """Compaction waits for a run that was cut off, and says so."""
    build(write_corpus(tmp_path / "a.parquet", short_texts[:40], rows=20))
    manifest = read_manifest(Layout(out))
    write_manifest(Layout(out), replace(manifest, n_settled=1))
    assert_refused(run("compact", out, "-q"), "has not finished")


def test_an_unfinished_run_is_neither_counted_nor_deleted_from(
    run: Run, build: Command, ask: Command, out: Path, tmp_path: Path, short_texts: list[str]
) -> None:
    """`info` and `delete` see what a search sees; what was deleted the run leaves out too."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:40], rows=20, n=[7] * 40)
    build(path)
    manifest = read_manifest(Layout(out))
    write_manifest(Layout(out), replace(manifest, n_settled=1))
    info = ask("info")
    assert (info["documents"], info["segments"], info["is_finished"]) == (20, 1, False)
    assert "a run has not finished" in run("info", out).stdout
    done = ask("delete", "--where", "id IN ('d3', 'd33')")
    assert (done["n_deleted"], done["n_documents"]) == (1, 19)
    (tmp_path / "ids.txt").write_text("d4\nd34\n")
    done = ask("delete", "--ids", str(tmp_path / "ids.txt"))
    assert (done["n_deleted"], done["n_unknown"], done["n_documents"]) == (1, 1, 18)
    assert [entry["n_documents"] for entry in ask("info", "--history")][1:] == [19, 18]
    assert build(path)["n_documents"] == 38
    assert ids(ask) == set(numbered(0, 40)) - {"d3", "d4"}
    assert run("verify", out, "-q").returncode == 0


def test_an_index_without_a_finished_run_says_so(
    run: Run, build: Command, out: Path, tmp_path: Path, short_texts: list[str]
) -> None:
    """After Ctrl-C before the first segment `info` does not pass the index off as finished."""
    build(write_corpus(tmp_path / "a.parquet", short_texts[:20]))
    manifest = read_manifest(Layout(out))
    empty = replace(manifest, n_settled=0, segments=(), generations=(), history=(), sources=())
    write_manifest(Layout(out), empty)
    assert "a run has not finished" in run("info", out).stdout
    assert "a run has not finished" in run("verify", out).stdout


# --- history ---


def test_history(build: Command, ask: Command, run: Run, out: Path, tmp_path: Path) -> None:
    """Every run that changed something is in the history, with what it changed and when."""
    texts = [f"text number {i}" for i in range(30)]
    first = write_corpus(tmp_path / "a.parquet", texts[:20])
    build(first)
    build(first)
    second = write_corpus(tmp_path / "b.parquet", texts[20:], ids=numbered(20, 30))
    build(first, second)
    ask("delete", "--where", "id = 'd1'")
    ask("compact")
    entries = ask("info", "--history")
    found = [
        (e["number"], e["command"], e["n_added"], e["n_removed"], e["n_documents"]) for e in entries
    ]
    assert found == [
        (1, "index", 20, 0, 20),
        (2, "index", 10, 0, 30),
        (3, "delete", 0, 1, 29),
        (4, "compact", 0, 0, 29),
    ]
    assert {entry["at"] for entry in entries} == {1_700_000_000}
    lines = run("info", out, "--history").stdout.splitlines()
    assert len(lines) == 4
    assert "2023-11-14 22:13:20 UTC  delete" in lines[2]


def test_a_segment_that_cannot_be_restored_is_not_let_go(
    run: Run, build: Command, out: Path, tiny_model: Path, tmp_path: Path, short_texts: list[str]
) -> None:
    """With --add, damage to documents that the sources do not hold stops the run."""
    first = write_corpus(tmp_path / "a.parquet", short_texts[:20])
    second = write_corpus(tmp_path / "b.parquet", short_texts[20:40], ids=numbered(20, 40))
    build(first)
    build(second, "--add")
    damaged = read_manifest(Layout(out)).segments[0].id
    (out / "segments" / damaged / "vectors.npy").write_bytes(b"")
    done = run("index", second, "--add", "--out", out, "--model", tiny_model, "-q")
    assert_refused(done, "vectors.npy", "--add")
    assert build(first, second)["n_documents"] == 40
    shutil.rmtree(out / "ann")
    assert json.loads(run("info", out, "--format", "json").stdout or "{}") == {}
    assert build(first, second)["n_encoded"] == 0


@pytest.mark.parametrize("name", ["documents.parquet", "passages.parquet", "vectors.npy"])
@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_a_damaged_compacted_segment_is_made_again(
    build: Command,
    ask: Command,
    out: Path,
    tmp_path: Path,
    short_texts: list[str],
    name: str,
    how: str,
) -> None:
    """Also after a compaction `index` restores what its sources hold, without what was deleted."""
    path = write_corpus(tmp_path / "a.parquet", short_texts[:40], rows=10)
    build(path)
    ask("delete", "--where", "id = 'd3'")
    ask("compact")
    [segment] = read_manifest(Layout(out)).segments
    file = out / "segments" / segment.id / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.unlink() if how == "gone" else file.write_bytes(content)
    assert build(path)["n_documents"] == 39
    assert ids(ask) == set(numbered(0, 40)) - {"d3"}
    assert build(path)["up_to_date"]
