"""`embedder words train`: the folder that it writes, and what it refuses."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import assert_refused, run_with_file_limit, tree, write_corpus
from in_process import Here

from embedder.errors import EmbedderError, IndexLockedError, ModelError, OutputError, RequestError
from embedder.words import find_words
from indexes.lock import hold_lock
from jobs import Method, TrainWordsOptions, open_words, train_words


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, sample_corpus: Path) -> Path:
    """200 paragraphs and some rows that hold no text."""
    texts = pq.read_table(sample_corpus, columns=["text"])["text"].to_pylist()[:200]
    return write_corpus(tmp_path_factory.mktemp("words") / "c.parquet", [*texts, None, " ", ""])


def options(corpus: Path, out: Path, method: Method = Method.GLOVE) -> TrainWordsOptions:
    """Small vectors, quickly trained."""
    return TrainWordsOptions(
        sources=(str(corpus),), out=out, method=method, width=8, epochs=2, seed=3
    )


@pytest.mark.parametrize("method", list(Method))
def test_a_folder_is_what_it_says(corpus: Path, tmp_path: Path, method: Method) -> None:
    """Any reader of Parquet and .npy finds the words of the corpus with their counts, the most
    frequent first, a row each; config.json and the summary say how they came to be."""
    summary = train_words(options(corpus, tmp_path / "w", method))
    folder = tmp_path / "w"
    texts = [t for t in pq.read_table(corpus)["text"].to_pylist() if t]
    counts = Counter(word.form for text in texts for word in find_words(text))
    frequent = {form: n for form, n in counts.items() if n >= 5}
    words = pq.read_table(folder / "words.parquet").to_pydict()
    assert dict(zip(words["word"], words["count"], strict=True)) == frequent
    assert words["count"] == sorted(words["count"], reverse=True)
    rows = np.load(folder / "vectors.npy", allow_pickle=False)
    assert rows.dtype == np.float32 and rows.shape == (len(frequent), 8)
    config = json.loads((folder / "config.json").read_text())
    assert config["method"] == method and config["options"]["window"] == summary_window(method)
    assert config["corpus"]["n_running_words"] == summary.n_running_words == counts.total()
    assert summary.counts == {"null text": 1, "empty text": 1, "blank text": 1}
    assert summary.n_documents == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


def summary_window(method: Method) -> int:
    """The window where none is asked for."""
    return {Method.WORD2VEC: 5, Method.GLOVE: 10}[method]


@pytest.mark.parametrize("method", list(Method))
def test_what_is_read_is_what_was_written(corpus: Path, tmp_path: Path, method: Method) -> None:
    """Opened again, the vectors are those of the files, and the same words are found."""
    train_words(options(corpus, tmp_path / "w", method))
    words = open_words(tmp_path / "w")
    assert words.method == method
    assert words.vectors.rows.tobytes() == np.load(tmp_path / "w" / "vectors.npy").tobytes()
    assert words.vectors.vocabulary.forms[words.find(" THE ")] == "the"


@pytest.mark.parametrize("method", list(Method))
def test_equal_runs_are_equal_to_the_byte(corpus: Path, tmp_path: Path, method: Method) -> None:
    """Text and options alone decide the bytes, whatever the memory; another seed changes them."""
    asked = options(corpus, tmp_path / "one", method)
    train_words(asked)
    train_words(replace(asked, out=tmp_path / "two", memory=1 << 23))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    train_words(replace(asked, out=tmp_path / "three", seed=4))
    assert tree(tmp_path / "one")["vectors.npy"] != tree(tmp_path / "three")["vectors.npy"]


def test_little_text_is_read_more_often(corpus: Path, tmp_path: Path) -> None:
    """Where no epochs are asked for, Word2Vec reads this little text 30 times, GloVe 25 times."""
    for method, epochs in ((Method.WORD2VEC, 30), (Method.GLOVE, 25)):
        train_words(replace(options(corpus, tmp_path / method, method), epochs=None, limit=20))
        config = json.loads((tmp_path / method / "config.json").read_text())
        assert config["options"]["epochs"] == epochs


def test_a_limit_and_a_column(corpus: Path, tmp_path: Path) -> None:
    """Only so many rows are read, of the column that is named."""
    texts = pq.read_table(corpus)["text"].to_pylist()
    other = write_corpus(tmp_path / "o.parquet", ["nothing"] * len(texts), body=texts)
    asked = replace(options(other, tmp_path / "w"), text="body", limit=20)
    summary = train_words(asked)
    forms = {word.form for text in texts[:20] for word in find_words(text)}
    assert summary.n_documents == 20
    assert set(open_words(tmp_path / "w").vectors.vocabulary.forms) <= forms


@pytest.mark.parametrize(
    ("texts", "changes", "kind", "message"),
    [
        (["few words here"], {}, RequestError, r"3 running words .* too few .* --least-count"),
        (["one one one one one"], {}, RequestError, r"1 of them occur 5 times"),
        ([None, " "], {}, EmbedderError, r"'text' .* holds no text"),
        (["a b"] * 9, {"text": "body"}, EmbedderError, r"no column 'body'"),
        (["a b"] * 9, {"memory": 100}, RequestError, r"2 words .* --least-count"),
        (["a b"] * 9, {"width": 0}, RequestError, r"width is 0"),
        (["a b"] * 9, {"window": 256}, RequestError, r"256 words is too long.* 255"),
        (["a b"] * 9, {"threads": 2}, RequestError, r"GloVe .* one thread"),
        (["a"] * 9 + ["b"] * 9, {}, RequestError, r"No two frequent words"),
    ],
)
def test_bad_requests_write_nothing(
    tmp_path: Path,
    texts: list[str | None],
    changes: dict[str, object],
    kind: type[EmbedderError],
    message: str,
) -> None:
    """Too little text, too many words and options that make no sense are errors that say what to
    type, and leave nothing behind."""
    path = write_corpus(tmp_path / "c.parquet", texts)
    asked = replace(options(path, tmp_path / "w"), **changes)
    with pytest.raises(kind, match=message):
        train_words(asked)
    assert [path.name for path in tmp_path.iterdir()] == ["c.parquet"]


def test_what_is_there_stays(corpus: Path, tmp_path: Path) -> None:
    """A file or folder of the name is neither replaced nor changed."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder"):
        with pytest.raises(OutputError, match="is there already"):
            train_words(options(corpus, tmp_path / name))
    assert tree(tmp_path) == {"file": b"mine"}


