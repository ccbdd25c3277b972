"""`embedder predict`: every row gets its answer, however often a run was cut off."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import assert_refused, tree
from in_process import Here
from models import SENTENCES
from tiny_heads import LABELS, make_head

from embedder.errors import IndexLockedError, OutputError, RequestError, SourceError
from embedder.heads.protocol import Head, HeadOptions, HeadTask, open_head
from indexes.lock import hold_lock
from jobs import PredictOptions, PredictSummary, predict_rows
from jobs.predict import _digest
from jobs.predict_parts import work_folder
from jobs.row_files import RowFormat

N_ROWS = 230
EMPTY = {3: None, 4: "", 5: " \n", 101: None}


@pytest.fixture(scope="module")
def texts() -> list[str | None]:
    """Texts of many lengths, some of them unusable."""
    chance = np.random.default_rng(1)
    words = " ".join(SENTENCES).split()
    found: list[str | None] = [
        " ".join(chance.choice(words, chance.integers(1, 40))) for _ in range(N_ROWS)
    ]
    for row, text in EMPTY.items():
        found[row] = text
    return found


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head that classifies texts."""
    return make_head(tmp_path_factory.mktemp("heads") / "classifier")


@pytest.fixture
def source(tmp_path: Path, texts: list[str | None]) -> Path:
    """The texts in row groups of 50, with a year and a label of their own."""
    table = pa.table(
        {
            "year": [2000 + i % 25 for i in range(N_ROWS)],
            "text": texts,
            "Label": [f"old {i}" for i in range(N_ROWS)],
        }
    )
    path = tmp_path / "asked.parquet"
    pq.write_table(table, path, row_group_size=50)
    return path


@pytest.fixture
def asked(classifier: Path, source: Path, tmp_path: Path) -> PredictOptions:
    """Answers for the source."""
    options = HeadOptions(device="cpu", threads=1)
    return PredictOptions(
        model=classifier, sources=(str(source),), out=tmp_path / "out.parquet", head=options
    )


