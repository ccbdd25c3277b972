"""`embedder distil --static`: the folder that it writes, what works with it, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import assert_refused, summary, tree, write_corpus
from in_process import Here
from safetensors.numpy import load_file

from embedder.checkpoint import open_checkpoint
from embedder.encoders import EncoderOptions, open_encoder
from embedder.errors import EmbedderError, OutputError, RequestError, SourceError
from embedder.static_distillation import count_pieces, sif_weights
from embedder.tokens import Tokenizer
from jobs import DistilStaticOptions, distil_static


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, sample_corpus: Path) -> Path:
    """120 paragraphs, some words often, and rows that hold no text."""
    texts = pq.read_table(sample_corpus, columns=["text"])["text"].to_pylist()[:60]
    texts += [f"The green bank of the river, number {i}. A bank has a vault." for i in range(60)]
    return write_corpus(tmp_path_factory.mktemp("distil") / "c.parquet", [*texts, None, " "])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scored pairs."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    first = ["the bank", "a crane", "green energy", "the river"]
    second = ["the river bank", "interest rates", "energy", "the steel beam"]
    pq.write_table(pa.table({"text1": first, "text2": second, "score": [4.0, 0, 5, 1]}), path)
    return path


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, corpus: Path, tiny_model: Path) -> Path:
    """A static model of the tiny model, 16 components."""
    out = tmp_path_factory.mktemp("student") / "static"
    distil_static(options(corpus, tiny_model, out))
    return out


def options(corpus: Path, model: Path, out: Path) -> DistilStaticOptions:
    """Few components and a small sample."""
    return DistilStaticOptions(
        sources=(str(corpus),), model=str(model), out=out, width=16, sample=50, seed=3
    )


def test_the_folder_is_a_model(
    corpus: Path, tiny_model: Path, pairs: Path, tmp_path: Path, student: Path
) -> None:
    """The folder opens as a static encoder, its weights are SIF by the corpus's own counts, and
    equal runs are equal to the byte; the summary says what was read and how good it is."""
    made = distil_static(replace(options(corpus, tiny_model, tmp_path / "again"), dev=pairs))
    assert tree(tmp_path / "again") == tree(student)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]
    assert made.n_documents == 120 and made.counts == {"null text": 1, "blank text": 1}
    assert set(made.measures) == {"agreement", "spearman", "teacher_spearman"}
    assert all(-1 <= value <= 1 for value in made.measures.values())
    assert made.n_bytes == sum(map(len, tree(student).values()))

    tokenizer = Tokenizer(open_checkpoint(str(tiny_model)))
    texts = [t for t in pq.read_table(corpus)["text"].to_pylist() if t and t.strip()]
    counts = count_pieces(tokenizer.encode(texts), tokenizer.n_pieces)
    arrays = load_file(student / "model.safetensors")
    wanted = sif_weights(counts, tokenizer.special_ids, 1e-4)
    np.testing.assert_array_equal(arrays["weights"], wanted)
    counts[tokenizer.special_ids] = 0
    assert made.n_tokens == counts.sum()
    encoder = open_encoder(EncoderOptions(model=str(student)))
    assert encoder.encoder.spec.width == 16 == arrays["vectors"].shape[1]
    assert (
        encoder.tokenizer.encode(texts[:1])[0].tolist() == tokenizer.encode(texts[:1])[0].tolist()
    )


def test_another_seed_draws_another_sample(
    corpus: Path, tiny_model: Path, tmp_path: Path, student: Path
) -> None:
    """The seed changes the fitted vectors and not the weights; without a sample nothing is
    fitted."""
    distil_static(replace(options(corpus, tiny_model, tmp_path / "a"), seed=4))
    plain = distil_static(replace(options(corpus, tiny_model, tmp_path / "b"), sample=0))
    first, second, third = (
        load_file(folder / "model.safetensors")
        for folder in (student, tmp_path / "a", plain.folder)
    )
    assert not np.array_equal(first["vectors"], second["vectors"])
    assert np.array_equal(first["weights"], second["weights"])
    assert plain.n_fitted == 0 and plain.measures == {}
    assert not np.array_equal(first["vectors"], third["vectors"])


def test_an_index_is_built_searched_and_asked_for_senses(
    corpus: Path, student: Path, tmp_path: Path, here: Here
) -> None:
    """index, info, search, senses, neighbours and verify work with a static model; a text that
    is a passage finds itself with a cosine of one."""
    out = tmp_path / "c.index"
    built = summary(here("index", corpus, "--out", out, "--model", student, "--format", "json"))
    assert built["n_documents"] == 120 and "static" in built["engine"]
    text = pq.read_table(corpus)["text"][70].as_py()
    done = here("search", "--index", out, text, "-k", 3, "--format", "json")
    hits = json.loads(done.stdout)
    assert done.returncode == 0 and hits[0]["id"] == "d70", done.stderr
    assert hits[0]["score"] == pytest.approx(1, abs=2e-3)
    info = json.loads(here("info", "--index", out, "--format", "json").stdout)
    assert info["encoder"]["precision"] == "fp32" and info["encoder"]["width"] == 16
    for command in (["senses", "bank"], ["neighbours", "bank"], ["verify"]):
        done = here(*command, "--index", out)
        assert done.returncode == 0, done.stderr
    again = here("index", corpus, "--out", out, "--model", student)
    assert "Up to date" in again.stdout
    refused = here("search", "--index", out, "bank", "--engine", "torch")
    assert_refused(refused, "static model", "--engine torch")


def test_the_command(
    corpus: Path, tiny_model: Path, tmp_path: Path, pairs: Path, here: Here
) -> None:
    """People get some lines and the next command, programs JSON, and with --quiet nobody any."""
    asked = ("distil", corpus, "--static", "--model", tiny_model, "--sample", 20)
    done = here(*asked, "--out", tmp_path / "a", "--eval", pairs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'a'}: a static model of {tiny_model}, ")
    assert "Spearman" in done.stdout and f"--model {tmp_path / 'a'}" in done.stdout
    assert "null text: 1" in done.stdout and "encoding" in done.stderr
    done = here(*asked, "--out", tmp_path / "b", "--format", "json", "-q", "--limit", 30)
    found = json.loads(done.stdout)
    assert found["width"] == 32 and found["n_documents"] == 30 and not done.stderr
    done = here(*asked, "--out", tmp_path / "c", "-q", "--width", 4)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"width": 33}, RequestError, "have 32 components.*--width.* 1 to 32"),
        ({"width": 0}, RequestError, "--width"),
        ({"smoothing": 0.0}, RequestError, "smoothing"),
        ({"sample": -1}, RequestError, "sample"),
        ({"text": ("body",)}, RequestError, "no column 'body'"),
        ({"sources": ("nowhere.parquet",)}, SourceError, "nowhere"),
        ({"model": "./nowhere"}, EmbedderError, "nowhere"),
        ({"dev": "nowhere.parquet"}, SourceError, "nowhere"),
    ],
)
def test_bad_requests_write_nothing(
    corpus: Path,
    tiny_model: Path,
    tmp_path: Path,
    changes: dict[str, object],
    kind: type[EmbedderError],
    message: str,
) -> None:
    """Options that make no sense are errors that say what to type, and leave nothing behind."""
    asked = replace(options(corpus, tiny_model, tmp_path / "out"), **changes)
    with pytest.raises(kind, match=message):
        distil_static(asked)
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_without_text_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Where every text is null or blank there is an error, and nothing is left."""
    path = write_corpus(tmp_path / "c.parquet", [None, " "])
    with pytest.raises(SourceError, match="holds no text"):
        distil_static(options(path, tiny_model, tmp_path / "out"))
    assert [p.name for p in tmp_path.iterdir()] == ["c.parquet"]


def test_what_is_there_stays(corpus: Path, tiny_model: Path, tmp_path: Path) -> None:
    """A folder of the name is neither replaced nor changed."""
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="is there already"):
        distil_static(options(corpus, tiny_model, tmp_path / "mine"))
    assert tree(tmp_path) == {}


def test_a_static_model_teaches_nobody(corpus: Path, student: Path, tmp_path: Path) -> None:
    """A static model as the teacher is an error that says to name a network."""
    with pytest.raises(RequestError, match="static model already"):
        distil_static(options(corpus, student, tmp_path / "out"))
