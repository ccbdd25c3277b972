"""What an index holds, read without the code that searches it, and what searches must give."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from embedder.vectors import Rows, normalise
from indexes.layout import DOCUMENTS_FILE, PASSAGES_FILE, VECTORS_FILE, Layout
from indexes.manifest import Manifest, SegmentRecord
from indexes.manifest_file import read_manifest
from indexes.searcher import Neighbour, Searcher

Entries = dict[str, bytes | None]
"""Every file below a folder with its bytes, and every folder with None."""

Shown = tuple[Any, ...]
"""A document: id, text, and the values of its metadata."""

EVERY_DOCUMENT = 10_000


def read_entries(folder: Path) -> Entries:
    """Everything below a folder, nothing if it is not there."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def digest_entries(entries: Entries) -> str:
    """A digest by which equal states are known; who held the lock last makes no difference."""
    total = hashlib.sha256()
    for name, content in entries.items():
        total.update(repr([name, content if name != "lock" else b""]).encode())
    return total.hexdigest()


def queries(width: int) -> Rows:
    """The questions that are asked: three unit rows, the same every time."""
    return normalise(np.random.default_rng(11).normal(size=(3, width)).astype(np.float32))


@dataclass(frozen=True)
class Answer:
    """What all queries find when every document is asked for.

    Args:
        documents: of each query, id, text and metadata of all hits, in an order of their own.
        scores: of each query, their scores.
    """

    documents: tuple[tuple[Any, ...], ...]
    scores: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, found: Sequence[Sequence[tuple[float, tuple[Any, ...]]]]) -> Answer:
        """From the hits of each query, score and document."""
        ordered = [sorted(hits, key=lambda hit: (repr(hit[1]), hit[0])) for hits in found]
        return cls(
            tuple(tuple(document for _, document in hits) for hits in ordered),
            tuple(tuple(score for score, _ in hits) for hits in ordered),
        )

    def to_json(self) -> list[Any]:
        """What `from_json` reads."""
        pairs = zip(self.scores, self.documents, strict=True)
        return [list(zip(scores, documents, strict=True)) for scores, documents in pairs]

    @classmethod
    def from_json(cls, values: list[Any]) -> Answer:
        """Read what `to_json` wrote."""
        return cls.of(
            [
                [(score, (d[0], d[1], tuple(map(tuple, d[2])))) for score, d in hits]
                for hits in values
            ]
        )

    def is_like(self, other: Answer) -> bool:
        """Whether it is the same but for the rounding of scores."""
        return self.documents == other.documents and all(
            np.allclose(mine, theirs, rtol=0, atol=1e-5)
            for mine, theirs in zip(self.scores, other.scores, strict=True)
        )


@dataclass(frozen=True)
class _Document:
    id: str
    text: str
    metadata: tuple[tuple[str, Any], ...]
    rows: Rows


def brute_force(
    layout: Layout, segments: Sequence[SegmentRecord], metadata: Sequence[str], width: int
) -> Answer:
    """What a search over some segments must find, by looking at every row of every file."""
    documents = [d for segment in segments for d in _documents(layout, segment, metadata)]
    return Answer.of(
        [
            [(float((d.rows @ query).max()), (d.id, d.text, d.metadata)) for d in documents]
            for query in queries(width)
        ]
    )


def _documents(
    layout: Layout, segment: SegmentRecord, metadata: Sequence[str]
) -> Iterator[_Document]:
    folder = layout.segment(segment.id)
    dead: set[int] = set()
    if segment.deletion is not None:
        dead = set(np.load(layout.deleted / segment.deletion.name).tolist())
    rows = np.load(folder / VECTORS_FILE).astype(np.float32)
    of = pq.read_table(folder / PASSAGES_FILE)["document"].to_numpy()
    for number, values in enumerate(pq.read_table(folder / DOCUMENTS_FILE).to_pylist()):
        if number not in dead:
            kept = tuple((name, values.get(name)) for name in metadata)
            yield _Document(values["__id"], values["__text"], kept, rows[of == number])


def live_documents(index: Path, *, with_unfinished: bool = False) -> Counter[Shown]:
    """Documents of an index: those of its finished state, or of all segments that it names."""
    layout, manifest = Layout(index), read_manifest(Layout(index))
    segments = manifest.segments if with_unfinished else manifest.finished().segments
    return Counter(
        (document.id, document.text, *(value for _, value in document.metadata))
        for segment in segments
        for document in _documents(layout, segment, manifest.metadata)
    )


def source_documents(folder: Path) -> Counter[Shown]:
    """Documents of a folder of sources whose first columns are id and text."""
    files = sorted(folder.glob("*.parquet"))
    return Counter(tuple(row.values()) for path in files for row in pq.read_table(path).to_pylist())


def expected(index: Path) -> Answer:
    """What a search of the finished state of an index must find."""
    manifest = read_manifest(Layout(index)).finished()
    return _expected(Layout(index), manifest, manifest.segments)


def expected_while_new(index: Path) -> list[Answer]:
    """What a search may find while an index is built for the first time: its first segments."""
    layout = Layout(index)
    manifest = read_manifest(layout)
    return [
        _expected(layout, manifest, manifest.segments[:n])
        for n in range(len(manifest.segments) + 1)
    ]


def _expected(layout: Layout, manifest: Manifest, segments: Sequence[SegmentRecord]) -> Answer:
    return brute_force(layout, segments, manifest.metadata, manifest.encoder.width)


def search_everything(layout: Layout, manifest: Manifest) -> Answer:
    """What the real search finds in a state, in the form of `brute_force`.

    Raises:
        EmbedderError: as `Searcher`.
    """
    searcher = Searcher(layout, manifest)
    try:
        return ask(searcher, manifest)
    finally:
        searcher.close()


def ask(searcher: Searcher, manifest: Manifest) -> Answer:
    """What a searcher that is open finds, in the form of `brute_force`."""
    names = manifest.metadata if manifest.segments else ()
    found = searcher.search(queries(manifest.encoder.width), EVERY_DOCUMENT, fields=names)
    for row in found:
        scores = [hit.score for hit in row]
        assert scores == sorted(scores, reverse=True)
    return Answer.of([[(hit.score, _shown(hit, names)) for hit in row] for row in found])


def _shown(hit: Neighbour, names: Sequence[str]) -> tuple[Any, ...]:
    metadata = tuple((name, hit.document.metadata[name]) for name in names)
    return (hit.document.id, hit.document.text, metadata)