@pytest.fixture
def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, parts and row groups of few rows."""
    monkeypatch.setattr("jobs.predict_plan.WINDOW_ROWS", 20)
    monkeypatch.setattr("jobs.predict_parts.PART_ROWS", 40)
    monkeypatch.setattr("jobs.predict.GROUP_ROWS", 70)


class Stopped(BaseException):
    """What ends a run from within, as a kill does."""


class Watched:
    """A head that counts what it is asked for, and may stop.

    Args:
        head: what answers.
        stop_after: calls after which it raises.
        error: what it raises.
    """

    def __init__(
        self, head: Head, stop_after: int | None = None, error: type[BaseException] = Stopped
    ) -> None:
        self.head, self.stop_after, self.error = head, stop_after, error
        self.n_rows = self.n_calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.head, name)

    def predict(self, rows: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
        """Answers of the head."""
        self.n_calls += 1
        if self.stop_after is not None and self.n_calls > self.stop_after:
            raise self.error
        self.n_rows += len(next(iter(rows.values())))
        return self.head.predict(rows)


Watch = Callable[..., Watched]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, classifier: Path) -> Watch:
    """Put a watched head in place of the one that a run would open."""

    def put(*arguments: Any) -> Watched:
        watched = Watched(open_head(classifier, HeadOptions(device="cpu")), *arguments)
        monkeypatch.setattr("jobs.predict_plan.open_head", lambda *_: watched)
        return watched

    return put


def test_every_row_has_its_answer(
    asked: PredictOptions, source: Path, classifier: Path, texts: list[str | None]
) -> None:
    """The file has the rows of the source in order with all their columns, and beside each the
    answer that the head gives for it alone; a row without text has none, and is counted."""
    summary = predict_rows(asked)
    before, after = pq.read_table(source), pq.read_table(asked.out)
    assert after.column_names == ["year", "text", "metadata.Label", "label", "score"]
    assert after.drop_columns(["label", "score"]).columns == before.columns
    head = open_head(classifier, asked.head)
    for row, text in enumerate(texts):
        answer = (after["label"][row].as_py(), after["score"][row].as_py())
        if text and text.strip():
            alone = head.predict({"text": [text]})
            assert answer == (alone["label"][0].as_py(), alone["score"][0].as_py())
        else:
            assert answer == (None, None)
    assert set(after["label"].to_pylist()) == {None, *LABELS}
    assert (summary.n_rows, summary.n_answered, summary.n_before) == (N_ROWS, N_ROWS - 4, 0)
    assert summary.counts == {
        "no answer: null text": 2,
        "no answer: empty text": 1,
        "no answer: blank text": 1,
    }
    assert [path.name for path in Path(asked.out).parent.iterdir() if path != source] == [
        "out.parquet"
    ]


def test_the_formats_hold_the_same(asked: PredictOptions, tmp_path: Path) -> None:
    """JSON lines and CSV have the rows that Parquet has."""
    rows = {}
    for name in ("a.parquet", "a.jsonl", "a.csv"):
        predict_rows(replace(asked, out=tmp_path / name))
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    with (tmp_path / "a.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["label"] for row in found] == [row["label"] or "" for row in rows]
    assert [row["year"] for row in found] == [str(row["year"]) for row in rows]


def test_the_cut_of_the_work_does_not_show(
    asked: PredictOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large parts, windows and what is read at once are, the answers are the same; parts
    alone do not change a byte."""
    monkeypatch.setattr("jobs.predict_plan.WINDOW_ROWS", 50)
    predict_rows(asked)
    usual = Path(asked.out).read_bytes()
    for rows in (1, 70):
        monkeypatch.setattr("jobs.predict_parts.PART_ROWS", rows)
        predict_rows(asked)
        assert Path(asked.out).read_bytes() == usual
    for rows in (9, 33):
        monkeypatch.setattr("jobs.predict_plan.WINDOW_ROWS", rows)
        monkeypatch.setattr("embedder.corpus.MAX_BATCH_ROWS", 2 * rows)
        predict_rows(replace(asked, out=tmp_path / "b.parquet"))
        assert pq.read_table(tmp_path / "b.parquet").equals(pq.read_table(asked.out))


@pytest.mark.parametrize("stop_after", [0, 1, 3, 8, 11])
@pytest.mark.usefixtures("in_small_parts")
def test_a_run_goes_on_where_it_was_cut_off(
    asked: PredictOptions, tmp_path: Path, watch: Watch, stop_after: int
) -> None:
    """Run again, it asks for the rest only, and the file is that of a run that was not cut off,
    to the byte; until then there is none."""
    predict_rows(replace(asked, out=tmp_path / "usual.parquet"))
    watch(stop_after)
    with pytest.raises(Stopped):
        predict_rows(asked)
    assert not Path(asked.out).exists()
    watched = watch()
    summary = predict_rows(asked)
    assert summary.n_before == stop_after // 2 * 40
    missing = N_ROWS - summary.n_before
    assert watched.n_rows == missing - sum(row >= summary.n_before for row in EMPTY)
    assert summary.counts["no answer: null text"] == 2
    assert Path(asked.out).read_bytes() == (tmp_path / "usual.parquet").read_bytes()
    assert not (tmp_path / "out.parquet.predicting").exists()
    assert pq.ParquetFile(asked.out).metadata.num_row_groups == 3


@pytest.fixture
def begun(asked: PredictOptions, watch: Watch, in_small_parts: None) -> PredictOptions:
    """A run that was cut off when some of its answers were kept."""
    watch(5)
    with pytest.raises(Stopped):
        predict_rows(asked)
    watch()
    return asked


