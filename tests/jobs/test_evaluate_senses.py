"""Measuring senses: measures agree with references, and bad data is named by its row."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, adjusted_rand_score, f1_score

from embedder.errors import ColumnError, EmbedderError, LabelError, RequestError, SourceError
from embedder.labelled import (
    LabelColumns,
    LabelledPair,
    LabelledUse,
    read_matches,
    read_scores,
    read_uses,
)
from embedder.occurrences import Use
from embedder.threshold import best_threshold, cross_fitted_accuracy
from embedder.vectors import Rows, normalise
from jobs.evaluate_senses import (
    evaluate_centroids,
    evaluate_few_shots,
    evaluate_induction,
    evaluate_matches,
    evaluate_similarity,
)
from jobs.measures import classification, clustering, paired_f_score
from jobs.sense_reports import mean_scores

Run = Callable[..., "subprocess.CompletedProcess[str]"]
COLUMNS = LabelColumns()
TEXTS = {
    "river": ["the bank of the river was green", "the green bank of the river"],
    "money": ["the bank raised its interest rates again", "its interest rates bank again"],
}


def places(uses: Sequence[Use]) -> Rows:
    """Vectors of a world where the text begins with the angle of the vector, in degrees."""
    angles = np.radians([float(use.text.split()[0]) for use in uses])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def use(angle: float, label: str, word: str = "bank") -> LabelledUse:
    """A use whose vector has an angle."""
    return LabelledUse(word, Use(f"{angle} bank", len(f"{angle} "), len(f"{angle} bank")), label)


def pair(difference: float, score: float) -> LabelledPair:
    """A pair whose vectors have an angle between them."""
    return LabelledPair(use(0, "").use, use(difference, "").use, score)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A Parquet file of rows."""
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def labelled_file(path: Path, n: int = 10) -> Path:
    """Uses of `bank` with their characters, `n` of each sense."""
    rows = []
    for number in range(n):
        for label, texts in TEXTS.items():
            text = texts[number % len(texts)]
            start = text.index("bank")
            row = {"word": "bank", "text": text, "start": start, "end": start + 4, "sense": label}
            rows.append(row)
    return write(path, rows)


def test_centroids_by_hand() -> None:
    """The nearer mean gives the label; one of four uses lies on the wrong side."""
    train = [use(0, "a"), use(20, "a"), use(80, "b"), use(100, "b")]
    test = [use(5, "a"), use(60, "a"), use(85, "b"), use(95, "b")]
    scores = evaluate_centroids(train, test, places)["bank"]
    assert scores["accuracy"] == 0.75
    assert scores["macro_recall"] == 0.75
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_words_do_not_see_one_another() -> None:
    """A word's uses are compared with its own training uses alone, and all words count the same."""
    train = [use(0, "a", "x"), use(90, "b", "x"), use(0, "b", "y"), use(90, "a", "y")]
    test = [use(1, "a", "x"), use(1, "b", "y"), use(89, "a", "y")]
    words = evaluate_centroids(train, test, places)
    assert [scores["accuracy"] for scores in words.values()] == [1, 1]
    assert mean_scores({"x": {"a": 1.0}, "y": {"a": 0.0}}) == {"a": 0.5}


def test_a_word_without_training_uses() -> None:
    """A word that is tested and not trained is an error that names it."""
    with pytest.raises(RequestError, match="'y'"):
        evaluate_centroids([use(0, "a")], [use(0, "a", "y")], places)


def test_few_shots_of_clear_senses() -> None:
    """Where senses lie far apart one use of each is enough; the draws are the same every time."""
    train = [use(a, "a") for a in range(5)] + [use(a, "b") for a in range(85, 90)]
    test = [use(2, "a"), use(88, "b")]
    found = evaluate_few_shots(train, test, places, (1, 3, 100))["bank"]
    assert found == {"accuracy_1": 1, "accuracy_3": 1, "accuracy_100": 1}
    mixed = [use(a, "ab"[a % 2]) for a in range(0, 90, 7)]
    first, again = (evaluate_few_shots(mixed, test, places, (1,)) for _ in range(2))
    assert first == again and 0 < first["bank"]["accuracy_1"] < 1


def test_perfect_groups() -> None:
    """Groups that are the labels under other names score one by every measure."""
    assert set(clustering(list("aabbc"), [7, 7, 0, 0, 3]).values()) == {1.0}


