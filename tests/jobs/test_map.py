"""The map of a word: what is in the page, where points lie, and the picture."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import Done, assert_refused, write_corpus

from embedder.errors import EmbedderError, OutputError, RequestError, WordError
from embedder.vectors import normalise
from embedder.words import find_words
from indexes.layout import Layout
from indexes.manifest_file import read_manifest
from indexes.sense_inventory import SenseInventory
from jobs import map_projection
from jobs.map_page import embedded_json
from jobs.map_points import MOST_CHARACTERS, shortened
from jobs.map_projection import project_uses
from jobs.map_style import PAPER, STYLES
from jobs.word_map import MapOptions, write_map

Run = Callable[..., Done]
HOSTILE = "</script><script>alert(1)</script><!-- <script> & \u2028 \u2029 \\u003c \" ' \0"
RIVER = "The {} river left mud on the bank. Reeds and willows grow there{}."
MONEY = "A {} loan from the bank costs interest{}! Accounts and credit are money."


def make_texts() -> list[str]:
    """Forty texts with `bank`, some hostile, and a few without."""
    shapes = (RIVER, MONEY)
    texts = [shapes[i % 2].format(f"{i}th", f" x{i}") for i in range(37)]
    texts += [f"{HOSTILE} bank {HOSTILE}", "Bank, bank: Größe 💶 and a BANK.", "bank"]
    return [*texts, "zebra zebra zebra"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """The corpus."""
    return make_texts()


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, run: Run) -> Layout:
    """An index of the corpus, with titles and years."""
    folder = tmp_path_factory.mktemp("banks")
    texts = make_texts()
    titles = [None if i % 7 == 3 else f"{i}: {HOSTILE}" for i in range(len(texts))]
    years = list(range(len(texts)))
    corpus = write_corpus(folder / "banks.parquet", texts, rows=9, title=titles, year=years)
    done = run("index", corpus, "--out", folder / "banks.index", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    return Layout(folder / "banks.index")


def data_of(page: Path) -> dict[str, Any]:
    """The data in a page."""
    text = page.read_text("utf-8")
    [found] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    values: dict[str, Any] = json.loads(found)
    return values


def drawn(layout: Layout, out: Path, **options: Any) -> dict[str, Any]:
    """The data in the page of `bank`."""
    write_map(layout, MapOptions(word="bank", out=out, **options))
    return data_of(out)


# --- what is in the page ---


def test_the_page_holds_every_use(banks: Layout, texts: list[str], tmp_path: Path) -> None:
    """Each use of the word in the corpus is in the page once, with its document and sentence."""
    data = drawn(banks, tmp_path / "bank.html")
    wanted = Counter(
        (f"d{i}", text[word.start : word.end])
        for i, text in enumerate(texts)
        for word in find_words(text)
        if word.form == "bank"
    )
    assert Counter((use["document"], use["word"]) for use in data["uses"]) == wanted
    assert data["nUses"] == wanted.total()
    for use in data["uses"]:
        text = texts[int(use["document"][1:])]
        assert use["before"] + use["word"] + use["after"] in text


def test_the_page_has_the_senses_of_the_inventory(banks: Layout, tmp_path: Path) -> None:
    """Names, counts and shares of the senses are the inventory's, and each use has its sense."""
    data = drawn(banks, tmp_path / "bank.html")
    manifest = read_manifest(banks)
    assert manifest.senses is not None
    found = SenseInventory(banks, manifest.senses).find("bank")
    assert found is not None
    assert [sense["name"] for sense in data["senses"]] == found.names
    assert [sense["nUses"] for sense in data["senses"]] == found.n_uses.tolist()
    assert [sense["share"] for sense in data["senses"]] == pytest.approx(found.shares, abs=1e-6)
    counts = Counter(use["sense"] for use in data["uses"])
    assert [counts[i] for i in range(len(found.numbers))] == found.n_uses.tolist()


def test_fields(banks: Layout, tmp_path: Path) -> None:
    """The first metadata column is shown by default, else those asked for; nulls are left out."""
    for fields, names in ((None, ["title"]), (("YEAR", "title"), ["year", "title"]), ((), [])):
        for use in drawn(banks, tmp_path / "bank.html", fields=fields)["uses"]:
            i = int(use["document"][1:])
            values = {"title": None if i % 7 == 3 else f"{i}: {HOSTILE}", "year": str(i)}
            wanted = [[name, values[name]] for name in names if values[name] is not None]
            assert use["metadata"] == wanted


