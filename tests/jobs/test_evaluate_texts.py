"""`embedder evaluate retrieval` and `embedder evaluate similarity`."""

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
from in_process import Here
from scipy.stats import pearsonr, spearmanr

from embedder.collection import Collection, DocumentBlock, open_collection
from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.errors import LabelError, SourceError
from embedder.pairs import ScoredPair
from embedder.passages import cut_documents
from embedder.specs import ChunkSpec, Engine, Overflow
from jobs.evaluate_retrieval import evaluate_retrieval
from jobs.evaluate_similarity import evaluate_similarity

WORDS = ("bank", "river", "green", "raised", "interest", "rates", "crane", "lifted", "steel")


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> TextEncoder:
    """The tiny model in torch."""
    return open_encoder(EncoderOptions(model=str(tiny_model), engine=Engine.TORCH, device="cpu"))


def texts(n: int, seed: int) -> list[str]:
    """Different texts of a few words."""
    rng = np.random.default_rng(seed)
    return [f"{number} " + " ".join(rng.choice(WORDS, 6)) for number in range(n)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A Parquet file of rows."""
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_collection(folder: Path) -> Path:
    """Forty documents, nine queries, one relevant document each."""
    documents, queries = texts(40, 0), texts(9, 1)
    folder.mkdir()
    write(folder / "corpus.parquet", [{"doc_id": i, "text": t} for i, t in enumerate(documents)])
    write(folder / "queries.parquet", [{"query_id": i, "text": t} for i, t in enumerate(queries)])
    qrels = [{"query_id": i, "doc_id": 3 * i, "relevance": 1} for i in range(9)]
    write(folder / "qrels.parquet", qrels)
    return folder


def test_retrieval_is_the_rank_by_cosine(encoder: TextEncoder, tmp_path: Path) -> None:
    """With one relevant document a query all measures follow from its rank by cosine."""
    folder = write_collection(tmp_path / "small")
    names = ("corpus", "queries", "qrels")
    found = open_collection(*(folder / f"{name}.parquet" for name in names), name="small")
    score = evaluate_retrieval(found, encoder)
    cosines = encoder.encode(texts(9, 1)) @ encoder.encode(texts(40, 0)).T
    ranks = np.array([(row > row[3 * i]).sum() for i, row in enumerate(cosines)])
    near = ranks < 10
    assert score.measures == pytest.approx(
        {
            "ndcg@10": float(np.mean(near / np.log2(ranks + 2))),
            "map": float(np.mean(1 / (ranks + 1))),
            "mrr@10": float(np.mean(near / (ranks + 1))),
            "recall@10": float(near.mean()),
            "recall@100": 1.0,
        }
    )
    assert (score.n_queries, score.n_documents) == (9, 40)


def test_long_documents_are_as_near_as_their_nearest_passage(encoder: TextEncoder) -> None:
    """What stands past the window is found, unless documents are truncated."""
    document = " ".join(f"crane steel {i}" for i in range(40))
    chunking = ChunkSpec(overflow=Overflow.WINDOW, window=64, stride=56)
    cut = cut_documents([document], encoder.tokenizer, chunking, prompt="", ids=["0"])
    query = document[cut.passages[-1].start : cut.passages[-1].end]
    found = Collection(
        name="long",
        queries=[query],
        judgements={"long": {0: 1}},
        n_rows=2,
        read_documents=lambda: [DocumentBlock(["other", "long"], [query[5:], document])],
    )
    assert len(cut.passages) > 2
    assert evaluate_retrieval(found, encoder).measures["mrr@10"] == 1
    truncated = evaluate_retrieval(found, encoder, overflow=Overflow.TRUNCATE)
    assert truncated.measures["mrr@10"] == 1 / 2


def test_judged_documents_that_are_not_there(encoder: TextEncoder) -> None:
    """They are counted, and never found; one that is there twice is an error, as is no document."""

    def small(ids: list[str]) -> Collection:
        return Collection(
            name="small",
            queries=["a", "b"],
            judgements={"x": {0: 1}, "gone": {0: 1, 1: 1}},
            n_rows=len(ids),
            read_documents=lambda: [DocumentBlock(ids, ["a"] * len(ids))] if ids else [],
        )

    score = evaluate_retrieval(small(["x", "y", "y"]), encoder)
    assert score.counts == {"judged documents that are not there": 1}
    assert score.measures["recall@100"] == pytest.approx(1 / 4)
    with pytest.raises(LabelError, match="'x' of small is there twice"):
        evaluate_retrieval(small(["x", "x"]), encoder)
    with pytest.raises(SourceError, match="no documents"):
        evaluate_retrieval(small([]), encoder)


def write_pairs(path: Path) -> tuple[Path, list[ScoredPair]]:
    """Twenty scored pairs of texts."""
    rng = np.random.default_rng(4)
    columns = zip(texts(20, 2), texts(20, 3), rng.random(20).tolist(), strict=True)
    pairs = [ScoredPair(*row) for row in columns]
    return write(path, [pair._asdict() for pair in pairs]), pairs


def test_similarity_is_scipys(encoder: TextEncoder, tmp_path: Path) -> None:
    """The correlations are SciPy's of the scores and the cosines."""
    path, pairs = write_pairs(tmp_path / "pairs.parquet")
    first, second = (encoder.encode([pair[i] for pair in pairs]) for i in (0, 1))
    cosines, scores = (first * second).sum(1), [pair.score for pair in pairs]
    [found] = evaluate_similarity(encoder, [path])
    assert found.spearman == pytest.approx(spearmanr(cosines, scores).statistic)
    assert found.pearson == pytest.approx(pearsonr(cosines, scores).statistic, abs=1e-5)
    assert found.n_pairs == 20


def test_the_commands(tmp_path: Path, tiny_model: Path, here: Here) -> None:
    """People get tables, programs JSON and CSV, on the screen or in a file."""
    how = ("--model", tiny_model, "--engine", "torch", "--device", "cpu")
    path, _ = write_pairs(tmp_path / "pairs.parquet")
    done = here("evaluate", "similarity", path, path, *how)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5 and "torch fp32 on cpu" in done.stdout
    done = here("evaluate", "similarity", path, *how, "--format", "json")
    assert json.loads(done.stdout)[0]["n_pairs"] == 20
    folder, out = write_collection(tmp_path / "small"), tmp_path / "scores.csv"
    rows = [{"question": text, "context": text} for text in texts(8, 7)]
    squad = write(tmp_path / "squad.parquet", rows)
    done = here("evaluate", "retrieval", folder, squad, *how, "--out", out)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    [first, second] = csv.DictReader(io.StringIO(out.read_text()))
    assert (first["n_documents"], second["n_documents"]) == ("40", "8")
    assert float(second["mrr@10"]) == 1
    done = here("evaluate", "retrieval", squad, *how, "-q")
    assert "ndcg@10" in done.stdout and done.stderr == ""


def test_bad_data_is_one_line(tmp_path: Path, tiny_model: Path, here: Here) -> None:
    """Folders that are no collections, missing columns and empty texts are named."""
    empty = tmp_path / "empty"
    empty.mkdir()
    path = write(tmp_path / "p.parquet", [{"text1": "a", "text2": "", "score": 1.0}])
    assert_refused(here("evaluate", "retrieval", empty), "no corpus.parquet and no queries")
    assert_refused(here("evaluate", "retrieval", path), "no column 'query'", "--query")
    model = ("--model", tiny_model, "--engine", "torch")
    assert_refused(here("evaluate", "similarity", path, *model), "Row 1", "empty text", "'text2'")
    assert_refused(here("evaluate", "similarity", path, "--score", "x", *model), "no column 'x'")
