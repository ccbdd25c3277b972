"""Words in rows of text get the senses that the index has for them, whatever the batches."""

from __future__ import annotations

import csv
import json
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import Done, assert_refused, start, wait_until, write_corpus

import jobs.disambiguate
from embedder.encoders import EncoderOptions
from embedder.errors import ColumnError, EmbedderError, OutputError, RequestError, SourceError
from embedder.specs import Engine
from indexes.documents import read_passages
from indexes.layout import DOCUMENTS_FILE, Layout
from indexes.manifest_file import read_manifest, write_manifest
from indexes.occurrences import open_occurrences
from indexes.sense_inventory import SenseInventory, WordSenses, write_inventory
from jobs.build import build_index
from jobs.disambiguate import DisambiguateOptions, DisambiguateSummary, disambiguate
from jobs.plan import BuildOptions
from jobs.query_encoder import QueryOptions
from jobs.row_files import RowFormat
from jobs.targets import Status, TargetColumns

Run = Callable[..., Done]
Row = dict[str, Any]

SHORE = ["river", "green", "steel", "beam", "over", "lifted"]
MONEY = ["interest", "rates", "raised", "again", "rising", "energy"]


@dataclass(frozen=True)
class World:
    """An index with senses and what it was built from.

    Args:
        layout: the index; `bank` has several senses in it, `crane` has one.
        corpus: its source.
        texts: the texts in it.
    """

    layout: Layout
    corpus: Path
    texts: list[str]


def _texts() -> list[str]:
    """Texts about two kinds of bank and about a crane; each tenth is longer than the window."""
    chance = random.Random(1)

    def around(words: list[str], word: str, n: int) -> str:
        return " ".join(f"{' '.join(chance.sample(words, 4))} {word}" for _ in range(n))

    texts = []
    for i in range(40):
        n = 3 if i % 10 else 30
        texts += [around(SHORE, "bank", n), around(MONEY, "bank", n)]
        texts += [around(SHORE + MONEY, "crane", 3), f"the {' '.join(MONEY)} word{i}"]
    return texts


@pytest.fixture(scope="module", autouse=True)
def in_little_text() -> Iterator[None]:
    """Function words are looked for in the small corpora here too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedder.function_words.LEAST_WORDS", 0)
        yield


@pytest.fixture(scope="module")
def world(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """An index of the texts with the tiny model."""
    folder = tmp_path_factory.mktemp("senses")
    texts = _texts()
    corpus = write_corpus(folder / "c.parquet", texts)
    layout = Layout(folder / "c.index")
    encoder = EncoderOptions(model=str(tiny_model), engine=Engine.OPENVINO)
    build_index(BuildOptions(sources=(str(corpus),), out=layout.root, encoder=encoder))
    _merge_senses(layout, "crane")
    return World(layout, corpus, texts)


def _merge_senses(layout: Layout, form: str) -> None:
    """Give a word one sense, which random weights do not."""
    manifest = read_manifest(layout)
    assert manifest.senses is not None and manifest.basis is not None
    inventory = SenseInventory(layout, manifest.senses)
    words = [inventory.find(word) for word in inventory]
    merged = [_merged(word) if word.form == form else word for word in words if word is not None]
    senses = write_inventory(layout, merged, manifest.segments, manifest.basis.id)
    write_manifest(layout, replace(manifest, senses=senses))


def _merged(word: WordSenses) -> WordSenses:
    uses = word.uses.copy()
    uses["sense"], uses["confidence"] = 1, 65_535
    return replace(
        word,
        numbers=np.array([1]),
        n_uses=np.array([len(uses)]),
        centroids=word.centroids[:1],
        uses=uses,
    )


Ask = Callable[..., tuple[list[Row], DisambiguateSummary]]


@pytest.fixture
def ask(world: World, tmp_path: Path) -> Ask:
    """Disambiguate texts, with columns by name; the rows of the file, and the summary."""

    def ask_it(
        texts: Sequence[str | None], rows: int = 50, **options: Any
    ) -> tuple[list[Row], DisambiguateSummary]:
        columns = options.pop("columns", {})
        source = write_corpus(tmp_path / "asked.parquet", texts, rows=rows, **columns)
        out = tmp_path / "senses.parquet"
        asked = DisambiguateOptions(sources=(str(source),), out=out, **options)
        summary = disambiguate(world.layout, asked)
        return pq.read_table(out).to_pylist(), summary

    return ask_it


def _stored(world: World) -> Iterator[tuple[tuple[str, int], str, float]]:
    """Id, start, sense and confidence of every use in the inventory."""
    layout, manifest = world.layout, read_manifest(world.layout)
    assert manifest.senses is not None
    inventory = SenseInventory(layout, manifest.senses)
    segments = [
        (
            open_occurrences(layout, segment),
            read_passages(layout, segment),
            pq.read_table(layout.segment(segment.id) / DOCUMENTS_FILE)["__id"].to_pylist(),
        )
        for segment in manifest.segments
    ]
    for form in inventory:
        word = inventory.find(form)
        assert word is not None
        for number, row, sense, confidence in word.uses.tolist():
            found, table, ids = segments[number]
            passage = found.passages()[row]
            start = int(table.start[passage] + found.records["start"][row])
            yield (ids[table.document[passage]], start), f"{form}/{sense}", confidence / 65_535


# --- laws ---


def test_the_texts_of_an_index_get_its_senses(world: World, ask: Ask) -> None:
    """Every use in the inventory, in texts longer than the window too, gets its sense again, and
    its confidence."""
    rows, summary = ask(world.texts)
    found = {(row["id"], row["start"]): row for row in rows}
    stored = list(_stored(world))
    assert {place for place, _, _ in stored} == set(found)
    assert len(found) == len(rows) == summary.n_words == summary.n_answered
    assert len({sense for _, sense, _ in stored}) > 2
    for place, sense, sure in stored:
        assert found[place]["sense"] == sense
        assert found[place]["confidence"] == pytest.approx(sure, abs=1 / 65_535)


@pytest.mark.parametrize("max_batch_tokens", [1, 300])
def test_answers_do_not_depend_on_batches(
    world: World, ask: Ask, max_batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Smaller batches and windows, other row groups and another order change no byte."""
    texts = world.texts[:60]
    expected, _ = ask(texts)
    monkeypatch.setattr(jobs.disambiguate, "WINDOW_PASSAGES", 5)
    ids = [f"d{i}" for i in range(60)][::-1]
    options = QueryOptions(max_batch_tokens=max_batch_tokens)
    turned, _ = ask(texts[::-1], rows=7, columns={"ids": ids}, encoder=options)
    by_id = {i: [row for row in turned if row["id"] == i] for i in ids}
    assert [row for i in ids[::-1] for row in by_id[i]] == expected
    assert [row["id"] for row in turned] == [i for i in ids for _ in by_id[i]]


