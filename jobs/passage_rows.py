"""Passages as rows for other tools: id, place, text, metadata, and the vector beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.vectors import HalfRows
from indexes.contents import Block, iterate_contents
from indexes.deletions import live_documents
from indexes.documents import document_schema
from indexes.layout import Layout
from indexes.manifest import Manifest, SegmentRecord
from indexes.metadata import MetadataStore
from indexes.segments import read_rows
from jobs.output import column_names
from jobs.progress import Progress

PLACE = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("passage", pa.int32(), nullable=False),
    pa.field("start", pa.int32(), nullable=False),
    pa.field("end", pa.int32(), nullable=False),
)
"""Which document, the passage's number in it from 0, and its characters, half-open."""

TEXT = pa.field("text", pa.string(), nullable=False)
VECTOR = "vector"

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int32]


class PassageRows:
    """The passages of live documents, in the order of the index.

    Args:
        layout: the index.
        manifest: the state to read, with at least one segment; its files are whole.
        store: its metadata.
        where: SQL expression over the metadata that documents must satisfy.
        fields: metadata columns; None for all.
        with_text: whether each passage's text is wanted.

    Raises:
        FilterError: the expression or a field is wrong.
    """

    def __init__(
        self,
        layout: Layout,
        manifest: Manifest,
        store: MetadataStore,
        *,
        where: str | None = None,
        fields: Sequence[str] | None = None,
        with_text: bool = True,
    ) -> None:
        self._layout, self._store = layout, store
        self._segments, self.width = manifest.segments, manifest.encoder.width
        self._own = [*PLACE, TEXT] if with_text else [*PLACE]
        asked = store.metadata_columns if fields is None else fields
        self._metadata = _metadata_schema(layout, manifest, store.arrow_schema(asked))
        self._chosen = _chosen_documents(layout, manifest, store, where)
        self.schema = self._schema()

    def _schema(self) -> pa.Schema:
        """Columns of the rows, without the vector."""
        reserved = [*(field.name for field in PLACE), TEXT.name, VECTOR]
        names = column_names(reserved, self._metadata.names)
        fields = zip(self._metadata, names, strict=True)
        return pa.schema([*self._own, *(field.with_name(name) for field, name in fields)])

    def blocks(self, progress: Progress) -> Iterator[tuple[pa.Table, HalfRows]]:
        """Rows and their vectors, shape (n_rows, width), a few thousand at a time.

        Raises:
            IndexFormatError: a file is damaged.
        """
        progress.start_stage("exporting", len(self._chosen))
        first = 0
        for number, segment in enumerate(self._segments):
            chosen = self._chosen[first : first + segment.n_documents]
            first += segment.n_documents
            if chosen.any():
                yield from self._blocks_of(number, segment, chosen)
            progress.count_documents(segment.n_documents)

    def _blocks_of(
        self, segment: int, record: SegmentRecord, chosen: Flags
    ) -> Iterator[tuple[pa.Table, HalfRows]]:
        folder, counter = self._layout.segment(record.id), _PassageCounter()
        for block in iterate_contents(self._layout, record):
            numbers = counter.count(block.passages.document)
            kept = np.flatnonzero(chosen[block.passages.document])
            if len(kept):
                documents, of_row = np.unique(block.rows[kept], return_inverse=True)
                table = block.documents.take(pa.array(documents))
                own = self._own_columns(block, kept, numbers, table, of_row)
                places = (documents + block.first_document).tolist()
                metadata = self._metadata_columns(segment, places, table)
                columns = [*own, *(column.take(pa.array(of_row)) for column in metadata)]
                vectors = read_rows(folder, (block.first_passage + kept).tolist(), self.width)
                yield pa.Table.from_arrays(columns, schema=self.schema), vectors

    def _own_columns(
        self,
        block: Block,
        kept: npt.NDArray[np.int64],
        numbers: Numbers,
        documents: pa.Table,
        of_row: npt.NDArray[np.int64],
    ) -> list[pa.Array]:
        """Place and text of some passages, given their documents and which is whose."""
        start, end = block.passages.start[kept], block.passages.end[kept]
        ids = documents["__id"].take(pa.array(of_row))
        columns = [ids, *(pa.array(values) for values in (numbers[kept], start, end))]
        if TEXT in self._own:
            texts = documents["__text"].to_pylist()
            spans = zip(of_row.tolist(), start.tolist(), end.tolist(), strict=True)
            columns.append(pa.array([texts[i][a:b] for i, a, b in spans], TEXT.type))
        return columns

    def _metadata_columns(
        self, segment: int, places: Sequence[int], documents: pa.Table
    ) -> list[pa.ChunkedArray]:
        """Metadata of some documents, each column at its type over all segments."""
        names = {name.casefold(): name for name in documents.column_names}
        found, other = {}, []
        for field in self._metadata:
            own = names.get(field.name.casefold())
            kind = pa.null() if own is None else documents.schema.field(own).type
            if kind == field.type:
                found[field.name] = documents[own]
            elif pa.types.is_null(kind):
                found[field.name] = pa.nulls(len(places), field.type)
            else:
                other.append(field.name)
        if other:
            found |= self._as_searched(segment, places, other)
        return [found[field.name] for field in self._metadata]

    def _as_searched(
        self, segment: int, places: Sequence[int], fields: Sequence[str]
    ) -> dict[str, pa.Array]:
        """Columns that have other types elsewhere, as a search returns them."""
        found = self._store.documents({segment: places}, fields)
        rows = [found[segment, place].metadata for place in places]
        types = {name: self._metadata.field(name).type for name in fields}
        return {name: pa.array([row[name] for row in rows], types[name]) for name in fields}


def _chosen_documents(
    layout: Layout, manifest: Manifest, store: MetadataStore, where: str | None
) -> Flags:
    """Which documents, counted over all segments in order, are wanted and not deleted."""
    live = live_documents(layout, manifest)
    n_stored = sum(segment.n_documents for segment in manifest.segments)
    chosen = np.ones(n_stored, dtype=np.bool_) if live is None else live
    return chosen if where is None else chosen & store.allowed_documents(where)


def _metadata_schema(layout: Layout, manifest: Manifest, searched: pa.Schema) -> pa.Schema:
    """Columns at the type that they are stored with; if there are several, that of a search."""
    stored: dict[str, set[pa.DataType]] = {}
    for segment in manifest.segments:
        for field in document_schema(layout, segment):
            if not pa.types.is_null(field.type):
                stored.setdefault(field.name.casefold(), set()).add(field.type)

    def typed(field: pa.Field) -> pa.Field:
        kinds = stored.get(field.name.casefold(), {pa.null()})
        return pa.field(field.name, kinds.pop() if len(kinds) == 1 else field.type)

    return pa.schema([typed(field) for field in searched])


class _PassageCounter:
    """Numbers passages within their documents, from 0, block by block."""

    def __init__(self) -> None:
        self._document, self._n_seen = -1, 0

    def count(self, documents: Numbers) -> Numbers:
        """The number of each passage of a block, by its document, shape (n,)."""
        is_first = np.diff(documents, prepend=np.int32(self._document)) != 0
        places = np.arange(len(documents))
        starts = np.maximum.accumulate(np.where(is_first, places, -self._n_seen))
        numbers: Numbers = (places - starts).astype(np.int32)
        self._document, self._n_seen = int(documents[-1]), int(numbers[-1]) + 1
        return numbers
