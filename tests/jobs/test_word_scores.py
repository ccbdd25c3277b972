"""Measures of static vectors: those of SciPy and of gensim, unknown words counted."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import assert_refused
from gensim.models import KeyedVectors
from in_process import Here
from scipy.stats import spearmanr
from word_folders import write_words

from jobs import evaluate_words, open_words
from jobs.static_neighbours import StaticNeighbours
from jobs.word_scores import ALL, Task, answer_analogies

FORMS = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60)]
ROWS = np.random.default_rng(2).normal(size=(60, 6)).astype(np.float32) * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of sixty words."""
    rows = dict(zip(FORMS, ROWS.tolist(), strict=True))
    return write_words(tmp_path_factory.mktemp("words") / "w", rows)


@pytest.fixture(scope="module")
def reference() -> KeyedVectors:
    """The same vectors in gensim."""
    found = KeyedVectors(6)
    found.add_vectors(FORMS, ROWS)
    return found


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A Parquet file of rows."""
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def pairs_file(path: Path) -> Path:
    """Pairs of two data sets, some of unknown words."""
    chance = np.random.default_rng(3)
    rows = [
        {"dataset": "AB"[i % 2], "word1": FORMS[i], "word2": FORMS[i + 7].upper(), "score": s}
        for i, s in enumerate(chance.random(40).tolist())
    ]
    unknown = {"dataset": "A", "word1": "unknown", "word2": FORMS[0], "score": 1.0}
    lost = {"dataset": "C", "word1": "unknown", "word2": "words", "score": 1.0}
    return write(path, [*rows, unknown, lost])


def test_similarity_is_spearmans(folder: Path, tmp_path: Path) -> None:
    """Each data set's score is SciPy's correlation over its pairs of known words alone."""
    path = pairs_file(tmp_path / "p.parquet")
    a, b, c = evaluate_words(open_words(folder).vectors, [path])
    units = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    rows = [row for row in pq.read_table(path).to_pylist() if row["dataset"] == "A"][:-1]
    cosines = [
        units[FORMS.index(r["word1"])] @ units[FORMS.index(r["word2"].lower())] for r in rows
    ]
    assert a.score == pytest.approx(spearmanr([r["score"] for r in rows], cosines).statistic)
    assert (a.task, a.name, a.n, a.n_known) == (Task.SIMILARITY, "A", 21, 20)
    assert (b.n, b.n_known) == (20, 20)
    assert (c.n, c.n_known, c.score) == (1, 0, None)


def test_analogies_are_3cosadd(folder: Path, reference: KeyedVectors) -> None:
    """Answers are those of gensim's `most_similar`, which leaves the three words out too."""
    asked = np.random.default_rng(5).permuted(np.tile(np.arange(60), (40, 1)), axis=1)[:, :3]
    found = answer_analogies(open_words(folder).vectors, asked, 60)
    for (a, b, c), answer in zip(asked.tolist(), found, strict=True):
        [(expected, _)] = reference.most_similar([FORMS[b], FORMS[c]], [FORMS[a]], topn=1)
        assert FORMS[answer] == expected


def test_sections_and_all_of_them(tmp_path: Path) -> None:
    """Right answers are counted by section and together; unknown words are left out, and said."""
    words = {"man": [1, 0, 0], "woman": [1, 1, 0], "king": [0, 0, 1], "queen": [0, 1, 1]}
    folder = write_words(tmp_path / "w", {**words, "car": [1, 0, 0.5]})
    right = {"section": "family", "a": "Man", "b": "woman", "c": "king", "d": "queen"}
    rows = [right, {**right, "d": "car"}, {**right, "d": "?"}, {**right, "section": "x"}]
    scores = evaluate_words(open_words(folder).vectors, [write(tmp_path / "q.parquet", rows)])
    found = [(s.name, s.n, s.n_known, s.score) for s in scores]
    assert found == [("family", 3, 2, 0.5), ("x", 1, 1, 1), (ALL, 4, 3, pytest.approx(2 / 3))]


def test_frequent_words_alone(folder: Path, tmp_path: Path) -> None:
    """With a limit, rarer words are neither asked for nor given as answers."""
    vectors = open_words(folder).vectors
    found = answer_analogies(vectors, np.array([[0, 1, 2], [3, 4, 5]]), 8)
    assert max(found) < 8
    path = pairs_file(tmp_path / "p.parquet")
    assert [s.n_known for s in evaluate_words(vectors, [path], most_words=9)] == [1, 1, 0]


def test_neighbours_are_gensims(folder: Path, reference: KeyedVectors) -> None:
    """The nearest words and their cosines are those that gensim finds."""
    found = StaticNeighbours.find(open_words(folder), FORMS[9].upper(), 12)
    expected = reference.most_similar(FORMS[9], topn=12)
    assert [one.neighbour for one in found.near] == [form for form, _ in expected]
    assert [one.score for one in found.near] == pytest.approx([s for _, s in expected], abs=1e-5)


def test_the_commands(folder: Path, tmp_path: Path, here: Here) -> None:
    """Scores and neighbours come as a table for people and as rows for programs."""
    path = pairs_file(tmp_path / "p.parquet")
    done = here("evaluate", "words", folder, path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["similarity", "pairs", "known", "Spearman"]
    assert lines[3] == ["C", "1", "0", "–"]
    done = here("evaluate", "words", folder, path, "--format", "csv")
    assert [row["name"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["A", "B", "C"]
    done = here("neighbours", FORMS[0], "--static", folder, "-k", "3")
    assert len(done.stdout.splitlines()) == 6 and "one vector" in done.stdout
    done = here("neighbours", FORMS[0], "--static", folder, "-k", "3", "--format", "json")
    assert [row["rank"] for row in json.loads(done.stdout)] == [1, 2, 3]


def test_bad_requests_are_one_line(folder: Path, tmp_path: Path, here: Here) -> None:
    """An unknown word, an option about senses, a folder that is none and data that is none."""
    path = write(tmp_path / "x.parquet", [{"text": "no questions"}])
    assert_refused(here("neighbours", "zebra", "--static", folder), "'zebra' has no vector")
    assert_refused(
        here("neighbours", FORMS[0], "--static", folder, "--sense", "aa/1"), "one vector a word"
    )
    assert_refused(here("neighbours", FORMS[0], "--static", tmp_path), "holds no vectors of words")
    assert_refused(here("evaluate", "words", folder, path), "wanted are word1, word2, score")
    assert_refused(
        here("evaluate", "senses", "static", path, path, "--static", folder, "--model", "x"),
        "--static and --model",
    )
