"""Senses of an index's words: what is found, shown, chosen and refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from banks import MONEY, RARE, RIVER, TEXTS, meaning, write_banks
from corpora import Done, assert_refused

from embedder.errors import RequestError, WordError
from embedder.occurrences import Use
from embedder.words import find_words
from indexes.layout import Layout
from indexes.manifest_file import read_manifest
from indexes.sense_inventory import USE, WordSenses
from indexes.sense_uses import Uses
from jobs import open_index
from jobs.change_text import write_over
from jobs.induction import _continued
from jobs.neighbours import USE_COLUMNS
from jobs.query import Index
from jobs.sense_changes import Over, SenseOver, Status, changes_between, changes_over
from jobs.sense_lists import most_ambiguous, sense_spreads
from jobs.senses import Senses, open_senses
from jobs.use_encoder import CutUses, UseEncoder

Run = Callable[..., Done]
ON_THE_RIVER = "we sat on the bank of the river and watched the water"


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """An index of the corpus with the bundled model. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("banks")
    corpus = write_banks(folder / "banks.parquet")
    done = run("index", corpus, "--out", folder / "banks.index")
    assert done.returncode == 0, done.stderr
    return folder / "banks.index"


@pytest.fixture(scope="module")
def index(banks: Path) -> Iterator[Index]:
    """The index, open."""
    with open_index(banks) as found:
        yield found


@pytest.fixture(scope="module")
def senses(index: Index) -> Senses:
    """Its senses."""
    return index.senses


@pytest.fixture(scope="module")
def names(senses: Senses) -> dict[str, str]:
    """The name of each meaning of `bank`."""
    return {name: _meaning_of(senses, name) for name in senses.find("bank").names}


def _meaning_of(senses: Senses, name: str) -> str:
    view = senses.describe(senses.find("bank"), n_examples=3)
    [sense] = [sense for sense in view.senses if sense.name == name]
    [found] = {meaning(use.passage) for use in sense.examples}
    return found


def _sense(names: dict[str, str], wanted: str) -> str:
    [name] = [name for name, found in names.items() if found == wanted]
    return name


# --- what is found ---


def test_a_word_of_two_meanings_has_two_senses(senses: Senses, names: dict[str, str]) -> None:
    """The uses of `bank` fall into those of rivers and those of money, the more frequent first."""
    assert names == {"bank/1": "money", "bank/2": "river"}
    view = senses.describe(senses.find("BANK"))
    assert [sense.n_uses for sense in view.senses] == [len(MONEY), len(RIVER)]
    assert sum(sense.share for sense in view.senses) == pytest.approx(1)


def test_every_use_has_the_sense_of_its_text(senses: Senses) -> None:
    """Each stored use carries the sense that its text asks for, and is sure of it."""
    word = senses.find("bank")
    uses = senses.uses.of(word)
    found = [
        use
        for number in word.numbers.tolist()
        for use in senses.uses_like(
            word, senses.named(f"bank/{number}").centroid, len(TEXTS), number=number
        )
    ]
    assert len(found) == len(uses) == len(RIVER) + len(MONEY)
    assert {(use.sense, meaning(use.passage)) for use in found} == {
        ("bank/1", "money"),
        ("bank/2", "river"),
    }
    assert np.mean([use.confidence for use in found]) > 0.9
    assert {use.passage[use.start : use.end] for use in found} == {"bank"}


def share_with(word: str, texts: list[str]) -> float:
    """Share of texts that have a word."""
    return float(np.mean([word in [found.form for found in find_words(text)] for text in texts]))


def test_typical_words_tell_the_senses_apart(senses: Senses) -> None:
    """No typical word of a sense stands in more of the other's texts than in its own."""
    money, river = senses.describe(senses.find("bank"), n_words=40).senses
    assert "river" in river.words and money.words
    for words, own, others in ((money.words, MONEY, RIVER), (river.words, RIVER, MONEY)):
        for word in words:
            assert share_with(word, own) >= share_with(word, others)
    assert "bank" not in {*river.words, *money.words}


def test_neighbours_are_senses_of_other_words(senses: Senses) -> None:
    """Neighbours come nearest first, are named as senses, and none is of the word itself."""
    money, river = senses.describe(senses.find("bank"), n_neighbours=4).senses
    assert any(near.sense.startswith("river/") for near in river.neighbours)
    assert not any(near.sense.startswith("river/") for near in money.neighbours)
    for sense in (money, river):
        scores = [near.score for near in sense.neighbours]
        assert scores == sorted(scores, reverse=True)
        assert not any(near.sense.startswith("bank/") for near in sense.neighbours)