def test_a_target_gets_what_it_gets_among_all_words(world: World, ask: Ask) -> None:
    """A word that is asked for by its place has the same answer as among all words."""
    expected, _ = ask(world.texts[:60])
    text_of = {f"d{i}": text for i, text in enumerate(world.texts)}
    columns = {
        "s": pa.array([row["start"] for row in expected], pa.uint16()),
        "e": [row["end"] for row in expected],
        "ids": [row["id"] for row in expected],
    }
    texts = [text_of[row["id"]] for row in expected]
    rows, summary = ask(texts, columns=columns, targets=TargetColumns(start="s", end="e"))
    assert rows == expected
    assert summary.counts == {}


# --- rows that cannot be answered ---


def test_each_row_has_an_answer_or_a_reason(ask: Ask) -> None:
    """A row for each row, in order, with a status; the summary counts those without a sense."""
    cases: list[tuple[str | None, str | None, str]] = [
        ("the green bank", "Bank", Status.OK),
        ("a crane lifted the beam", "crane", Status.ONE_SENSE),
        ("a house", "house", Status.UNKNOWN_WORD),
        ("the energy", "energy", Status.FUNCTION_WORD),
        ("the river", "bank", Status.NOT_IN_TEXT),
        ("bank bank", "bank", Status.SEVERAL),
        ("a river-bank", "river-bank", Status.NOT_ONE_WORD),
        ("the bank", None, Status.NULL_TARGET),
        (None, "bank", "null text"),
        ("", "bank", "empty text"),
        ("  ", "bank", "blank text"),
        ("interest of a bank", "bank", Status.OK),
    ]
    texts, words, statuses = zip(*cases, strict=True)
    columns = {"w": pa.array(words, pa.string())}
    rows, summary = ask(texts, columns=columns, targets=TargetColumns(word="w"), fields=("w",))
    assert [row["status"] for row in rows] == list(statuses)
    assert [row["id"] for row in rows] == [f"d{i}" for i in range(len(cases))]
    assert [row["w"] for row in rows] == list(words)
    for row in rows:
        is_answered = row["status"] in (Status.OK, Status.ONE_SENSE)
        assert (row["sense"] is not None) == (row["confidence"] is not None) == is_answered
        assert is_answered <= (row["start"] is not None)
    assert rows[1]["sense"] == "crane/1" and rows[1]["confidence"] == 1
    assert (summary.n_rows, summary.n_words, summary.n_answered) == (12, 12, 3)
    assert sum(summary.counts.values()) == 9


