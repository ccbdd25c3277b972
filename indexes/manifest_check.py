"""Whether what a manifest says fits together, and the files that it names are as written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from embedder.errors import IndexFormatError
from embedder.specs import digest_of
from indexes.deletions import read_excluded
from indexes.durable import FileRecord, check_files
from indexes.layout import OCCURRENCE_FILES, Layout
from indexes.manifest import GenerationRecord, Manifest
from indexes.problems import REBUILD, Problem


def check_manifest(layout: Layout, manifest: Manifest) -> Iterator[Problem]:
    """What is wrong with a manifest that can be read, whatever lies in the files."""
    raw = layout.manifest.read_bytes()
    if raw != (json.dumps(json.loads(raw), indent=1) + "\n").encode():
        yield Problem.of(layout.manifest, "it says what was written, in other bytes")
    for what in _contradictions(manifest):
        yield Problem.of(layout.manifest, what)


def _contradictions(manifest: Manifest) -> Iterator[str]:
    segments, generations = manifest.segments, manifest.generations
    settled = manifest.finished().segments
    covered = [name for record in generations for name in record.segments]
    yield from _twice("segment", (segment.id for segment in segments))
    yield from _twice("shard", (shard.id for segment in settled for shard in segment.shards))
    yield from _twice("generation", (record.id for record in generations))
    yield from _twice("deletion", (s.deletion.name for s in segments if s.deletion))
    yield from _twice("covered segment", covered)
    if not 0 <= manifest.n_settled <= len(segments):
        yield f"{manifest.n_settled} of {len(segments)} segments are said to be finished"
    sizes = {segment.id: segment.n_passages for segment in segments}
    for record in generations:
        yield from _wrong_sizes(record, sizes)
    yield from _wrong_senses(manifest)
    last = manifest.history[-1] if manifest.history else None
    if last and manifest.is_finished and last.n_documents != manifest.n_documents:
        yield (
            f"its last run left {last.n_documents} documents, and the segments have "
            f"{manifest.n_documents}"
        )


def _twice(noun: str, names: Iterable[str]) -> Iterator[str]:
    for name, n in Counter(names).items():
        if n > 1:
            yield f"it names the {noun} {name} {n} times"


def _wrong_sizes(record: GenerationRecord, sizes: dict[str, int]) -> Iterator[str]:
    if len(record.sizes) != len(record.segments):
        yield f"generation {record.id} has {len(record.sizes)} sizes of {len(record.segments)}"
        return
    for name, size in zip(record.segments, record.sizes, strict=True):
        if sizes.get(name, size) != size:
            yield (
                f"generation {record.id} has {size} vectors of segment {name}, which has "
                f"{sizes[name]} passages"
            )


def _wrong_senses(manifest: Manifest) -> Iterator[str]:
    basis, senses = manifest.basis, manifest.senses
    for segment in manifest.segments:
        has_files = set(OCCURRENCE_FILES) <= segment.files.keys()
        if has_files != (basis is not None) or (segment.n_occurrences and not has_files):
            kind = "with" if basis else "without"
            yield f"segment {segment.id} has not the files of an index {kind} senses"
    if senses is None:
        if basis and manifest.is_finished:
            yield "it names no senses, and what their uses rest on"
        return
    if basis is None:
        yield "it names senses, and not what their uses rest on"
    there = {segment.id for segment in manifest.segments}
    for name in {name for name, _ in senses.segments} - there:
        yield f"its senses are of segment {name}, which it does not name"


def check_named_files(
    layout: Layout, folder: Path, records: Mapping[str, FileRecord]
) -> Iterator[Problem]:
    """What is wrong with the files of one folder, read from end to end.

    Args:
        layout: the index.
        folder: the folder.
        records: what was written there.
    """
    for name, record in records.items():
        try:
            check_files(folder, {name: record}, with_digests=True)
        except IndexFormatError as error:
            is_lost = folder / name == layout.calibration  # no source holds it
            yield Problem.of_error(folder / name, error, REBUILD if is_lost else "")


def check_calibration(layout: Layout, manifest: Manifest) -> Iterator[Problem]:
    """Whether the calibration texts are those that the vectors were made with."""
    if manifest.calibration is None:
        return
    try:
        texts = json.loads(layout.calibration.read_text("utf-8"))
    except (OSError, ValueError) as error:
        yield Problem.of(layout.calibration, f"it cannot be read as JSON: {error}")
        return
    if not isinstance(texts, list) or digest_of(texts) != manifest.encoder.calibration:
        yield Problem.of(layout.calibration, "its texts are not those that calibrated int8")


def check_excluded(layout: Layout, manifest: Manifest) -> Iterator[Problem]:
    """Whether it can be read which documents stay out."""
    try:
        read_excluded(layout, manifest)
    except IndexFormatError as error:
        assert manifest.excluded is not None
        yield Problem.of_error(layout.deleted / manifest.excluded[0], error)