def test_a_text_cannot_leave_its_place(banks: Layout, tmp_path: Path) -> None:
    """Texts that hold tags, comments and line separators add nothing to the page's own tags."""
    drawn(banks, tmp_path / "bank.html")
    page = (tmp_path / "bank.html").read_text("utf-8")
    assert page.count("<script") == page.count("</script") == 2
    assert "<!--" not in page
    assert not re.search("[\u2028\u2029\0]", page)
    assert "alert(1)" in page


def test_the_page_connects_to_nowhere(banks: Layout, tmp_path: Path) -> None:
    """The page names no address but that of SVG, and its policy allows none."""
    drawn(banks, tmp_path / "bank.html")
    page = (tmp_path / "bank.html").read_text("utf-8")
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'; style-src 'sha256-" in page
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval", page)


@pytest.mark.parametrize("text", ["<", ">", "&", "\u2028", "</script>", "<!--", HOSTILE])
def test_embedded_json_is_json(text: str) -> None:
    """What is embedded reads back equal and holds no character that HTML or JavaScript ends at."""
    embedded = embedded_json({text: [text]})
    assert json.loads(embedded) == {text: [text]}
    assert not re.search("[<>&\u2028\u2029]", embedded)


@pytest.mark.parametrize("name", ["bank.html", "bank.png"])
def test_equal_runs_write_equal_bytes(banks: Layout, run: Run, tmp_path: Path, name: str) -> None:
    """Two processes that draw the same word write the same bytes."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        done = run("map", "Bank", "--index", banks.root, "--out", name, cwd=tmp_path / folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(
            rf"{name}: 42 uses of 'bank' in \d senses?, .* kB in .* s\n", done.stdout
        )
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_limit_draws_a_sample(banks: Layout, tmp_path: Path) -> None:
    """With a limit a part of the uses is shown, and the shares stay those of all."""
    every, few = (drawn(banks, tmp_path / "bank.html", limit=limit) for limit in (42, 10))
    assert len(few["uses"]) == 10
    assert (few["nUses"], few["senses"]) == (every["nUses"], every["senses"])
    places = {(use["document"], use["before"]) for use in every["uses"]}
    assert {(use["document"], use["before"]) for use in few["uses"]} <= places


def test_deleted_documents_are_not_shown(
    banks: Layout, texts: list[str], tmp_path: Path, run: Run
) -> None:
    """Uses in documents deleted since the senses were found are left out at once."""
    copy = Layout(tmp_path / "copy.index")
    shutil.copytree(banks.root, copy.root)
    assert run("delete", copy.root, "--where", "year < 9 OR year = 37").returncode == 0
    data = drawn(copy, tmp_path / "bank.html")
    assert {int(use["document"][1:]) for use in data["uses"]} == set(range(9, 37)) | {38, 39}
    assert data["nUses"] == len(data["uses"]) == sum(sense["nUses"] for sense in data["senses"])
    assert run("delete", copy.root, "--where", "year < 40").returncode == 0
    done = run("map", "bank", "--index", copy.root, "--out", tmp_path / "no.html")
    assert_refused(done, "bank", "deleted")


# --- sentences ---


def test_a_sentence_is_cut_where_it_is_long() -> None:
    """A long sentence is cut at spaces to either side of the word; a short one stays whole."""
    before, after = shortened("word " * 400, " word" * 400)
    assert (before[:2], after[-2:]) == ("…w", "d…")
    assert MOST_CHARACTERS - 10 < len(before) <= MOST_CHARACTERS + 1
    assert MOST_CHARACTERS - 10 < len(after) <= MOST_CHARACTERS + 1
    assert shortened("The ", " is here.") == ("The ", " is here.")


# --- where points lie ---


def clusters(n: int, n_senses: int, spread: float) -> tuple[Any, Any, Any]:
    """Rows around some centres, the centres, and the number of each row's."""
    generator = np.random.default_rng(3)
    centres = normalise(generator.standard_normal((n_senses, 24)).astype(np.float32))
    labels = np.arange(n) % n_senses
    noise = generator.standard_normal((n, 24)).astype(np.float32)
    return normalise(centres[labels] + spread * noise), centres, labels


