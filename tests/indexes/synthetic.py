"""Indexes of made-up vectors, written and built by the real code."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.projection import encode_codes
from embedder.records import OCCURRENCE, Occurrences, PassageTable, hash_text, hash_texts
from embedder.specs import ChunkSpec, EncoderSpec, Overflow, Pooling
from embedder.vectors import HalfRows, Rows, normalise
from embedder.word_uses import draws
from embedder.words import find_words
from indexes.durable import publish_contents
from indexes.layout import FUNCTION_WORDS_FILE, PROJECTION_FILE, Layout
from indexes.manifest import Contract, Manifest, SegmentRecord, SenseBasis
from indexes.manifest_file import write_manifest
from indexes.segments import SegmentWriter

WIDTH = 16


def unit_rows(n: int, *, seed: int = 0, n_clusters: int = 0, width: int = WIDTH) -> Rows:
    """Random unit rows, around some centres if there are any, shape (n, width)."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, width)).astype(np.float32)
    if n_clusters:
        centres = np.random.default_rng(7).normal(size=(n_clusters, width)) * 4
        rows += centres[random.integers(0, n_clusters, n)].astype(np.float32)
    return normalise(rows)


def write_segment(
    layout: Layout,
    name: str,
    rows: Rows,
    *,
    passages_each: Sequence[int] | None = None,
    metadata: pa.Table | None = None,
    texts: Sequence[str] | None = None,
    n_batches: int = 1,
    basis: SenseBasis | None = None,
) -> SegmentRecord:
    """A segment of documents `name-0`, `name-1`, ... with the given vectors, in some batches."""
    counts = np.array([1] * len(rows) if passages_each is None else passages_each, dtype=np.int64)
    texts = texts or [f"text {i} of {name}" for i in range(len(counts))]
    table = pa.table({"n": np.arange(len(counts))}) if metadata is None else metadata
    writer = SegmentWriter(layout, name, rows.shape[1], basis)
    forms: dict[int, str] = {}
    ends = np.concatenate([[0], np.cumsum(counts)])
    for part in np.array_split(np.arange(len(counts)), n_batches):
        first, last = (int(part[0]), int(part[-1]) + 1) if len(part) else (0, 0)
        own = np.repeat(np.arange(first, last), counts[first:last])
        document = np.repeat(np.arange(last - first, dtype=np.int32), counts[first:last])
        lengths = np.array([len(texts[first + d]) for d in document], dtype=np.int32)
        writer.write(
            ids=[f"{name}-{i}" for i in range(first, last)],
            texts=texts[first:last],
            metadata=table.slice(first, last - first),
            passages=PassageTable(
                document,
                np.zeros_like(document),
                lengths,
                np.full_like(document, 5),
                hash_texts([texts[first + d] for d in document]),
            ),
            vectors=rows[ends[first] : ends[last]].astype(np.float16),
            n_windowed=0,
            n_truncated=0,
            counts=Counter(),
            occurrences=occurrences_of([texts[i] for i in own], basis.n_components, forms)
            if basis
            else None,
        )
    return writer.publish(forms=forms)


def make_basis(layout: Layout, cap: int, n_components: int = 8) -> SenseBasis:
    """What codes rest on: no function words, and the first components of a vector."""
    projection = io.BytesIO()
    np.save(projection, np.eye(1 + n_components, WIDTH, -1, dtype=np.float32))
    contents = {FUNCTION_WORDS_FILE: b"[]", PROJECTION_FILE: projection.getvalue()}
    files = publish_contents(layout.sense_folder("basis"), contents)
    return SenseBasis(id="basis", cap=cap, n_components=n_components, files=files)


def occurrences_of(
    texts: Sequence[str], n_components: int, forms: dict[int, str] | None = None
) -> Occurrences:
    """All words of some passages, with codes that depend on the text and the place alone.

    Args:
        texts: the passages.
        n_components: of a code.
        forms: takes the form of each word by its hash.
    """
    low = hash_texts(texts)[:, 0]
    parts, ends = [np.empty(0, OCCURRENCE)], []
    for text, own in zip(texts, low, strict=True):
        words = list(find_words(text))
        records = np.empty(len(words), dtype=OCCURRENCE)
        records["word"] = [hash_text(word.form) for word in words]
        records["start"] = [word.start for word in words]
        records["length"] = [word.end - word.start for word in words]
        records["draw"] = draws(own, records["start"])
        parts.append(records)
        ends.append(len(words))
        if forms is not None:
            forms |= {hash_text(word.form): word.form for word in words}
    found = np.concatenate(parts)
    seeds = (found["draw"].astype(np.int64) + found["start"]) % 509
    rows = unit_rows(509, seed=3, n_clusters=2, width=n_components)[seeds]
    return Occurrences(np.cumsum(ends, dtype=np.int64), found, encode_codes(rows))


def make_manifest(segments: Sequence[SegmentRecord], width: int = WIDTH) -> Manifest:
    """A state of an index that holds these segments and no FAISS structure."""
    encoder = EncoderSpec(
        model="made-up",
        weights="w",
        tokenizer="t",
        pooling=Pooling.MEAN,
        layers=1,
        max_tokens=64,
        width=width,
    )
    chunking = ChunkSpec(overflow=Overflow.WINDOW, window=64, stride=56)
    return Manifest(
        encoder=encoder,
        engine="none",
        text="text",
        id="id",
        metadata=("n",),
        chunking=chunking,
        contract=Contract(recall=0.95, memory=1 << 30),
        segments=tuple(segments),
        n_settled=len(segments),
    )


def commit(layout: Layout, segments: Sequence[SegmentRecord], **changes: object) -> Manifest:
    """Write and return the manifest of these segments."""
    manifest = replace(make_manifest(segments), **changes)  # type: ignore[arg-type]
    layout.root.mkdir(parents=True, exist_ok=True)
    write_manifest(layout, manifest)
    return manifest


def best_documents(
    rows: HalfRows,
    document_of: npt.NDArray[np.int64],
    query: Rows,
    k: int,
    allowed: npt.NDArray[np.bool_],
) -> list[tuple[int, float]]:
    """The k best allowed documents by their best row, by looking at every row; ties in order."""
    scores = np.einsum("ij,j->i", rows.astype(np.float32), query)
    found: dict[int, float] = {}
    for position in np.argsort(-scores, kind="stable"):
        document = int(document_of[position])
        if allowed[document] and document not in found:
            found[document] = float(scores[position])
            if len(found) == k:
                break
    return list(found.items())