def test_texts_without_words_have_no_rows(ask: Ask) -> None:
    """Where all words are asked for, null texts and words without senses are counted."""
    rows, summary = ask([None, "energy house", "bank"])
    assert [(row["id"], row["word"]) for row in rows] == [("d2", "bank")]
    counts = {"null text": 1, Status.FUNCTION_WORD: 1, Status.UNKNOWN_WORD: 1}
    assert (summary.left_out, summary.counts) == (counts, {})
    assert summary.n_rows == 3


def test_a_lemma_names_the_senses(ask: Ask) -> None:
    """Beside a place, the word says whose senses are meant, whatever form stands there."""
    targets = TargetColumns(word="w", start="s", end="e")
    columns = {"w": ["bank"], "s": [10], "e": [15]}
    [row], _ = ask(["the green banks"], columns=columns, targets=targets)
    assert row["status"] == Status.OK and row["sense"].startswith("bank/")
    assert (row["word"], row["start"], row["end"]) == ("bank", 10, 15)


# --- files ---


def test_every_format_holds_the_same(world: World, ask: Ask, tmp_path: Path) -> None:
    """Parquet, JSON lines and CSV have the same rows, with fields that keep their names apart."""
    columns = {"year": [2001, None, 2003], "sense": ["x", "y", "z"]}
    options: dict[str, Any] = {"fields": ("year", "sense"), "targets": TargetColumns(word="sense")}
    texts = ["a x", "y", "the z"]
    rows, _ = ask(texts, columns=columns, **options)
    names = ["id", "year", "metadata.sense", "word", "start", "end", "sense", "confidence"]
    assert list(rows[0]) == [*names, "status"]
    for form in (RowFormat.JSONL, RowFormat.CSV):
        out = tmp_path / f"senses.{form}"
        source = str(tmp_path / "asked.parquet")
        disambiguate(world.layout, DisambiguateOptions(sources=(source,), out=out, **options))
        with out.open(encoding="utf-8", newline="") as file:
            if form is RowFormat.JSONL:
                assert [json.loads(line) for line in file] == rows
            else:
                texts = [{k: "" if v is None else str(v) for k, v in r.items()} for r in rows]
                assert list(csv.DictReader(file)) == texts


