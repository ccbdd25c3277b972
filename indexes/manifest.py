"""The manifest: the one file that changes, and names everything else with size and digest."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from embedder.errors import IndexFormatError, IndexNotFoundError
from embedder.specs import ChunkSpec, EncoderSpec, digest_of
from indexes.durable import FileRecord, check_files, replace_file
from indexes.layout import Layout

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class SegmentRecord:
    """One committed segment.

    Args:
        id: digest of (shard content identity, chunking, encoder fingerprint).
        n_documents: documents with a text.
        n_passages: passages, each with a vector.
        n_tokens: pieces of all passages.
        n_windowed: documents that became several passages.
        n_truncated: documents whose end was cut off.
        counts: rows left out or defective, by reason.
        files: the segment's files.
    """

    id: str
    n_documents: int
    n_passages: int
    n_tokens: int
    n_windowed: int
    n_truncated: int
    counts: dict[str, int]
    files: dict[str, FileRecord]


@dataclass(frozen=True, kw_only=True)
class GenerationRecord:
    """One built FAISS structure.

    Args:
        id: digest of the segments, the structure and its parameters.
        structure: what was built, as FAISS's factory names it.
        segments: ids of the segments it covers, in the order of its vectors.
        sizes: vectors of each of these segments.
        parameters: how it is searched, as `nprobe`.
        files: its files.
    """

    id: str
    structure: str
    segments: tuple[str, ...]
    sizes: tuple[int, ...]
    parameters: dict[str, int]
    files: dict[str, FileRecord]

    @property
    def n_vectors(self) -> int:
        """Vectors in the structure."""
        return sum(self.sizes)


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """One Parquet file that was indexed, as it was named, with its rows and bytes."""

    name: str
    n_rows: int
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The committed state of an index.

    Args:
        encoder: what determines its vectors.
        engine: what computed them, for people to read.
        text: the text column.
        id: the id column, None when ids were made from file and row.
        metadata: the metadata columns.
        chunking: how documents became passages.
        sources: what it follows.
        segments: its segments, in the order of the sources.
        generation: its FAISS structure; None until the first is built.
        n_duplicate_ids: documents whose id an earlier document has.
        calibration: the file of calibration texts, for int8.
    """

    encoder: EncoderSpec
    engine: str
    text: str
    id: str | None
    metadata: tuple[str, ...]
    chunking: ChunkSpec
    sources: tuple[SourceRecord, ...] = ()
    segments: tuple[SegmentRecord, ...] = ()
    generation: GenerationRecord | None = None
    n_duplicate_ids: int = 0
    calibration: FileRecord | None = None
    format: int = field(default=FORMAT)

    @property
    def n_documents(self) -> int:
        """Documents in all segments."""
        return sum(segment.n_documents for segment in self.segments)

    @property
    def n_passages(self) -> int:
        """Passages in all segments."""
        return sum(segment.n_passages for segment in self.segments)

    def counts(self) -> dict[str, int]:
        """Rows left out or defective in all segments, by reason."""
        total: dict[str, int] = {}
        for segment in self.segments:
            for reason, n in segment.counts.items():
                total[reason] = total.get(reason, 0) + n
        return total


def write_manifest(layout: Layout, manifest: Manifest) -> None:
    """Commit: make `manifest` the state of the index, atomically and durably."""
    body = _to_json(manifest)
    content = {**body, "digest": digest_of(body)}
    replace_file(layout.manifest, (json.dumps(content, indent=1) + "\n").encode())


def read_manifest(layout: Layout) -> Manifest:
    """The committed state of an index.

    Raises:
        IndexNotFoundError: there is no index.
        IndexFormatError: the manifest is damaged, or of a format this version cannot read.
    """
    try:
        raw = layout.manifest.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise IndexNotFoundError(
            f"There is no index at {layout.root}.", "Build one with: embedder index SOURCES"
        ) from None
    except OSError as error:
        raise IndexFormatError(f"{layout.manifest} cannot be read: {error.strerror}.") from error
    repair = "Build the index again, or restore the file from a copy."
    try:
        content = json.loads(raw)
        found = content["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IndexFormatError(f"{layout.manifest} is damaged: {error}.", repair) from error
    if found != FORMAT:
        raise IndexFormatError(
            f"{layout.root} is an index of format {found}, and this version reads format {FORMAT}.",
            "Update embedder, or build the index again.",
        )
    digest = content.pop("digest", None)
    try:
        is_whole = digest_of(content) == digest
    except (UnicodeError, RecursionError):  # a lone surrogate, say, which we never write
        is_whole = False
    if not is_whole:
        raise IndexFormatError(f"{layout.manifest} is damaged: its digest is wrong.", repair)
    try:
        return _from_json(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexFormatError(f"{layout.manifest} is damaged: {error!r}.", repair) from error


def check_index_files(layout: Layout, manifest: Manifest, *, with_digests: bool = False) -> None:
    """Raise IndexFormatError unless every file that the manifest names is there, of its size.

    With `with_digests` the files are read and must have their digests too.
    """
    for segment in manifest.segments:
        check_files(layout.segment(segment.id), segment.files, with_digests=with_digests)
    if manifest.generation is not None:
        folder = layout.generation(manifest.generation.id)
        check_files(folder, manifest.generation.files, with_digests=with_digests)
    if manifest.calibration is not None:
        records = {layout.calibration.name: manifest.calibration}
        check_files(layout.root, records, with_digests=with_digests)


def _to_json(manifest: Manifest) -> dict[str, Any]:
    generation = manifest.generation
    return {
        "format": manifest.format,
        "encoder": manifest.encoder.to_json(),
        "fingerprint": manifest.encoder.fingerprint,
        "engine": manifest.engine,
        "columns": {"text": manifest.text, "id": manifest.id, "metadata": list(manifest.metadata)},
        "chunking": manifest.chunking.to_json(),
        "sources": [vars(source) for source in manifest.sources],
        "n_duplicate_ids": manifest.n_duplicate_ids,
        "calibration": manifest.calibration and manifest.calibration.to_json(),
        "generation": generation
        and {
            **vars(generation),
            "segments": list(generation.segments),
            "sizes": list(generation.sizes),
            "files": _files(generation.files),
        },
        "segments": [{**vars(s), "files": _files(s.files)} for s in manifest.segments],
    }


def _files(records: dict[str, FileRecord]) -> dict[str, Any]:
    return {name: record.to_json() for name, record in records.items()}


def _from_json(content: dict[str, Any]) -> Manifest:
    generation, calibration = content["generation"], content["calibration"]
    return Manifest(
        format=content["format"],
        encoder=EncoderSpec.from_json(content["encoder"]),
        engine=content["engine"],
        text=content["columns"]["text"],
        id=content["columns"]["id"],
        metadata=tuple(content["columns"]["metadata"]),
        chunking=ChunkSpec.from_json(content["chunking"]),
        sources=tuple(SourceRecord(**source) for source in content["sources"]),
        n_duplicate_ids=content["n_duplicate_ids"],
        calibration=calibration and FileRecord.from_json(calibration),
        generation=generation
        and GenerationRecord(
            **{
                **generation,
                "segments": tuple(generation["segments"]),
                "sizes": tuple(generation["sizes"]),
                "files": _read_files(generation["files"]),
            }
        ),
        segments=tuple(
            SegmentRecord(**{**s, "files": _read_files(s["files"])}) for s in content["segments"]
        ),
    )


def _read_files(values: dict[str, Any]) -> dict[str, FileRecord]:
    return {name: FileRecord.from_json(record) for name, record in values.items()}
