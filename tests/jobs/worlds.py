"""An index with everything in it that the format knows, made up in a second; and its damage."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from synthetic import WIDTH, commit, make_basis, unit_rows, write_segment

from embedder.specs import Precision, digest_of
from indexes.durable import FileRecord, record_file, replace_file
from indexes.generation_builder import build_generation
from indexes.layout import Layout
from indexes.manifest import Contract, SegmentRecord, SenseBasis, StructureKind
from indexes.manifest_file import named_files, read_manifest, write_manifest
from indexes.searcher import Neighbour, Searcher
from jobs.compact import compact_index
from jobs.delete import delete_ids, delete_where
from jobs.induction import update_senses
from jobs.progress import Progress
from jobs.writing import clean

N_FLIPS = 22
CAP = 60
"""Most uses of a word that are kept."""

CALIBRATION = ["one", "two"]
CONTRACT = Contract(recall=0.8, memory=1 << 30, structure=StructureKind.IVF_SQ8)
QUERIES = unit_rows(5, seed=99, n_clusters=8)


def make_index(root: Path) -> Layout:
    """Two segments, one of them merged from two, both with deleted documents; two generations.

    Documents have one to three passages, ids are there twice, there is a calibration, and of five
    words a sample of the uses is kept and has senses.
    """
    layout = Layout(root)
    layout.root.mkdir(parents=True)
    layout.readers.touch()
    layout.lock.touch()
    basis = make_basis(layout, CAP)
    first = [_segment(layout, name, 600, seed, basis) for seed, name in enumerate("ab")]
    commit(layout, first, basis=basis)
    delete_where(layout, "n % 10 = 3")
    compact_index(layout)
    merged = read_manifest(layout)
    new = _segment(layout, "c", 200, 5, basis)
    replace_file(layout.calibration, json.dumps(CALIBRATION).encode())
    encoder = replace(merged.encoder, precision=Precision.INT8, calibration=digest_of(CALIBRATION))
    manifest = replace(
        merged,
        encoder=encoder,
        segments=(*merged.segments, new),
        n_settled=2,
        generations=(
            build_generation(layout, merged.segments, WIDTH, CONTRACT),
            build_generation(layout, [new], WIDTH, CONTRACT),
        ),
        contract=CONTRACT,
        calibration=record_file(layout.calibration),
        senses=update_senses(layout, (*merged.segments, new), basis, merged.senses, Progress()),
        history=(),
    )
    write_manifest(layout, manifest)
    clean(layout)
    delete_ids(layout, ["a-17", "b-4", "c-5"])
    return layout


def _segment(
    layout: Layout, name: str, n_documents: int, seed: int, basis: SenseBasis
) -> SegmentRecord:
    each = [1 + i % 3 for i in range(n_documents)]
    rows = unit_rows(sum(each), seed=seed, n_clusters=8)
    metadata = pa.table({"n": list(range(n_documents)), "odd \"name'": ["x"] * n_documents})
    return write_segment(
        layout, name, rows, passages_each=each, metadata=metadata, n_batches=2, basis=basis
    )


def content_files(layout: Layout) -> list[Path]:
    """The manifest and every file that it names."""
    found = named_files(layout, read_manifest(layout))
    named = [folder / name for folder, records in found for name in records]
    return [layout.manifest, *named]


def damages(content: bytes, seed: str) -> Iterator[tuple[str, bytes | None]]:
    """Ways to damage a file: what was done, and what it holds then; None for a removed file."""
    chance = random.Random(seed)
    places = {0, len(content) - 1, *(chance.randrange(len(content)) for _ in range(N_FLIPS - 2))}
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        yield f"byte {place} of {len(content)}", bytes(changed)
    for length in sorted({0, len(content) // 2, len(content) - 1}):
        yield f"cut to {length} of {len(content)}", content[:length]
    yield "removed", None


def put(path: Path, content: bytes | None) -> None:
    """Make a file hold something, or be gone."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def answers(layout: Layout) -> list[list[list[Neighbour]]]:
    """What some queries find, in the usual way and by looking at every passage."""
    searcher = Searcher(layout, read_manifest(layout).finished())
    try:
        return [searcher.search(QUERIES, 10, fields=["n"], exact=exact) for exact in (False, True)]
    finally:
        searcher.close()


def state_digests(layout: Layout, **changes: Any) -> None:
    """Write a manifest with changes, and with the sizes and digests that the files have now."""
    manifest = replace(read_manifest(layout), **changes)
    segments = tuple(_segment_now(layout, segment) for segment in manifest.segments)
    generations = tuple(
        replace(record, files=_records(layout.generation(record.id), record.files))
        for record in manifest.generations
    )
    parts = {
        name: replace(part, files=_records(layout.sense_folder(part.id), part.files))
        for name, part in (("basis", manifest.basis), ("senses", manifest.senses))
        if part is not None
    }
    assert manifest.excluded is not None
    excluded = manifest.excluded[0]
    write_manifest(
        layout,
        replace(
            manifest,
            segments=segments,
            generations=generations,
            calibration=record_file(layout.calibration),
            excluded=(excluded, record_file(layout.deleted / excluded)),
            **parts,
        ),
    )


def _segment_now(layout: Layout, segment: SegmentRecord) -> SegmentRecord:
    assert segment.deletion is not None
    file = record_file(layout.deleted / segment.deletion.name)
    files = _records(layout.segment(segment.id), segment.files)
    return replace(segment, files=files, deletion=replace(segment.deletion, file=file))


def _records(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    return {name: record_file(folder / name) for name in names}
