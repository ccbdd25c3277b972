"""Test collections and pairs of queries and answers out of Parquet, and measures of rankings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedder.collection import Collection, CollectionColumns, open_collection, pairs_as_collection
from embedder.errors import ColumnError, EmbedderError, LabelError, RequestError, SourceError
from embedder.ranking import ranking_measures
from embedder.retrieval_pairs import RetrievalPair, read_retrieval_pairs

Table = Sequence[dict[str, Any]]
CORPUS = [
    {"doc_id": "a", "title": "Banks", "text": "they lend money"},
    {"doc_id": "b", "title": None, "text": "a river has two"},
    {"doc_id": "c", "title": "", "text": " "},
    {"doc_id": "d", "title": "Cranes", "text": None},
]
QUERIES = [{"query_id": 7, "text": "lending"}, {"query_id": 8, "text": "birds"}]
QRELS = [
    {"query_id": 7, "doc_id": "a", "relevance": 2},
    {"query_id": 7, "doc_id": "b", "relevance": 0},
    {"query_id": 9, "doc_id": "a", "relevance": 1},
]


def write(path: Path, rows: Table) -> Path:
    """A Parquet file of rows."""
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def collection(
    folder: Path,
    corpus: Table = CORPUS,
    queries: Table = QUERIES,
    qrels: Table = QRELS,
    columns: CollectionColumns | None = None,
) -> Collection:
    """A collection of three small files."""
    files = (("corpus", corpus), ("queries", queries), ("qrels", qrels))
    paths = [write(folder / f"{name}.parquet", rows) for name, rows in files]
    return open_collection(*paths, columns, name="small")


def test_a_collection_is_what_its_files_hold(tmp_path: Path) -> None:
    """Titles stand before texts, documents without either are left out, as are queries without a
    judgement, and all that is left out is counted."""
    found = collection(tmp_path)
    [block] = found.read_documents()
    assert block.ids == ["a", "b", "d"]
    assert block.texts == ["Banks they lend money", "a river has two", "Cranes"]
    assert found.queries == ["lending"] and found.n_rows == 4
    assert found.judgements == {"a": {0: 2}, "b": {0: 0}}
    assert dict(+found.counts) == {
        "documents without text": 1,
        "queries without a judgement": 1,
        "judgements of queries that are not there": 1,
    }


def test_texts_without_titles(tmp_path: Path) -> None:
    """Without titles, or where no document has one, the texts are alone, and a document that has
    only a title is left out."""
    found = collection(tmp_path, columns=CollectionColumns(title=None))
    [block] = found.read_documents()
    assert block.texts == ["they lend money", "a river has two"]
    untitled = [{**row, "title": None} for row in CORPUS]
    [same] = collection(tmp_path, corpus=untitled).read_documents()
    assert same == block


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"queries": [{"query_id": 1, "text": " "}]}, LabelError, r"Row 1 of .*queries.* empty"),
        ({"queries": [{"query_id": None, "text": "a"}]}, LabelError, r"Row 1 .* 'query_id'"),
        ({"queries": [*QUERIES, QUERIES[0]]}, LabelError, r"Row 3 .* '7', which came before"),
        ({"queries": [{"id": 1, "text": "a"}]}, ColumnError, r"queries.* no column 'query_id'"),
        ({"qrels": [{**QRELS[0], "relevance": 0.5}]}, LabelError, r"Row 1 .* 0\.5 .* whole"),
        ({"qrels": [{**QRELS[0], "query_id": 3}]}, SourceError, r"judges none of the queries"),
        ({"qrels": [{"query_id": 7, "doc_id": "a"}]}, ColumnError, r"no column 'relevance'"),
        ({"corpus": [{"doc_id": "a", "body": "x"}]}, ColumnError, r"no column 'text'"),
        ({"corpus": [{"text": "x"}]}, ColumnError, r"no column 'doc_id'"),
        ({"corpus": [{**CORPUS[0], "title": 3}]}, ColumnError, r"'title' .* int64.* --no-title"),
    ],
)
def test_a_bad_collection_is_named(
    tmp_path: Path, changes: dict[str, Table], kind: type[EmbedderError], message: str
) -> None:
    """Missing columns, empty queries, ids that come twice and broken grades are errors that name
    file and row."""
    with pytest.raises(kind, match=message):
        list(collection(tmp_path, **changes).read_documents())


def test_pairs_are_a_collection() -> None:
    """Equal positives are one document, and a query may have several."""
    pairs = [RetrievalPair("q", "x"), RetrievalPair("q", "y"), RetrievalPair("r", "x")]
    found = pairs_as_collection(pairs, name="pairs")
    [block] = found.read_documents()
    assert (block.ids, block.texts, found.n_rows) == (["0", "1"], ["x", "y"], 2)
    assert found.queries == ["q", "r"]
    assert found.judgements == {"0": {0: 1, 1: 1}, "1": {0: 1}}


@pytest.mark.parametrize(
    ("row", "columns", "negatives"),
    [
        ({"query": "q", "positive": "p", "negative": "n"}, {}, ("n",)),
        ({"question": "q", "context": "p", "negatives": ["n", "m"]}, {}, ("n", "m")),
        ({"anchor": "q", "positive": "p", "negative": None}, {}, ()),
        ({"a": "q", "b": "p", "c": "n"}, {"query": "a", "positive": "b", "negative": "c"}, ("n",)),
    ],
)
def test_pairs_are_read(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], negatives: tuple[str, ...]
) -> None:
    """The usual names are found, others can be given, negatives are texts, lists or nothing."""
    path = write(tmp_path / "p.parquet", [row])
    assert read_retrieval_pairs(path, columns) == [RetrievalPair("q", "p", negatives)]


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ({"query": "q"}, ColumnError, r"no column 'positive' or 'context'.* --positive"),
        ({"positive": "p"}, ColumnError, r"no column 'query' or 'question'.* --query"),
        ({"query": "", "positive": "p"}, LabelError, r"Row 2 of .*p\.parquet has an empty text"),
        ({"query": "q", "positive": None}, LabelError, r"Row 2 of .* 'positive'"),
        ({"query": "q", "positive": "p", "negative": ""}, LabelError, r"Row 2 of .* 'negative'"),
        ({"query": "q", "positive": "p", "negative": ["", "a"]}, LabelError, r"Row 2 of .*negat"),
    ],
)
def test_bad_pairs_are_named(
    tmp_path: Path, row: dict[str, Any], kind: type[EmbedderError], message: str
) -> None:
    """Missing columns and empty texts are errors that name file and row."""
    good = {name: ["x"] if isinstance(value, list) else "x" for name, value in row.items()}
    with pytest.raises(kind, match=message):
        read_retrieval_pairs(write(tmp_path / "p.parquet", [good, row]))


def test_measures_by_hand() -> None:
    """A document of grade 3 on rank two and one of grade 1 on rank 20, of three; a query whose
    document is not found counts as nothing."""
    rankings = np.full((2, 200), -1)
    rankings[0] = np.arange(200)
    found = ranking_measures(rankings, [{1: 3, 19: 1, 150: 1, 5: 0}, {7: 1}])
    ideal = 3 + 1 / math.log2(3) + 1 / math.log2(4)
    wanted = {
        "ndcg@10": 3 / math.log2(3) / ideal,
        "map": (1 / 2 + 2 / 20 + 3 / 151) / 3,
        "mrr@10": 1 / 2,
        "recall@10": 1 / 3,
        "recall@100": 2 / 3,
    }
    assert found == pytest.approx({name: value / 2 for name, value in wanted.items()}, rel=1e-6)


def test_nothing_relevant() -> None:
    """Where no document is relevant there is nothing to measure."""
    with pytest.raises(RequestError, match="nothing to measure"):
        ranking_measures(np.array([[0]]), [{0: 0}])