def test_deleted_documents_have_no_uses(banks: Path, tmp_path: Path, run: Run) -> None:
    """What is deleted is gone from the senses at once, without another run."""
    index = shutil.copytree(banks, tmp_path / "banks.index")
    (tmp_path / "ids").write_text("".join(f"d{n}\n" for n in range(len(RIVER))))
    assert run("delete", index, "--ids", tmp_path / "ids").returncode == 0
    with open_senses(index) as senses:
        view = senses.describe(senses.find("bank"))
    assert [(sense.name, sense.n_uses) for sense in view.senses] == [("bank/1", len(MONEY))]


def test_the_first_sense_has_most_uses(tmp_path: Path, run: Run) -> None:
    """Senses are numbered by their uses, however few passages these stand in."""
    often = [text[:-1] + " and every other bank of the river." for text in RIVER]
    corpus = write_banks(tmp_path / "often.parquet", [*often, *MONEY])
    assert run("index", corpus, "--out", tmp_path / "often.index").returncode == 0
    with open_senses(tmp_path / "often.index") as senses:
        word = senses.find("bank")
    assert word.names == ["bank/1", "bank/2"]
    assert word.n_uses.tolist() == [2 * len(RIVER), len(MONEY)]


def test_names_stay_when_the_index_grows(banks: Path, tmp_path: Path, run: Run) -> None:
    """A sense that overtakes another in number keeps its name."""
    index = shutil.copytree(banks, tmp_path / "banks.index")
    more = [text.replace("The ", "This ").replace(" the ", " that ") for text in RIVER]
    more += [f"In spring {text[0].lower()}{text[1:]}" for text in RIVER]
    corpus = write_banks(tmp_path / "more.parquet", more)
    done = run("index", corpus, "--out", index, "--add")
    assert done.returncode == 0, done.stderr
    with open_senses(index) as senses:
        view = senses.describe(senses.find("bank"))
    shown = [(sense.name, sense.n_uses) for sense in view.senses]
    assert shown == [("bank/2", 3 * len(RIVER)), ("bank/1", len(MONEY))]


def test_a_number_is_not_given_again() -> None:
    """A sense that continues none gets a number that no sense of the word ever had, also when the
    one that had the highest is not there any more."""
    rows = np.eye(4, dtype=np.float32)
    old = WordSenses(
        word=1,
        form="bank",
        numbers=np.array([1, 2]),
        n_uses=np.array([9, 8]),
        centroids=rows[:2],
        uses=np.zeros(0, dtype=USE),
        n_found=17,
        n_induced=17,
        last_number=3,
    )
    assert _continued(old, rows[[1, 2, 0, 3]]).tolist() == [2, 4, 1, 5]