def test_measures_agree_with_scikit_learn() -> None:
    """Accuracy, F1 and ARI are scikit-learn's, on labels that say little about one another."""
    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 3, (2, 200))
    names, guessed = [str(v) for v in true], [str(v) for v in found]
    scores = classification(names, guessed)
    assert scores["accuracy"] == accuracy_score(true, found)
    assert scores["macro_f1"] == pytest.approx(f1_score(true, found, average="macro"))
    assert clustering(names, found.tolist())["ari"] == adjusted_rand_score(true, found)


def test_paired_f_score_by_hand() -> None:
    """Labels aab b, groups xxx y: one shared pair of two labelled and three grouped ones."""
    assert paired_f_score(list("aabb"), [0, 0, 0, 1]) == pytest.approx(2 * 1 / (2 + 3))


def test_paired_f_score_of_lone_uses() -> None:
    """Where no pair shares a group there is nothing right."""
    assert paired_f_score(list("aabb"), [0, 1, 2, 3]) == 0


def test_induction_finds_separate_senses() -> None:
    """Two clouds of uses are two groups and agree with their labels; small words are left out."""
    rng = np.random.default_rng(1)
    clouds = np.repeat(np.eye(40, dtype=np.float32)[:2], 30, axis=0)
    rows = normalise(clouds + 0.05 * rng.standard_normal((60, 40)).astype(np.float32))
    uses = [use(i, "ab"[i // 30]) for i in range(60)] + [use(0, "a", "rare")]

    def encode(asked: Sequence[Use]) -> Rows:
        return rows[[int(u.text.split()[0]) for u in asked]]

    words = evaluate_induction(uses, encode, least_uses=20, least_senses=2)
    assert list(words) == ["bank"]
    assert words["bank"]["ari"] == 1
    assert (words["bank"]["n_found"], words["bank"]["n_true"]) == (2, 2)
    with pytest.raises(RequestError, match="No word has 100 uses"):
        evaluate_induction(uses, encode, least_uses=100, least_senses=2)


def test_whitening_evens_out_what_does_not_tell_labels_apart() -> None:
    """Labels that lie along one axis, in uses that vary far more along others, are found only when
    that variation, which other words show too, is evened out."""
    rng = np.random.default_rng(4)
    spread = np.array([0.05, *[1.0] * 7])
    labels = np.arange(400) % 2
    raw = rng.standard_normal((400, 8)) * spread
    raw[:, 0] += np.where(labels, 0.2, -0.2)
    rows = normalise(np.hstack([raw, np.full((400, 1), 3.0)]).astype(np.float32))
    words = ["bank" if i < 40 or i >= 200 else "plant" for i in range(400)]
    uses = [LabelledUse(words[i], Use(f"{i} bank", 2, 6), "ab"[labels[i]]) for i in range(400)]

    def encode(asked: Sequence[Use]) -> Rows:
        return rows[[int(u.text.split()[0]) for u in asked]]

    train, test = uses[:200], uses[200:]
    plain = evaluate_centroids(train, test, encode)["bank"]["accuracy"]
    even = evaluate_centroids(train, test, encode, whiten=True)["bank"]["accuracy"]
    assert plain < 0.7 and even > 0.9


def test_threshold_is_fitted_on_training_pairs() -> None:
    """Pairs of another range are judged by the threshold of the training pairs, and so wrongly."""
    train = [pair(10, 1), pair(20, 1), pair(40, 0), pair(50, 0)]
    dev = [pair(60, 1), pair(80, 0)]
    found = evaluate_matches(train, dev, places)
    assert np.cos(np.radians(40)) < found["threshold"] < np.cos(np.radians(20))
    assert found["accuracy"] == 0.5
    assert evaluate_matches(dev, dev, places)["accuracy"] == 1


def test_threshold_agrees_with_trying_all() -> None:
    """No threshold is right more often than the one that is found."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        values = rng.integers(0, 8, 30) / 8
        is_match = rng.random(30) < values
        threshold = best_threshold(values, is_match)
        tried = [((values >= t) == is_match).mean() for t in np.linspace(-0.1, 1.1, 100)]
        assert ((values >= threshold) == is_match).mean() == pytest.approx(max(tried))


def test_a_threshold_is_tried_on_other_pairs() -> None:
    """Each half of the pairs is measured with the threshold of the other: clear pairs are all
    right, also where matches and others come by turns; where the halves contradict each other,
    one of four is."""
    values = np.array([0.1, 0.2, 0.8, 0.9])
    matches = np.array([False, False, True, True])
    assert cross_fitted_accuracy(values, matches) == 1
    turns = np.array([0, 2, 1, 3])
    assert cross_fitted_accuracy(values[turns], matches[turns]) == 1
    assert cross_fitted_accuracy(np.array([0.1, 0.9, 0.1, 0.9]), matches) == 0.25


@pytest.mark.parametrize("matches", list(itertools.product([False, True], repeat=3)))
def test_both_halves_have_pairs(matches: tuple[bool, ...]) -> None:
    """Two or three pairs can be measured, whatever they are."""
    for n in (2, 3):
        found = cross_fitted_accuracy(np.arange(n, dtype=np.float64), np.array(matches[:n]))
        assert 0 <= found <= 1


def test_similarity_is_of_ranks() -> None:
    """Scores in the order of the cosines correlate fully, whatever their distances."""
    pairs = [pair(10, 9), pair(30, 8), pair(60, 1)]
    assert evaluate_similarity(pairs, places)["spearman"] == pytest.approx(1)
    assert evaluate_similarity([pair(10, 1), pair(30, 2)], places)["spearman"] == pytest.approx(-1)


def test_three_ways_to_say_where_a_word_stands(tmp_path: Path) -> None:
    """Characters, tokens and what stands there lead to the same use."""
    text, tokens = "a river bank", ["a", "river", "bank"]
    rows: list[dict[str, Any]] = [
        {"text": text, "start": 8, "end": 12},
        {"tokens": tokens, "target_index": 2},
        {"text": text, "target": "Bank"},
        {"text": text},
    ]
    for number, row in enumerate(rows):
        path = write(tmp_path / f"{number}.parquet", [{"word": "bank", "sense": 1, **row}])
        assert read_uses([path], COLUMNS) == [LabelledUse("bank", Use(text, 8, 12), "1")]


def test_pairs_have_their_sides_numbered(tmp_path: Path) -> None:
    """The columns of a pair end in 1 and 2; labels may be words, numbers or truth values."""
    side = {"tokens1": ["a", "bank"], "target_index1": 1, "tokens2": ["bank"], "target_index2": 0}
    path = write(tmp_path / "p.parquet", [{**side, "label": "F"}, {**side, "label": "T"}])
    first, second = Use("a bank", 2, 6), Use("bank", 0, 4)
    assert read_matches(path, COLUMNS) == [(first, second, 0), (first, second, 1)]
    path = write(tmp_path / "s.parquet", [{**side, "score": 3}])
    assert read_scores(path, COLUMNS) == [(first, second, 3)]


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ({"tokens": ["a"], "target_index": 1}, LabelError, "Row 2 .* 1 as 'target_index'"),
        ({"tokens": ["a"], "target_index": -1}, LabelError, "Row 2 .* -1 as 'target_index'"),
        ({"text": "bank", "start": 2, "end": 9}, LabelError, "Row 2 .* characters 2 to 9"),
        ({"text": "bank", "start": 2, "end": 2}, LabelError, "Row 2 .* characters 2 to 2"),
        ({"text": "a river"}, LabelError, "Row 2 .*'bank' is not in 'a river'"),
        ({"text": "bank", "sense": None}, LabelError, "Row 2 .* nothing in the column 'sense'"),
        ({"text": "bank", "start": 0.5, "end": 4}, LabelError, "Row 2 .* 0.5 .* whole number"),
        ({"tokens": [None], "target_index": 0}, LabelError, "Row 2 .* no list of texts"),
        ({"tokens": ["a"]}, ColumnError, "does not say where words stand"),
    ],
)
def test_bad_rows_are_named(
    tmp_path: Path, row: dict[str, Any], kind: type[EmbedderError], message: str
) -> None:
    """A row that points outside its text or has no label is an error with the row's number."""
    good = {"tokens": ["bank"], "target_index": 0, "text": "bank", "start": 0, "end": 4}
    rows = [{"word": "bank", "sense": "x", **{k: good[k] for k in row if k in good}}]
    rows.append({"word": "bank", "sense": "x", **row})
    with pytest.raises(kind, match=message):
        read_uses([write(tmp_path / "bad.parquet", rows)], COLUMNS)


def test_a_target_stands_where_it_is_found(tmp_path: Path) -> None:
    """Letters that are longer in lower case do not move the word behind them."""
    row = {"word": "bank", "text": "İİ the Bank", "sense": "x"}
    [found] = read_uses([write(tmp_path / "x.parquet", [row])], COLUMNS)
    assert found.use.text[found.use.start : found.use.end] == "Bank"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The party was about modern art.", "art."),
        ("A partial view of artists", "artists"),
        ("The party", "arty"),
    ],
)
def test_a_target_is_a_word_where_it_can_be(tmp_path: Path, text: str, wanted: str) -> None:
    """A word itself goes before one that begins with it, and that before one that has it within."""
    row = {"word": "art", "target": "art", "text": text, "sense": "x"}
    [found] = read_uses([write(tmp_path / "x.parquet", [row])], COLUMNS)
    assert found.use.end - found.use.start == 3
    assert text[found.use.start :] == wanted


def test_bad_files_are_named(tmp_path: Path) -> None:
    """A missing column, an empty file, one that is no Parquet and one that is not there."""
    path = write(tmp_path / "x.parquet", [{"word": "bank", "text": "bank"}])
    with pytest.raises(ColumnError, match="no column 'sense' or 'class_id' or 'label'"):
        read_uses([path], COLUMNS)
    with pytest.raises(ColumnError, match="no column 'gold'"):
        read_uses([path], LabelColumns(label="gold"))
    with pytest.raises(ColumnError, match="no column 'lemma'"):
        read_uses([path], LabelColumns(label="text", word="lemma"))
    pq.write_table(pq.read_table(path).slice(0, 0), tmp_path / "empty.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    for name, message in [("empty", "has no rows"), ("text", "cannot be read"), ("none", "cannot")]:
        with pytest.raises(SourceError, match=message):
            read_uses([tmp_path / f"{name}.parquet"], COLUMNS)


@pytest.mark.parametrize("score", ["high", "nan", None])
def test_a_score_that_is_no_number(tmp_path: Path, score: str | None) -> None:
    """A pair whose score is missing or no number is an error with the row's number."""
    row = {"word": "bank", "text1": "bank", "text2": "bank", "score": score}
    kinds = pa.schema([(name, pa.string()) for name in row])
    pq.write_table(pa.Table.from_pylist([row], kinds), tmp_path / "p.parquet")
    with pytest.raises(LabelError, match="Row 1"):
        read_scores(tmp_path / "p.parquet", COLUMNS)


def test_the_commands(tmp_path: Path, tiny_model: Path, run: Run) -> None:
    """Every command reads a user's Parquet, with columns of other names, and writes its format."""
    data = labelled_file(tmp_path / "uses.parquet", n=20)
    renamed = pq.read_table(data).rename_columns(["w", "t", "s", "e", "gold"])
    pq.write_table(renamed, tmp_path / "renamed.parquet")
    sides = [
        {"text1": t, "text2": u, "word": "bank"} for t in TEXTS["river"] for u in TEXTS["money"]
    ]
    pairs = write(tmp_path / "p.parquet", [{**s, "label": i % 2} for i, s in enumerate(sides)])
    model = ("--model", tiny_model, "--engine", "torch")

    def scores(*arguments: str | Path) -> Any:
        how = model[:2] if arguments[0] == "static" else model  # which no engine runs
        done = run("evaluate", "senses", *arguments, *how, "--format", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    names = ("--word", "w", "--text", "t", "--start", "s", "--end", "e", "--label", "gold")
    found = scores("centroid", data, data)
    assert found["summary"]["accuracy"] == 1
    assert found["words"][0]["word"] == "bank"
    again = scores("centroid", tmp_path / "renamed.parquet", tmp_path / "renamed.parquet", *names)
    assert again["words"] == found["words"]
    assert scores("few-shot", data, data, "--shots", "3")["summary"].keys() == {"accuracy_3"}
    assert scores("static", data, data)["summary"]["macro_recall"] == 1
    assert scores("induction", data, "--full")["summary"]["n_uses"] == 40
    assert 0 <= scores("pairs", pairs, pairs)["summary"]["accuracy"] <= 1
    assert scores("similarity", pairs, "--label", "label")["summary"]["n_pairs"] == 4


def test_text_csv_and_errors(tmp_path: Path, tiny_model: Path, run: Run) -> None:
    """People get a table, CSV has a row a word and one for all, an error is one line."""
    data = labelled_file(tmp_path / "uses.parquet")
    command = ("evaluate", "senses", "static", data, data, "--model", tiny_model)
    lines = run(*command).stdout.splitlines()
    assert lines[0].split() == ["word", "accuracy", "macro_f1", "macro_recall"]
    assert [line.split()[0] for line in lines[1:3]] == ["bank", "all"]
    rows = run(*command, "--format", "csv").stdout.splitlines()
    assert rows == ["word,accuracy,macro_f1,macro_recall", "bank,1.0,1.0,1.0", "all,1.0,1.0,1.0"]
    failed = run(*command, "--label", "gold")
    assert failed.returncode == 2 and not failed.stdout
    assert failed.stderr.startswith("Error: ") and failed.stderr.count("\n") == 1