def test_one_run_writes_at_a_time(corpus: Path, tmp_path: Path) -> None:
    """While another run makes the same folder, there is an error that names it; what a killed run
    left is no hindrance, and goes."""
    work = tmp_path / ".tmp-w"
    (work / "room").mkdir(parents=True)
    (work / "room" / "words.bin").write_bytes(b"left")
    with hold_lock(work / "lock"), pytest.raises(IndexLockedError, match="process"):
        train_words(options(corpus, tmp_path / "w"))
    train_words(options(corpus, tmp_path / "w"))
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_a_full_disk_is_one_line(corpus: Path, tmp_path: Path) -> None:
    """Where the disk takes no more, there is one line, and nothing is left."""
    done = run_with_file_limit(
        20_000, "words", "train", corpus, "--method", "glove", "--out", tmp_path / "w", "-q"
    )
    assert_refused(done, "cannot be written")
    assert not list(tmp_path.iterdir())


def test_damage_is_noticed(corpus: Path, tmp_path: Path) -> None:
    """A byte changed, a file cut, gone or of another format is an error that names it."""
    folder = tmp_path / "w"
    train_words(options(corpus, folder))
    whole = tree(folder)
    damages = {
        "vectors.npy": [whole["vectors.npy"][:-1], b"\0" + whole["vectors.npy"][1:], None],
        "words.parquet": [whole["words.parquet"][:-1], None],
        "config.json": [b"{}", b"no json", b"[]", whole["config.json"].replace(b": 1,", b": 2,")],
    }
    for name, contents in damages.items():
        for content in contents:
            path = folder / name
            path.unlink() if content is None else path.write_bytes(content)
            with pytest.raises(ModelError, match=name) as raised:
                open_words(folder)
            assert "Train" in raised.value.hint
        (folder / name).write_bytes(whole[name])
    open_words(folder)
    with pytest.raises(ModelError, match="holds no vectors"):
        open_words(tmp_path)


def test_the_command(corpus: Path, tmp_path: Path, here: Here) -> None:
    """People get a line or two, programs JSON, and with --quiet nobody anything."""
    asked = ("words", "train", corpus, "--width", 4, "--epochs", 1)
    done = here(*map(str, asked), "--out", tmp_path / "a", "--method", "glove")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'a'}: glove, ") and "null text: 1" in done.stdout
    assert "training" in done.stderr
    done = here(*map(str, asked), "--out", tmp_path / "b", "--format", "json", "-q")
    assert json.loads(done.stdout)["method"] == "word2vec" and not done.stderr
    done = here(*map(str, asked), "--out", tmp_path / "c", "-q", "--method", "glove")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_refused(here(*map(str, asked), "--out", tmp_path / "c", "-q"), "is there already")