@pytest.mark.parametrize("most", [1500, 60])
def test_senses_lie_apart(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """The nearest point on the map has the same sense, whether laid out or placed among others."""
    monkeypatch.setattr(map_projection, "MOST_EMBEDDED", most)
    rows, centres, labels = clusters(300, 4, 0.15)
    plane = project_uses(rows, centres)
    distances = ((plane[:, None] - plane) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.97
    assert np.array_equal(plane, project_uses(rows, centres))


@pytest.mark.parametrize("n", [1, 2, 4, 5, 21])
@pytest.mark.parametrize("n_senses", [1, 3])
def test_any_number_of_uses(n: int, n_senses: int) -> None:
    """Few uses, equal ones among them, get different finite places in the unit square."""
    rows, centres, _ = clusters(n, n_senses, 0.3)
    rows[n // 2 :] = rows[0]
    plane = project_uses(rows, centres)
    assert plane.shape == (n, 2)
    assert ((plane >= -1e-9) & (plane <= 1 + 1e-9)).all()
    assert len(np.unique(plane.round(6), axis=0)) == n


# --- looks ---

# What people without one kind of cone see, in linear RGB (Machado et al. 2009, severity 1).
SIGHTS = {
    "full": np.eye(3),
    "no red": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "no green": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "no blue": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
TO_CONES = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]])
TO_OKLAB = np.array(
    [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
)


def linear(colour: str) -> np.ndarray:
    """Linear RGB of a colour."""
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_told_apart(sight: str, theme: str) -> None:
    """Any two colours differ to any eye, and each has the contrast of WCAG 1.4.11 to its paper."""
    colours = [linear(getattr(style, theme)) for style in STYLES]
    seen = [np.clip(SIGHTS[sight] @ colour, 0, 1) for colour in colours]
    oklab = [TO_OKLAB @ np.cbrt(TO_CONES @ colour) for colour in seen]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(oklab, 2)) > 0.09
    weights = np.array([0.2126, 0.7152, 0.0722])
    paper = weights @ linear(PAPER[theme == "dark"]) + 0.05
    for colour in colours:
        dark, bright = sorted((weights @ colour + 0.05, paper))
        assert bright / dark >= 3


def test_shapes_differ() -> None:
    """No two senses have the same shape, on the page or in the picture."""
    assert len({style.path for style in STYLES}) == len({s.marker for s in STYLES}) == len(STYLES)


# --- the command ---


def test_the_picture(banks: Layout, run: Run, tmp_path: Path) -> None:
    """A PNG has the colours of the senses; --format decides over the ending."""
    import matplotlib.image

    done = run(
        "map", "bank", "--index", banks.root, "--out", "x.y", "--format", "png", "-q", cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pixels = matplotlib.image.imread(tmp_path / "x.y", format="png")
    wanted = np.array([int(STYLES[0].light[i : i + 2], 16) for i in (1, 3, 5)])
    assert (np.abs((pixels[:, :, :3] * 255).round() - wanted) < 2).all(axis=2).sum() > 200


@pytest.mark.parametrize(
    ("error", "words", "word", "out"),
    [
        (RequestError, [".svg", ".html or .png", "--format"], "bank", "x.svg"),
        (RequestError, ["no ending"], "bank", "x"),
        (OutputError, ["no folder", "nowhere"], "bank", "nowhere/x.html"),
        (OutputError, ["it is a folder"], "bank", "."),
        (OutputError, ["which is read"], "bank", "INDEX/x.html"),
        (WordError, ["'zebra' occurs 3 times", "20 uses"], "zebra", "x.html"),
        (WordError, ["'absent' does not occur"], "absent", "x.html"),
        (WordError, ["not one word"], "river bank", "x.html"),
        (WordError, ["not one word"], " ", "x.html"),
    ],
)
def test_refusals(
    banks: Layout,
    tmp_path: Path,
    error: type[EmbedderError],
    words: list[str],
    word: str,
    out: str,
) -> None:
    """What cannot be drawn is refused, and nothing is written."""
    path = tmp_path / out.replace("INDEX", str(banks.root))
    with pytest.raises(error) as caught:
        write_map(banks, MapOptions(word=word, out=path))
    assert all(part in str(caught.value) for part in words), caught.value
    assert not list(tmp_path.iterdir())


def test_a_picture_has_no_metadata(banks: Layout, tmp_path: Path) -> None:
    """Columns are for the page, and refused for a picture."""
    asked = MapOptions(word="bank", out=tmp_path / "x.png", fields=("text",))
    with pytest.raises(RequestError, match="shows no metadata"):
        write_map(banks, asked)


def test_no_index_and_no_senses(run: Run, tmp_path: Path, tiny_model: Path) -> None:
    """Without an index, and of one built without senses, the command says so in one line."""
    corpus = write_corpus(tmp_path / "c.parquet", ["bank"])
    plain, out = tmp_path / "plain.index", tmp_path / "x.html"
    assert_refused(run("map", "bank", "--index", plain, "--out", out), "There is no index")
    done = run("index", corpus, "--out", plain, "--model", tiny_model, "--no-senses")
    assert done.returncode == 0, done.stderr
    assert_refused(run("map", "bank", "--index", plain, "--out", out), "without senses")
    assert not out.exists()