def test_the_format_may_change_on_the_way(begun: PredictOptions) -> None:
    """What was answered counts for any format."""
    summary = predict_rows(replace(begun, format=RowFormat.JSONL))
    assert summary.n_before == 80
    assert len(Path(begun.out).read_text().splitlines()) == N_ROWS


def test_another_request_is_refused(
    begun: PredictOptions, source: Path, tmp_path: Path, texts: list[str | None]
) -> None:
    """Other columns, another limit, head or source are not mixed with what was answered, unless
    one begins anew; each is named."""
    kept = tree(tmp_path)
    other = make_head(tmp_path / "other", seed=1)
    changes: dict[str, PredictOptions] = {
        "the columns": replace(begun, kept=("year",)),
        "--limit": replace(begun, limit=200),
        "the head": replace(begun, model=other),
    }
    for what, options in changes.items():
        with pytest.raises(RequestError, match=f"it differs in {what}") as raised:
            predict_rows(options)
        assert "--restart" in raised.value.hint
    shutil.rmtree(other)
    table = pq.read_table(source)
    pq.write_table(table.set_column(1, "text", pa.array(texts[::-1])), source, row_group_size=50)
    with pytest.raises(RequestError, match="it differs in the sources"):
        predict_rows(begun)
    kept["asked.parquet"] = source.read_bytes()
    assert tree(tmp_path) == kept
    assert predict_rows(replace(begun, restart=True)).n_before == 0
    labels = pq.read_table(begun.out)["text"].to_pylist()
    assert labels == texts[::-1]


def test_a_damaged_part_is_answered_again(begun: PredictOptions, tmp_path: Path) -> None:
    """A part that is not what its name says, and all after it, are done again."""
    predict_rows(replace(begun, out=tmp_path / "usual.parquet"))
    parts = sorted((tmp_path / "out.parquet.predicting").glob("*.arrow"))
    assert len(parts) == 2
    content = parts[1].read_bytes()
    parts[1].write_bytes(content[:-9] + b"x" + content[-8:])
    (tmp_path / "out.parquet.predicting" / ".tmp-x").write_bytes(b"left")
    assert predict_rows(begun).n_before == 40
    assert Path(begun.out).read_bytes() == (tmp_path / "usual.parquet").read_bytes()


def test_one_run_writes_at_a_time(begun: PredictOptions, tmp_path: Path) -> None:
    """While another run makes the same file, there is an error that names it."""
    lock = tmp_path / "out.parquet.predicting" / "lock"
    with hold_lock(lock), pytest.raises(IndexLockedError, match="process"):
        predict_rows(begun)
    assert predict_rows(begun).n_before == 80


