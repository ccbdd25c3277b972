"""A static vector beside senses: each neighbour has the sense that it belongs to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from banks import TEXTS, write_banks
from corpora import Done, assert_refused
from in_process import Here
from word_folders import write_words

from jobs import compare_word, open_words
from jobs.comparison import COMPARISON_COLUMNS, LEAST_NEARNESS, Comparison
from jobs.comparison_page import render_comparison
from jobs.senses import Senses, open_senses

Run = Callable[..., Done]
LOANS = [f"A loan of {i} thousand was repaid to the bank with interest." for i in range(30)]
HOSTILE = "<script>alert(1)</script>"
STATIC = {
    "bank": [1, 0],
    "loan": [1, 0.1],
    "river": [1, 0.2],
    "zeppelin": [1, 0.3],
    HOSTILE: [1, 0.4],
    "interest": [1, 0.5],
}


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """An index in which `bank` has two senses, and `loan` and `river` are near one each."""
    folder = tmp_path_factory.mktemp("banks")
    texts = [*TEXTS, *LOANS, f"{HOSTILE} on the bank of the river {HOSTILE}"]
    corpus = write_banks(folder / "banks.parquet", texts)
    done = run("index", corpus, "--out", folder / "banks.index", "--engine", "torch")
    assert done.returncode == 0, done.stderr
    return folder / "banks.index"


@pytest.fixture(scope="module")
def senses(banks: Path) -> Iterator[Senses]:
    """Its senses."""
    with open_senses(banks) as found:
        yield found


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Static vectors, in which the words lie in order beside `bank`."""
    return write_words(tmp_path_factory.mktemp("words") / "w", STATIC)


def compared(static: Path, senses: Senses, k: int = 9) -> Comparison:
    """The comparison of `bank`."""
    return compare_word(open_words(static), senses, "Bank", k=k)


def labels(found: Comparison) -> dict[str, str | None]:
    """The sense of each neighbour."""
    return {one.neighbour: one.sense for one in found.static}


def test_neighbours_have_the_sense_that_they_belong_to(static: Path, senses: Senses) -> None:
    """`loan` belongs to the bank that lends, `river` to the one of a river, and words of which the
    index has no senses to none; the order is the static vector's."""
    found = compared(static, senses)
    assert [one.neighbour for one in found.static] == list(STATIC)[1:]
    money, river = (sense.name for sense in found.view.senses)
    assert labels(found) == {
        "loan": money,
        "river": river,
        "zeppelin": None,
        HOSTILE: None,
        "interest": money,
    }
    words = {sense.name: set(sense.words) for sense in found.view.senses}
    assert "river" in words[river] and "river" not in words[money]


def test_labels_are_the_nearest_centroids(static: Path, senses: Senses) -> None:
    """The label is the sense of the nearest pair of centroids, its cosine is said, and below the
    least nearness there is none."""
    found, bank = compared(static, senses), senses.find("bank")
    for one in found.static:
        other = senses.inventory.find(one.neighbour)
        if other is None:
            assert (one.sense, one.through, one.nearness) == (None, None, None)
            continue
        cosines = bank.centroids @ other.centroids.T
        own, its = np.unravel_index(cosines.argmax(), cosines.shape)
        assert one.nearness == pytest.approx(cosines.max())
        assert one.through == other.names[its]
        assert one.sense == (bank.names[own] if cosines.max() >= LEAST_NEARNESS else None)


def test_senses_that_are_missed(static: Path, senses: Senses) -> None:
    """With `loan` as the only neighbour the sense of rivers is missed, and the verdict says so."""
    found = compared(static, senses, k=1)
    money, river = found.view.senses
    assert found.mixed == [money] and found.missed == [river]
    assert found.n_static(money) == 1
    assert found.verdict().endswith(f"It misses {river.name}.")
    assert compared(static, senses).missed == []


def test_rows_hold_both_sides(static: Path, senses: Senses) -> None:
    """Programs get the static list and then each sense's neighbours, all with the same columns."""
    found = compared(static, senses)
    rows = found.rows()
    assert all(tuple(row) == COMPARISON_COLUMNS for row in rows)
    assert [row["neighbour"] for row in rows if row["side"] == "static"] == list(STATIC)[1:]
    for sense in found.view.senses:
        own = [
            row["neighbour"] for row in rows if (row["side"], row["sense"]) == ("sense", sense.name)
        ]
        assert own == [near.sense for near in sense.neighbours]


class Page(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Keep an element."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep its text."""
        self.text += data


def test_the_page_is_complete_and_harmless(static: Path, senses: Senses) -> None:
    """The page loads nothing and runs nothing, whatever words and texts hold; its policy allows
    its own style alone, and both schemes are there."""
    html = render_comparison(compared(static, senses))
    page = Page(html)
    assert not {"script", "img", "iframe", "base", "form"} & {tag for tag, _ in page.tags}
    assert all(attrs.get("href") in (None, "data:,") for _, attrs in page.tags)
    assert not any(re.match("on|style$|src$", name) for _, attrs in page.tags for name in attrs)
    assert HOSTILE in page.text and "url(" not in html and "@import" not in html
    [policy] = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy is not None and policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy
    assert "prefers-color-scheme: dark" in html


def test_the_page_shows_what_programs_get(static: Path, senses: Senses) -> None:
    """Every neighbour, sense, label and the verdict stand in the page's text."""
    found = compared(static, senses, k=2)
    text = Page(render_comparison(found)).text
    for row in found.rows():
        assert row["neighbour"] in text
    assert found.verdict() in text
    assert text.count("missed by the static vector") == len(found.missed)


def test_the_command(banks: Path, static: Path, tmp_path: Path, here: Here) -> None:
    """One screen for people, rows for programs, and a page by the ending of --out."""
    asked = ("compare", "bank", "--static", static, "--index", banks)
    done = here(*asked, "-k", "5")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 24
    assert re.search(r"1\. +1\.00 +loan +bank/1", done.stdout)
    rows = json.loads(here(*asked, "--format", "json").stdout)
    assert rows[0]["neighbour"] == "loan"
    for name, format_options in (("a.html", ()), ("b", ("--format", "html"))):
        done = here(*asked, "--out", tmp_path / name, *format_options)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert (tmp_path / name).read_text("utf-8").startswith("<!doctype html>")
    assert here(*asked, "--out", tmp_path / "c.parquet").returncode == 0
    assert pq.read_table(tmp_path / "c.parquet").column_names == list(COMPARISON_COLUMNS)


def test_bad_requests_are_one_line(banks: Path, static: Path, tmp_path: Path, here: Here) -> None:
    """A word that either side lacks, and folders that hold neither, are refused in one line."""
    asked = ("--static", static, "--index", banks)
    assert_refused(here("compare", "zeppelin", *asked), "'zeppelin' occurs")
    assert_refused(here("compare", "the", *asked), "'the'")
    assert_refused(here("compare", "bank", "--static", banks, "--index", banks), "no vectors")
    assert_refused(here("compare", "bank", "--static", static, "--index", tmp_path), str(tmp_path))


def test_uses_by_static_vectors(static: Path, tmp_path: Path, here: Here) -> None:
    """`evaluate senses static` takes vectors of words: what stands around tells senses apart."""
    rows = [
        {"word": "bank", "text": f"the bank {word}", "start": 4, "end": 8, "sense": word}
        for word in ("river", "interest")
        for _ in range(4)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "u.parquet")
    data = (tmp_path / "u.parquet", tmp_path / "u.parquet")
    done = here("evaluate", "senses", "static", *data, "--static", static, "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["summary"]["macro_recall"] == 1
    assert str(static) in found["representation"]