def test_files_with_other_types_go_together(world: World, tmp_path: Path) -> None:
    """A field that is narrower in one file and missing in another has one type in the output."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_corpus(folder / "a.parquet", ["a bank"], year=pa.array([1], pa.int16()))
    write_corpus(folder / "b.parquet", ["a bank"], year=pa.array([2], pa.int64()))
    write_corpus(folder / "c.parquet", ["a bank"])
    out = tmp_path / "senses.parquet"
    asked = DisambiguateOptions(sources=(str(folder),), out=out, fields=("year",))
    disambiguate(world.layout, asked)
    assert pq.read_table(out)["year"].to_pylist() == [1, 2, None]


# --- bad input ---


@pytest.mark.parametrize(
    ("columns", "options", "error", "said"),
    [
        ({}, {"text": "x"}, ColumnError, "no column 'x'.*--text"),
        ({}, {"id": "x"}, ColumnError, "no column 'x'.*--id"),
        ({}, {"fields": ("x",)}, ColumnError, "no column 'x'.*--fields"),
        ({}, {"targets": TargetColumns(word="x")}, ColumnError, "no column 'x'.*--word"),
        ({"x": [1]}, {"targets": TargetColumns(word="x")}, ColumnError, "int64, and text"),
        (
            {"x": ["1"]},
            {"targets": TargetColumns(target_index="x")},
            ColumnError,
            "string, and whole numbers",
        ),
        (
            {"x": [1], "y": ["a bank"]},
            {"targets": TargetColumns(target_index="x", tokens="y")},
            ColumnError,
            "a list of texts",
        ),
        (
            {"s": [2], "e": [7]},
            {"targets": TargetColumns(start="s", end="e")},
            SourceError,
            "Row 1 .* characters 2 to 7",
        ),
        ({"x": [2]}, {"targets": TargetColumns(target_index="x")}, SourceError, "Row 1 .* 2 tok"),
        ({}, {"limit": 0}, RequestError, "--limit 0"),
    ],
)
def test_bad_columns_are_refused(
    ask: Ask,
    tmp_path: Path,
    columns: dict[str, Any],
    options: dict[str, Any],
    error: type[EmbedderError],
    said: str,
) -> None:
    """A wrong column or place is one error that says which, and nothing is written."""
    with pytest.raises(error, match=said):
        ask(["a bank"], columns=columns, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["asked.parquet"]


def test_a_field_that_is_there_twice_is_refused(world: World, tmp_path: Path) -> None:
    """A field of which a file has two is an error, for nobody knows which is meant."""
    table = pa.table([["a bank"], [1], [2]], names=["text", "x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    source = str(tmp_path / "a.parquet")
    asked = DisambiguateOptions(sources=(source,), out=tmp_path / "o.csv", fields=("x",))
    with pytest.raises(ColumnError, match="several columns 'x'"):
        disambiguate(world.layout, asked)


def test_a_column_that_a_later_file_lacks_is_refused(world: World, tmp_path: Path) -> None:
    """Every file needs the column of the word; the error names the one that lacks it."""
    sources = (
        str(write_corpus(tmp_path / "a.parquet", ["a bank"], w=["bank"])),
        str(write_corpus(tmp_path / "b.parquet", ["a bank"])),
    )
    targets = TargetColumns(word="w")
    asked = DisambiguateOptions(sources=sources, out=tmp_path / "o.csv", targets=targets)
    with pytest.raises(ColumnError, match=r"b\.parquet has no column 'w'"):
        disambiguate(world.layout, asked)


@pytest.mark.parametrize(
    ("out", "error", "said"),
    [
        ("in the index", OutputError, "which is read"),
        ("the source", OutputError, "one of the sources"),
        ("senses.txt", RequestError, r"ending \.txt"),
        ("no/such/folder.csv", OutputError, "cannot be written"),
    ],
)
def test_a_bad_output_is_refused(
    world: World, tmp_path: Path, out: str, error: type[EmbedderError], said: str
) -> None:
    """Nothing is written into the index, over a source, or in a format that is not offered."""
    files = {"in the index": world.layout.root / "o.csv", "the source": world.corpus}
    final = files.get(out, tmp_path / out)
    form = RowFormat.CSV if final == world.corpus else None
    asked = DisambiguateOptions(sources=(str(world.corpus),), out=final, format=form)
    before = world.corpus.read_bytes()
    with pytest.raises(error, match=said):
        disambiguate(world.layout, asked)
    assert world.corpus.read_bytes() == before


def test_an_empty_file_is_refused(world: World, tmp_path: Path) -> None:
    """A file without rows is an error that names it."""
    source = write_corpus(tmp_path / "empty.parquet", [])
    asked = DisambiguateOptions(sources=(str(source),), out=tmp_path / "o.csv")
    with pytest.raises(SourceError, match=r"empty\.parquet has no rows"):
        disambiguate(world.layout, asked)


# --- the command ---


def test_the_command_says_what_it_did(run: Run, world: World, tmp_path: Path) -> None:
    """It writes the file, and says how many words have a sense and why others have none."""
    source = write_corpus(tmp_path / "a.parquet", ["a bank", None, "a house"], w=["bank"] * 3)
    out = tmp_path / "o.jsonl"
    command = ["disambiguate", source, "--out", out, "--index", world.layout.root, "--word", "w"]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert "3 rows, 3 words, 1 with a sense" in done.stdout
    assert "no sense: null text: 1" in done.stdout
    assert "no sense: word not in text: 1" in done.stdout
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [row["status"] for row in rows] == ["ok", "null text", "word not in text"]


def test_an_interrupted_run_leaves_nothing(world: World, tmp_path: Path) -> None:
    """Ctrl-C ends the command with 130, and there is neither the file nor a part of it."""
    source = write_corpus(tmp_path / "a.parquet", world.texts * 100, ids=[*range(16_000)])
    process = start(
        "disambiguate", source, "--out", tmp_path / "o.csv", "--index", world.layout.root
    )
    assert wait_until(process, lambda: len(list(tmp_path.iterdir())) > 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Interrupted" in said and "Traceback" not in said
    assert list(tmp_path.iterdir()) == [source]


def test_an_index_without_senses_is_refused(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    """The command fails with one line that says that the index was built without senses."""
    source = write_corpus(tmp_path / "a.parquet", ["a bank"])
    encoder = EncoderOptions(model=str(tiny_model))
    options = BuildOptions(
        sources=(str(source),), out=tmp_path / "a.index", encoder=encoder, senses=False
    )
    build_index(options)
    done = run("disambiguate", source, "--out", "o.csv", "-q", cwd=tmp_path)
    assert_refused(done, "without senses")
    assert done.returncode == 2
    assert not (tmp_path / "o.csv").exists()