def test_a_source_that_changes_meanwhile(
    asked: PredictOptions, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is written to once it was looked at is an error; its rows are not used."""

    def digest_and_change(*arguments: Any) -> str:
        found = _digest(*arguments)
        os.utime(source, ns=(1, 1))
        return found

    monkeypatch.setattr("jobs.predict._digest", digest_and_change)
    with pytest.raises(SourceError, match="changed while it was read"):
        predict_rows(asked)
    assert [path.name for path in source.parent.iterdir()] == ["asked.parquet"]


def test_files_that_differ(asked: PredictOptions, tmp_path: Path) -> None:
    """Columns that some files lack are null there; hive keys are columns; rows keep the order of
    the files, and a limit the first of them."""
    root = tmp_path / "hive"
    for lang, columns in {"de": {"n": [1, 2]}, "en": {"x": [0.5, 1.5]}}.items():
        (root / f"lang={lang}").mkdir(parents=True)
        table = pa.table({"text": [f"a bank {lang}", f"a river {lang}"], **columns})
        pq.write_table(table, root / f"lang={lang}" / "p.parquet")
    options = replace(asked, sources=(str(root),), limit=3)
    assert predict_rows(options).n_rows == 3
    rows = pq.read_table(asked.out).to_pylist()
    assert [row["text"] for row in rows] == ["a bank de", "a river de", "a bank en"]
    assert [(row["n"], row["x"], row["lang"]) for row in rows] == [
        (1, None, "de"),
        (2, None, "de"),
        (None, 0.5, "en"),
    ]
    predict_rows(replace(options, kept=("lang",)))
    assert pq.read_table(asked.out).column_names == ["lang", "label", "score"]
    predict_rows(replace(options, kept=()))
    assert pq.read_table(asked.out).column_names == ["label", "score"]


def test_categories_of_several_files(asked: PredictOptions, tmp_path: Path) -> None:
    """Files whose categories differ, in lists and in structs too, keep their values."""
    kind = pa.dictionary(pa.int8(), pa.string())
    nested = {"list": pa.list_(kind), "struct": pa.struct([("of", kind)]), "plain": kind}
    expected: dict[str, list[Any]] = {name: [] for name in nested}
    for file in ("a", "b"):
        values = [f"{file}{i % 3}" for i in range(6)]
        columns = {"list": [[v] for v in values], "struct": [{"of": v} for v in values]}
        columns["plain"] = values
        table = {name: pa.array(columns[name], kind) for name, kind in nested.items()}
        pq.write_table(pa.table({"text": values, **table}), tmp_path / f"{file}.parquet")
        for name, found in columns.items():
            expected[name] += found
    predict_rows(replace(asked, sources=(str(tmp_path / "[ab].parquet"),)))
    found = pq.read_table(asked.out)
    assert {name: found[name].to_pylist() for name in expected} == expected


def test_values_that_are_no_text(asked: PredictOptions, tmp_path: Path) -> None:
    """Invalid UTF-8 becomes null, in what the head reads and beside it, and is counted."""
    broken = pa.array([b"the bank", b"\xff\xfe"]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": broken, "other": broken}), tmp_path / "b.parquet")
    summary = predict_rows(replace(asked, sources=(str(tmp_path / "b.parquet"),)))
    assert summary.counts == {
        "invalid UTF-8 in 'other'": 1,
        "invalid UTF-8 in 'text'": 1,
        "no answer: null text": 1,
    }
    assert pq.read_table(asked.out)["other"].to_pylist() == ["the bank", None]


def test_pairs_and_words(tmp_path: Path) -> None:
    """Heads of other tasks read other columns: those of training, of the roles' names, or those
    that are named; what is named for a role that a head has not is refused."""
    pairs = make_head(
        tmp_path / "pairs", HeadTask.CLASSIFY_PAIRS, columns={"text1": "premise", "text2": "b"}
    )
    tagger = make_head(tmp_path / "tagger", HeadTask.TAG)
    table = pa.table(
        {
            "premise": ["a bank", "a river"],
            "text2": ["a crane", None],
            "other": ["green", "steel"],
            "tokens": [["the", "bank", None, " ", "sank"], []],
        }
    )
    pq.write_table(table, tmp_path / "c.parquet")

    def ask(model: Path, **columns: str) -> tuple[PredictSummary, list[dict[str, Any]]]:
        options = PredictOptions(
            model=model,
            sources=(str(tmp_path / "c.parquet"),),
            out=tmp_path / "o.parquet",
            columns=columns,
            head=HeadOptions(device="cpu"),
        )
        return predict_rows(options), pq.read_table(options.out).to_pylist()

    summary, rows = ask(pairs)
    assert [row["label"] in LABELS for row in rows] == [True, False]
    assert summary.counts == {"no answer: null text2": 1}
    summary, rows = ask(pairs, text2="other")
    assert summary.n_answered == 2
    summary, rows = ask(tagger)
    assert [len(row["tags"] or []) for row in rows] == [5, 0]
    for name in ("tags", "scores"):  # of what is no word there are none
        assert [x is None for x in rows[0][name]] == [False, False, True, True, False]
    assert summary.counts == {"no answer: empty tokens": 1}
    with pytest.raises(RequestError, match="--text names a column") as raised:
        ask(tagger, text="other")
    assert "--tokens" in raised.value.hint
    with pytest.raises(RequestError, match=r"'other' .* string, and a list of texts is wanted"):
        ask(tagger, tokens="other")


def test_questions_and_texts(here: Here, tmp_path: Path) -> None:
    """A head that finds answers reads two columns; where it finds none, that is counted. What it
    has no setting for is refused."""
    head = make_head(tmp_path / "answers", HeadTask.ANSWER)
    table = {"question": ["which bank", "what"], "context": [" ".join(SENTENCES[:4] * 3), "a b"]}
    pq.write_table(pa.table(table), tmp_path / "q.parquet")
    out = tmp_path / "o.parquet"
    asked = ("predict", head, tmp_path / "q.parquet", "--out", out, "--device", "cpu")
    done = here(*asked)
    assert "2 rows, 2 with an answer" in done.stdout, done.stderr
    for row in pq.read_table(out).to_pylist():
        assert row["answer"] == row["context"][row["start"] : row["end"]] != ""
    done = here(*asked, "--null-threshold", 1e9)
    assert "no answer: the head found none: 2" in done.stdout, done.stderr
    assert pq.read_table(out)["answer"].null_count == 2
    for option in (("--probabilities",), ("--beams", "2")):
        assert_refused(here(*asked, "-q", *option), option[0], "task answer has no such setting")


class Echo:
    """A head of no weight, which answers with the length of a text."""

    task, inputs, description = HeadTask.CLASSIFY, ("text",), "none"
    schema = pa.schema([("length", pa.int64())])
    most_bytes = 0

    def predict(self, rows: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
        """The lengths."""
        self.most_bytes = max(self.most_bytes, pa.total_allocated_bytes())
        return pa.record_batch([pa.array([len(t) for t in rows["text"]])], schema=self.schema)


def test_memory_does_not_grow_with_the_source(
    asked: PredictOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a source of 30 MB in one row group no more than some batches are held at once."""
    chance = np.random.default_rng(0)
    values = [chance.bytes(500).hex() for _ in range(30_000)]
    pq.write_table(pa.table({"text": values}), tmp_path / "large.parquet")
    del values
    monkeypatch.setattr("embedder.corpus.MAX_BATCH_BYTES", 1 << 17)
    monkeypatch.setattr("jobs.predict_parts.PART_BYTES", 1 << 19)
    monkeypatch.setattr("jobs.predict.GROUP_BYTES", 1 << 19)
    monkeypatch.setattr("jobs.predict_plan.WINDOW_ROWS", 128)
    head = Echo()
    monkeypatch.setattr("jobs.predict_plan.open_head", lambda *_: head)
    before = pa.total_allocated_bytes()
    summary = predict_rows(replace(asked, sources=(str(tmp_path / "large.parquet"),)))
    assert summary.n_rows == 30_000
    assert head.most_bytes - before < 12 << 20
    assert pq.read_table(asked.out)["length"].to_pylist() == [1000] * 30_000


@pytest.fixture
def refuse(here: Here, source: Path, tmp_path: Path) -> Callable[..., None]:
    """Run `predict`, which must fail with one line, and leave nothing."""

    def run(model: Path, *arguments: str | Path, words: tuple[str, ...]) -> None:
        before = sorted(tmp_path.rglob("*"))
        sources = () if any(str(a).endswith(".parquet") for a in arguments[:1]) else (source,)
        out = () if "--out" in arguments else ("--out", tmp_path / "o.parquet")
        done = here("predict", model, *sources, *arguments, *out, "-q", "--device", "cpu")
        assert_refused(done, *words)
        assert sorted(tmp_path.rglob("*")) == before

    return run


Refuse = Callable[..., None]


def test_folders_that_hold_no_head(refuse: Refuse, tmp_path: Path, tiny_model: Path) -> None:
    """It is said what a folder holds instead, and which command makes a head."""
    refuse(tiny_model, words=("an encoder without a head", "embedder finetune classify"))
    refuse(tmp_path, words=("holds no model", "embedder finetune"))
    refuse(tmp_path / "nowhere", words=("nowhere", "head.json", "embedder finetune"))
    (tmp_path / "an.index").mkdir()
    (tmp_path / "an.index" / "manifest.json").write_text("{}")
    refuse(tmp_path / "an.index", words=("an index", "embedder finetune"))


def test_bad_requests(refuse: Refuse, classifier: Path, source: Path, tmp_path: Path) -> None:
    """A column that is not there or holds no text, a source that is not there, a folder that is
    not there and an ending that means nothing are one line, and leave nothing."""
    refuse(classifier, "--text", "body", words=("no column 'body'", "year, text, Label", "--text"))
    refuse(classifier, "--text", "year", words=("'year'", "int64, and text is wanted", "--text"))
    refuse(classifier, "--text", "body", "--dry-run", words=("no column 'body'",))
    refuse(classifier, "--question", "text", words=("--question", "--text"))
    refuse(classifier, "--fields", "nothing", words=("no column 'nothing'", "--fields"))
    refuse(classifier, tmp_path / "no.parquet", words=("There is no file", "no.parquet"))
    refuse(classifier, "--out", tmp_path / "no" / "o.csv", words=("no folder", "Make it first"))
    refuse(classifier, "--out", tmp_path, words=("it is a folder",))
    refuse(classifier, "--out", tmp_path / "o.xlsx", words=(".xlsx", "--format"))
    refuse(classifier, "--out", source, words=("is one of the sources",))


def test_the_command(here: Here, classifier: Path, source: Path, tmp_path: Path) -> None:
    """People are told what was written and counted; a dry run says what there is to do, and
    writes nothing; an interruption says how to go on."""
    arguments = ("predict", classifier, source, "--out", tmp_path / "o.csv", "--device", "cpu")
    before = sorted(tmp_path.rglob("*"))
    done = here(*arguments, "--dry-run", "--probabilities")
    assert done.returncode == 0, done.stderr
    assert "230 rows" in done.stdout and "text as text" in done.stdout
    assert "label, score, probabilities" in done.stdout and "rows/s on a sample" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before
    done = here(*arguments)
    assert done.returncode == 0, done.stderr
    assert "230 rows, 226 with an answer" in done.stdout
    assert "no answer: null text: 2" in done.stdout and "predicting" in done.stderr
    done = here(*arguments, "-q", "--limit", 5)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len((tmp_path / "o.csv").read_text().splitlines()) > 5


def test_an_interruption_says_how_to_go_on(
    here: Here,
    classifier: Path,
    source: Path,
    tmp_path: Path,
    watch: Watch,
    in_small_parts: None,
) -> None:
    """Ctrl-C is one line, and the same command then goes on; the dry run says how far it is."""
    watch(3, KeyboardInterrupt)
    arguments = ("predict", classifier, source, "--out", tmp_path / "o.csv")
    done = here(*arguments, "-q")
    assert done.returncode == 130
    assert done.stderr.strip() == "Interrupted. Run the same command again to go on."
    watch()
    assert "40 of them done already" in here(*arguments, "--dry-run").stdout
    done = here(*arguments)
    assert "40 of 230 rows are done already." in done.stderr
    assert "40 of them before" in done.stdout


def test_folders_of_others_stay(asked: PredictOptions) -> None:
    """A folder that has the name of a run's own, and was there before, is refused and kept."""
    folder = work_folder(Path(asked.out))
    folder.mkdir()
    (folder / "notes.txt").write_text("the only copy")
    for restart in (False, True):
        with pytest.raises(OutputError, match="not of an earlier run"):
            predict_rows(replace(asked, restart=restart))
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