def test_examples_are_the_most_central(senses: Senses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of documents that share a passage the first stands for all, at its own place."""
    texts = [SimpleNamespace(passage=passage) for passage in "abac"]
    monkeypatch.setattr("jobs.senses.read_use_texts", lambda *_: texts)
    monkeypatch.setattr("jobs.senses._first_of_each", lambda _: np.arange(4))
    word = senses.find("bank")
    for n in range(1, 4):
        found = senses._examples(word, senses.uses_of(word), np.zeros(99, np.float32), n, ())
        assert [text.passage for text in found] == list("abc")[:n]


# --- a sense that somebody means ---


def test_the_context_says_which_sense_is_meant(index: Index, names: dict[str, str]) -> None:
    """A word in a context has the sense that the context asks for."""
    river = index.meant("bank", ON_THE_RIVER)
    money = index.meant("bank", "the bank raised its interest rates for every loan")
    assert names[river.name] == "river" and names[money.name] == "money"
    assert min(river.confidence, money.confidence) > 0.7


def test_a_mark_says_which_use_is_meant(index: Index, names: dict[str, str]) -> None:
    """Where the word is there twice, the marked one counts."""
    text = "the {} lends money at low interest, and far away reeds grew on the river {}"
    first = index.meant("bank", text.format("[bank]", "bank"))
    second = index.meant("bank", text.format("bank", "[bank]"))
    assert names[first.name] == "money" and names[second.name] == "river"


def test_a_use_like_one_of_the_index_is_that_one(index: Index) -> None:
    """A context that is a passage of the index finds its own use, at a cosine of one."""
    row = index.use_row("bank", RIVER[17])
    [best, *_] = index.senses.uses_like(index.senses.find("bank"), row, 3)
    assert best.passage == RIVER[17]
    assert best.score == pytest.approx(1, abs=1e-6)


# --- search ---


def test_one_ambiguous_word_is_answered_sense_by_sense(index: Index, names: dict[str, str]) -> None:
    """Each sense has its room, its documents use it, and no document comes twice."""
    hits = index.search("Bank", k=7)
    assert [hit.sense for hit in hits] == ["bank/1"] * 4 + ["bank/2"] * 3
    assert all(names[str(hit.sense)] == meaning(hit.passage) for hit in hits)
    assert len({hit.id for hit in hits}) == 7
    assert [hit.rank for hit in hits] == list(range(1, 8))


def test_a_sense_restricts_any_query(index: Index, names: dict[str, str]) -> None:
    """With a sense, only documents that use it answer, in the order of the query."""
    name = _sense(names, "river")
    hits = index.search("loans at high interest", k=50, sense=name)
    assert {meaning(hit.passage) for hit in hits} == {"river"}
    assert {hit.sense for hit in hits} == {name}
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True) and len(hits) > len(RIVER) / 2


def test_a_longer_query_is_understood_by_its_own_context(
    index: Index, names: dict[str, str]
) -> None:
    """A passage that uses the query's word in another sense loses some of its score, others none,
    and the plan says so."""
    query = "bank loans please"
    answers = index.answer_many([query], k=len(TEXTS))
    plain = index.answer_many([query], k=len(TEXTS), with_senses=False)
    before = {hit.id: hit.score for hit in plain.hits[0]}
    lost = {hit.passage: before[hit.id] - hit.score for hit in answers.hits[0]}
    name = _sense(names, "money")
    assert any(f"bank means {name} here" in line for line in answers.plans[0].lines())
    assert {text for text, loss in lost.items() if loss > 1e-6} == set(RIVER)
    assert max(abs(loss) for text, loss in lost.items() if text not in RIVER) < 1e-6


def test_without_senses_a_search_is_the_plain_one(index: Index) -> None:
    """--no-senses answers as an index without senses does."""
    row = index.encode(["bank"])
    [wanted] = index.searcher.search(row, 5)
    hits = index.search("bank", 5, with_senses=False)
    assert [hit.id for hit in hits] == [found.document.id for found in wanted]
    assert all(hit.sense is None for hit in hits)


def test_queries_together_are_answered_as_alone(index: Index) -> None:
    """What one query finds does not depend on those beside it."""
    queries = ["bank", "muddy water", "a bank that lends money", "zeppelin", "river"]
    together = index.search_many(queries, 5)
    assert together == [index.search(query, 5) for query in queries]


def test_a_filter_holds_within_senses(index: Index) -> None:
    """--where leaves out documents of any sense."""
    hits = index.search("bank", k=6, where="year = 1990")
    assert len(hits) == 6 and {hit.metadata["year"] for hit in hits} == {1990}
    assert {meaning(hit.passage) for hit in hits if hit.sense} == {"river"}


def test_senses_take_no_answers_away(index: Index) -> None:
    """Where fewer documents use the word than are wanted, others follow, as many as there are, and
    none twice."""
    everything = index.search("bank", k=len(TEXTS), with_senses=False)
    hits = index.search("bank", k=len(TEXTS))
    assert {hit.id for hit in hits} == {hit.id for hit in everything}
    assert len(hits) == len(everything)
    are_of_senses = [hit.sense is not None for hit in hits]
    assert are_of_senses == sorted(are_of_senses, reverse=True)
    assert 0 < sum(are_of_senses) < len(hits)
    assert index.search("bank", k=3, where="year < 0") == []


def test_a_word_without_a_vector_takes_nothing_away(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query is answered whatever its words are."""
    plain = index.search("bank loans please", with_senses=False)
    cut = UseEncoder.cut

    def without(encoder: UseEncoder, uses: Sequence[Use]) -> CutUses:
        found = cut(encoder, uses)
        return replace(found, passages=np.full_like(found.passages, -1))

    monkeypatch.setattr(UseEncoder, "cut", without)
    assert index.search("bank loans please") == plain


# --- lists and changes ---


def test_the_list_has_ambiguous_words_only(senses: Senses) -> None:
    """Words with several senses, by how far two uses are apart; `bank` is one."""
    found = most_ambiguous(senses, 10, least=50)
    assert "bank" in [one.view.word for one in found]
    assert all(len(one.view.senses) > 1 for one in found)
    bank = next(one for one in found if one.view.word == "bank")
    shares = np.array([0.6, 0.4])
    centroids = senses.find("bank").centroids
    apart = 1 - centroids @ centroids.T
    assert bank.spread == pytest.approx(shares @ apart @ shares, abs=1e-6)
    entropies, n_uses = sense_spreads(senses.inventory)
    assert (entropies >= 0).all() and len(n_uses) == len(senses.inventory)


def test_an_index_does_not_differ_from_itself(senses: Senses) -> None:
    """Compared with itself every sense is steady, and none differs by more than chance."""
    changes = changes_between(senses, senses, "bank", 10)
    assert {(one.sense, one.other_sense) for one in changes} == {
        ("bank/1", "bank/1"),
        ("bank/2", "bank/2"),
    }
    assert {one.status for one in changes} == {Status.STEADY}
    assert changes_between(senses, senses, None, 10) == []


def test_a_sense_that_another_index_lacks_is_gone(
    senses: Senses, tmp_path: Path, run: Run, names: dict[str, str]
) -> None:
    """Between two corpora a sense can go, and the one that stays is known again though the
    other index has components of its own."""
    corpus = write_banks(tmp_path / "money.parquet", MONEY)
    assert run("index", corpus, "--out", tmp_path / "money.index").returncode == 0
    with open_senses(tmp_path / "money.index") as other:
        changes = changes_between(senses, other, "bank", 10)
        back = changes_between(other, senses, "bank", 10)
    found = {names[one.sense]: one.status for one in changes if one.sense}
    assert found["river"] is Status.GONE and found["money"] is not Status.GONE
    assert [one.status for one in back if one.other_sense == _sense(names, "river")] == ["new"]
    assert next(one.p for one in changes if one.status is Status.GONE) < 1e-6


def test_senses_differ_over_a_column(senses: Senses, names: dict[str, str]) -> None:
    """Over the years one sense gives way to the other, which is no chance."""
    over = changes_over(senses, "year", "bank", 10)
    assert over.values == ("1990", "1991", "1992", "2000", "2001", "2002")
    river = next(one for one in over.senses if names[one.sense] == "river")
    assert river.shares == (1, 1, 1, 0, 0, 0)
    assert sum(river.n_uses) == len(RIVER) and river.p < 1e-6
    assert {one.sense for one in changes_over(senses, "year", None, 50).senses} >= set(names)


def test_values_are_those_of_the_word(
    senses: Senses, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a column with many values those are shown in which the word is used."""
    n = len(senses.store.values("year"))
    documents = np.unique(senses.uses.document_numbers(senses.uses.of(senses.find("bank"))))
    titles = np.array([f"a title {i % 40}" for i in range(n)], dtype=object)
    titles[documents] = [f"bank {i % 9}" for i in range(len(documents))]
    column = pa.chunked_array([pa.array(titles.tolist())])
    monkeypatch.setattr(senses.store, "values", lambda _: column)
    over = changes_over(senses, "year", "bank", 10)
    assert len(titles) > len(documents) > 9
    assert {f"bank {i}" for i in range(9)} <= set(over.values)


def test_fields_are_shown_with_examples(banks: Path, run: Run) -> None:
    """--fields of `senses` comes behind each example."""
    done = run("senses", "bank", "--index", banks, "--fields", "year", "--examples", 1)
    examples = [line for line in done.stdout.splitlines() if line.startswith("    ")]
    assert len(examples) == 2 and all(line.split()[-1].isdecimal() for line in examples)


def test_a_number_says_which_sense(banks: Path, run: Run) -> None:
    """A sense by its number alone is that of the word that is searched for."""
    found = [
        run("search", "bank", "--index", banks, "--sense", sense, "--format", "json").stdout
        for sense in ("2", "bank/2")
    ]
    assert found[0] == found[1] and len(json.loads(found[0])) > 0


def test_a_document_counts_once(senses: Senses, monkeypatch: pytest.MonkeyPatch) -> None:
    """More uses in the same documents make no change surer, for they are alike."""
    usual = changes_over(senses, "year", "bank", 10)
    of = senses.uses.of

    def repeated(word: WordSenses) -> Uses:
        uses = of(word)
        return uses.take(np.repeat(np.arange(len(uses)), 5))

    monkeypatch.setattr(senses.uses, "of", repeated)
    found = changes_over(senses, "year", "bank", 10)
    assert [one.p for one in found.senses] == [one.p for one in usual.senses]
    assert [one.shares for one in found.senses] == [one.shares for one in usual.senses]


# --- the command line ---


def test_values_of_a_column_are_shown_as_they_are() -> None:
    """What looks like markup in the values of a column is text."""
    one = SenseOver(word="bank", sense="bank/1", n_uses=(1, 2), shares=(0.5, 1.0), p=0.5)
    stream = io.StringIO()
    write_over(Over(column="[b]", values=("[/x]", "[red]"), n_without=1, senses=(one,)), stream)
    assert all(text in stream.getvalue() for text in ("[b]", "[/x]", "[red]"))


def test_the_inventory_is_readable(banks: Path, run: Run) -> None:
    """`senses bank` shows each sense with share, neighbours and marked examples."""
    done = run("senses", "bank", "--index", banks)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("bank  100 uses, 2 senses\n")
    for wanted in ("bank/1", "60%", "bank/2", "40%", "near: ", "[bank]"):
        assert wanted in done.stdout


def test_neighbours_in_a_context(banks: Path, run: Run, names: dict[str, str]) -> None:
    """`neighbours --in` answers for the sense that is meant, with the uses like it if asked."""
    name = _sense(names, "river")
    asked = ("neighbours", "bank", "--index", banks, "--in", ON_THE_RIVER, "--format", "json")
    found = json.loads(run(*asked, "-k", "3").stdout)
    assert {row["sense"] for row in found} == {name} and len(found) == 3
    uses = json.loads(run(*asked, "--occurrences", "-k", "5").stdout)
    assert {meaning(row["passage"]) for row in uses} == {"river"}
    same = json.loads(run(*asked[:4], "--sense", name, "--format", "json", "-k", "3").stdout)
    assert [row["neighbour"] for row in same] == [row["neighbour"] for row in found]


def test_metadata_of_uses_has_columns_in_tables(banks: Path, run: Run, tmp_path: Path) -> None:
    """CSV and Parquet of `neighbours --occurrences` have a column for each that was asked for, as
    those of a search have; JSON keeps them together."""
    asked = ("neighbours", "bank/1", "--index", banks, "--occurrences", "--fields", "year")
    uses = json.loads(run(*asked, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(run(*asked, "--format", "csv").stdout)))
    assert run(*asked, "--out", tmp_path / "uses.parquet").returncode == 0
    table = pq.read_table(tmp_path / "uses.parquet").to_pylist()
    assert list(rows[0]) == list(table[0]) == [*USE_COLUMNS, "year"]
    assert [use["metadata"]["year"] for use in uses] == [row["year"] for row in table]
    assert [str(row["year"]) for row in table] == [row["year"] for row in rows]


def test_search_in_a_context(banks: Path, run: Run) -> None:
    """`search --in` finds the sense that is meant there, and says which."""
    done = run("search", "bank", "--index", banks, "--in", ON_THE_RIVER, "--format", "json")
    assert {meaning(hit["passage"]) for hit in json.loads(done.stdout)} == {"river"}
    assert "bank/2 is meant" in done.stderr


def test_a_search_explains_what_it_understood(banks: Path, run: Run) -> None:
    """--explain-plan names the senses that were searched for."""
    done = run("search", "bank", "--index", banks, "--explain-plan")
    assert "bank has several senses, each searched for: bank/1, bank/2" in done.stderr
    assert done.stdout.index("bank/1 ·") < done.stdout.index("bank/2 ·")


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    "command",
    [("senses", "bank"), ("senses", "--list"), ("senses", "bank", "--by", "year"),
     ("neighbours", "bank"), ("neighbours", "bank", "--occurrences")],
    ids=" ".join,
)  # fmt: skip
def test_every_format_holds_the_same_rows(
    banks: Path, tmp_path: Path, run: Run, command: tuple[str, ...], form: str
) -> None:
    """A file in any format has as many rows as the JSON on stdout."""
    import csv

    import pyarrow.parquet as pq

    wanted = json.loads(run(*command, "--index", banks, "--format", "json").stdout)
    out = tmp_path / f"rows.{form}"
    done = run(*command, "--index", banks, "--out", out)
    assert done.returncode == 0, done.stderr
    if form == "parquet":
        assert pq.read_table(out).num_rows == len(wanted)
    elif form == "csv":
        with out.open(newline="") as file:
            assert len(list(csv.DictReader(file))) == len(wanted)
    else:
        text = out.read_text()
        rows = json.loads(text) if form == "json" else list(map(json.loads, text.splitlines()))
        assert rows == wanted
    assert wanted


# --- what is refused ---


def test_words_without_senses_are_refused_with_the_reason(senses: Senses) -> None:
    """Unknown, too rare with how often, more than one word, no word."""
    reasons = {
        "dirigible": "does not occur in the index",
        "zeppelin": "occurs 2 times",
        "river bank": "is not one word",
        "": "is not one word",
        "42": "is not one word",
    }
    for word, reason in reasons.items():
        with pytest.raises(WordError, match=reason):
            senses.find(word)


def test_senses_that_are_not_there_are_refused(senses: Senses) -> None:
    """The senses that there are get named, and contradictions are."""
    with pytest.raises(WordError, match=r"no sense '9'; it has: bank/1, bank/2"):
        senses.choose("bank/9")
    with pytest.raises(WordError, match="is no sense of 'bank'"):
        senses.choose("bank", "river/1")
    with pytest.raises(WordError, match="'bank/1' is another sense"):
        senses.choose("bank/1", "bank/2")
    with pytest.raises(WordError, match="names a word and no sense"):
        senses.named("bank")


def test_contexts_that_do_not_say_which_are_refused(index: Index) -> None:
    """A context without the word, or with it twice and no mark."""
    with pytest.raises(RequestError, match="is not in"):
        index.meant("bank", "we sat by the water")
    with pytest.raises(RequestError, match="2 times"):
        index.meant("bank", "the bank by the bank")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("senses",), "No word was given"),
        (("senses", "bank", "--list"), "--list is of all words"),
        (("senses", "--list", "--by", "year"), "--list is of all words"),
        (("senses", "bank", "--by", "year", "--diff", "x.index"), "two questions"),
        (("senses", "bank", "--by", "month"), "no metadata column 'month'"),
        (("senses", "bank", "--diff", "nothing.index"), "no index at nothing.index"),
        (("senses", "bank/3"), "has no sense '3'"),
        (("senses", "bank/2"), "one sense, and a word is wanted"),
        (("neighbours", "zeppelin"), "occurs 2 times"),
        (("neighbours", "bank", "--sense", "3"), "has no sense '3'"),
        (("neighbours", "bank", "--in", "the water"), "is not in"),
        (("neighbours", "bank", "--in", "x bank", "--sense", "1"), "both name a sense"),
        (("search", "bank", "--in", "x bank", "--sense", "bank/1"), "both name a sense"),
        (("search", "bank", "river", "--in", "x bank"), "several queries"),
        (("search", "bank", "--sense", "bank"), "no sense of it"),
        (("search", "bank", "--sense", "9"), "no sense '9'"),
        (("senses", "bank", "-k", "3"), "-k says nothing to a word"),
        (("senses", "bank", "--least", "3"), "--least says nothing to a word"),
        (("senses", "--list", "--words", "3"), "--words says nothing to --list"),
        (("senses", "bank", "--by", "year", "-k", "3"), "-k says nothing to --by"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_requests_are_one_line(
    banks: Path, tmp_path: Path, run: Run, command: tuple[str, ...], said: str
) -> None:
    """Each is refused in one clear line, as wrong usage."""
    done = run(*command, "--index", banks, cwd=tmp_path)
    assert_refused(done, said)


def test_an_index_without_senses_says_so(tmp_path: Path, run: Run, tiny_model: Path) -> None:
    """It searches as ever, and refuses what needs senses; asked for them later, it says how."""
    corpus = write_banks(tmp_path / "banks.parquet", [*RARE, *RIVER[:5]])
    build = ("index", corpus, "-q", "--out", tmp_path / "plain.index", "--model", tiny_model)
    assert run(*build, "--no-senses").returncode == 0
    assert read_manifest(Layout(tmp_path / "plain.index")).basis is None
    assert not (tmp_path / "plain.index" / "senses").exists()
    asked = ("--index", tmp_path / "plain.index")
    assert run("search", "bank", *asked).returncode == 0
    for command in (("senses", "bank"), ("neighbours", "bank"), ("search", "--sense", "bank/1")):
        assert_refused(run(*command, *asked), "built without senses")
    assert_refused(run(*build, "--senses"), "was built without senses")
    assert run(*build).returncode == 0
