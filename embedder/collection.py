"""Test collections: documents, queries, and which documents people found relevant to which query.

Documents are read as they are needed, so that a collection may be larger than memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from embedder.columns import ColumnRequest
from embedder.corpus import Corpus, open_corpus, read_every_row
from embedder.errors import ColumnError, LabelError, SourceError
from embedder.pairs import text_in
from embedder.retrieval_pairs import RetrievalPair
from embedder.rows import EveryRow
from embedder.whole_table import check_columns, read_whole_table, table_rows, value_in

PAIR_BLOCK = 1024


class DocumentBlock(NamedTuple):
    """Some documents in order: their ids and texts, none of which is empty."""

    ids: list[str]
    texts: list[str]


@dataclass(frozen=True, kw_only=True)
class CollectionColumns:
    """Names of the columns of a collection.

    Args:
        document: id of a document, in the corpus and in the judgements.
        text: text of a document, and of a query.
        title: put before the text of a document; None for nothing.
        query: id of a query, in the queries and in the judgements.
        relevance: grade of a judgement; above 0 is relevant.
    """

    document: str = "doc_id"
    text: str = "text"
    title: str | None = "title"
    query: str = "query_id"
    relevance: str = "relevance"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A test collection.

    Args:
        name: what it is called.
        queries: texts of the queries that have a judgement.
        judgements: of each document that was judged, by its id, the grades by number of query.
        n_rows: rows of documents, those without text included.
        read_documents: reads the documents, block by block, anew with each call.
        counts: what was left out, by reason; reading the documents adds to it.
    """

    name: str
    queries: list[str]
    judgements: dict[str, dict[int, int]]
    n_rows: int
    read_documents: Callable[[], Iterable[DocumentBlock]]
    counts: Counter[str] = field(default_factory=Counter)


def open_collection(
    corpus: str | Path,
    queries: str | Path,
    judgements: str | Path,
    columns: CollectionColumns | None = None,
    *,
    name: str,
) -> Collection:
    """A collection of three Parquet files.

    Args:
        corpus: the documents.
        queries: the queries.
        judgements: pairs of a query and a document, with a grade.
        columns: names of their columns.
        name: what it is called.

    Raises:
        SourceError: a file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a row has no id or no text, an id comes twice, or a grade is no whole number.
    """
    columns = columns or CollectionColumns()
    texts = _read_queries(queries, columns)
    judged, n_unknown = _read_judgements(judgements, columns, list(texts))
    with_judgement = sorted({query for grades in judged.values() for query in grades})
    place_of = {query: place for place, query in enumerate(with_judgement)}
    everything = list(texts.values())
    counts = Counter(
        {
            "queries without a judgement": len(texts) - len(with_judgement),
            "judgements of queries that are not there": n_unknown,
        }
    )
    opened = _open_corpus(str(corpus), columns)
    return Collection(
        name=name,
        queries=[everything[query] for query in with_judgement],
        judgements={
            document: {place_of[query]: grade for query, grade in grades.items()}
            for document, grades in judged.items()
        },
        n_rows=opened.n_rows,
        read_documents=lambda: _read_documents(opened, columns, counts),
        counts=counts,
    )


def pairs_as_collection(pairs: Iterable[RetrievalPair], *, name: str) -> Collection:
    """Pairs as a collection: the different positives are its documents, and those of a query are
    relevant to it."""
    queries: dict[str, int] = {}
    documents: dict[str, int] = {}
    judgements: dict[str, dict[int, int]] = {}
    for pair in pairs:
        query = queries.setdefault(pair.query, len(queries))
        document = documents.setdefault(pair.positive, len(documents))
        judgements.setdefault(str(document), {})[query] = 1
    texts = list(documents)

    def read() -> Iterator[DocumentBlock]:
        for start in range(0, len(texts), PAIR_BLOCK):
            block = texts[start : start + PAIR_BLOCK]
            yield DocumentBlock([str(start + i) for i in range(len(block))], block)

    return Collection(
        name=name,
        queries=list(queries),
        judgements=judgements,
        n_rows=len(texts),
        read_documents=read,
    )


def _read_queries(path: str | Path, columns: CollectionColumns) -> dict[str, str]:
    """The text of each query by its id."""
    table = read_whole_table(path)
    check_columns([columns.query, columns.text], table, path)
    texts: dict[str, str] = {}
    for number, row in enumerate(table_rows(table.select([columns.query, columns.text])), 1):
        query = str(value_in(row, columns.query, number, path))
        if query in texts:
            raise LabelError(f"Row {number} of {path} has the id {query!r}, which came before.")
        texts[query] = text_in(row, columns.text, number, path)
    return texts


def _read_judgements(
    path: str | Path, columns: CollectionColumns, queries: list[str]
) -> tuple[dict[str, dict[int, int]], int]:
    """Grades by document and number of query, and how many were of no query that is there."""
    names = [columns.query, columns.document, columns.relevance]
    table = read_whole_table(path)
    check_columns(names, table, path)
    number_of = {query: number for number, query in enumerate(queries)}
    judged: dict[str, dict[int, int]] = {}
    n_unknown = 0
    for number, row in enumerate(table_rows(table.select(names)), 1):
        query, document, grade = (value_in(row, name, number, path) for name in names)
        if not isinstance(grade, int | float) or grade != grade // 1:
            raise LabelError(
                f"Row {number} of {path} has {grade!r} in the column {columns.relevance!r}, and "
                "a whole number is wanted."
            )
        if str(query) in number_of:
            judged.setdefault(str(document), {})[number_of[str(query)]] = int(grade)
        else:
            n_unknown += 1
    if not judged:
        raise SourceError(f"{path} judges none of the queries.", "Check that the ids are the same.")
    return judged, n_unknown


def _open_corpus(path: str, columns: CollectionColumns) -> Corpus:
    titles = () if columns.title is None else (columns.title,)
    request = ColumnRequest(
        text=columns.text, id=columns.document, metadata=titles, is_metadata_required=False
    )
    corpus = open_corpus([path], request)
    for source in corpus.sources:
        check_columns([columns.document], pa.table(source.schema.empty_table()), source.file.name)
    return corpus


def _read_documents(
    corpus: Corpus, columns: CollectionColumns, counts: Counter[str]
) -> Iterator[DocumentBlock]:
    for rows in read_every_row(corpus.shards(), corpus):
        texts = _with_titles(rows, columns)
        kept = [number for number, text in enumerate(texts) if text]
        counts.update(rows.counts)
        counts["documents without text"] += len(texts) - len(kept)
        yield DocumentBlock([rows.ids[i] for i in kept], [texts[i] for i in kept])


def _with_titles(rows: EveryRow, columns: CollectionColumns) -> list[str]:
    """Title and text with a space between them, as BEIR (Thakur et al. 2021) has it."""
    if columns.title is None or columns.title not in rows.values.column_names:
        return rows.texts
    titles = rows.values[columns.title]
    if pa.types.is_null(titles.type):
        return rows.texts
    if not pa.types.is_string(titles.type) and not pa.types.is_large_string(titles.type):
        raise ColumnError(
            f"The column {columns.title!r} of {rows.name} is {titles.type}, and text is wanted.",
            "Name the one with the titles with --title, or give --no-title.",
        )
    return [
        f"{title or ''} {text}".strip()
        for title, text in zip(titles.to_pylist(), rows.texts, strict=True)
    ]
