"""The manifest: the one file that changes, and names everything else with size and digest."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from embedder.errors import IndexFormatError, IndexNotFoundError
from embedder.specs import ChunkSpec, EncoderSpec, digest_of
from indexes.durable import FileRecord, check_files, replace_file
from indexes.layout import Layout

FORMAT = 2
HISTORY_LENGTH = 1000
"""Finished runs that the manifest remembers."""


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """The documents of one shard in a segment.

    Args:
        id: digest of (shard content identity, chunking, encoder fingerprint).
        first_document: number in the segment of the shard's first document.
        n_documents: its documents in the segment, those deleted since included.
        n_dropped: documents of the shard that compaction has left out.
    """

    id: str
    first_document: int
    n_documents: int
    n_dropped: int = 0


@dataclass(frozen=True, kw_only=True)
class DeletionRecord:
    """Which documents of a segment are deleted: a file of their numbers.

    Args:
        name: the file's name in the folder of deletions.
        file: its size and digest.
        n_documents: deleted documents.
        n_passages: their passages.
    """

    name: str
    file: FileRecord
    n_documents: int
    n_passages: int


@dataclass(frozen=True, kw_only=True)
class SegmentRecord:
    """One committed segment.

    Args:
        id: digest of what is in it; for the segment of one shard the shard's id.
        shards: the shards whose documents it holds, in their order; what none of them covers is
            deleted.
        n_documents: documents with a text, those deleted since included.
        n_passages: passages, each with a vector, those deleted since included.
        n_tokens: pieces of all passages.
        n_windowed: documents that became several passages.
        n_truncated: documents whose end was cut off.
        counts: rows left out or defective, by reason.
        files: the segment's files.
        deletion: what was deleted from it, None if nothing.
    """

    id: str
    shards: tuple[ShardRecord, ...]
    n_documents: int
    n_passages: int
    n_tokens: int
    n_windowed: int
    n_truncated: int
    counts: dict[str, int]
    files: dict[str, FileRecord]
    deletion: DeletionRecord | None = None

    @property
    def n_live_documents(self) -> int:
        """Documents that are not deleted."""
        return self.n_documents - (self.deletion.n_documents if self.deletion else 0)

    @property
    def n_live_passages(self) -> int:
        """Passages of documents that are not deleted."""
        return self.n_passages - (self.deletion.n_passages if self.deletion else 0)


class StructureKind(StrEnum):
    """Kinds of FAISS structures."""

    AUTO = "auto"
    FLAT = "flat"
    SQ8 = "sq8"
    HNSW = "hnsw"
    IVF_FP16 = "ivf-fp16"
    IVF_SQ8 = "ivf-sq8"
    IVF_PQ = "ivf-pq"
    IVF_RABITQ = "ivf-rabitq"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What the FAISS structure promises.

    Args:
        recall: least share of the 10 nearest passages that a search finds, on the average.
        memory: most bytes that building the structure may take, and that searching it may need.
        structure: the kind of structure, `auto` for the best that keeps the promise.
    """

    recall: float
    memory: int
    structure: StructureKind = StructureKind.AUTO


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How hard to search, for filters that leave a certain share of the passages.

    Args:
        share: share of the passages that may be returned; 1 without a filter.
        n_probe: lists that a query visits; in a graph, how many vectors it keeps in view.
        depth: candidates that are scored exactly, for each result wanted.
        recall: recall@10 measured with it.
    """

    share: float
    n_probe: int
    depth: int
    recall: float


@dataclass(frozen=True, kw_only=True)
class GenerationRecord:
    """One built FAISS structure.

    Args:
        id: digest of the segments, the structure and the contract.
        structure: what was built, as FAISS's factory names it.
        segments: ids of the segments it covers, in the order of its vectors.
        sizes: vectors of each of these segments.
        n_lists: inverted lists, 0 for a structure without.
        efforts: how to search it, from no filter to the most selective; none for an exact one.
        memory: bytes that it needs in memory.
        latency_ms: median time of one query when it was tuned, in milliseconds; None if it was
            not measured.
        files: its files.
    """

    id: str
    structure: str
    segments: tuple[str, ...]
    sizes: tuple[int, ...]
    n_lists: int
    efforts: tuple[Effort, ...]
    memory: int
    latency_ms: float | None
    files: dict[str, FileRecord]

    @property
    def n_vectors(self) -> int:
        """Vectors in the structure."""
        return sum(self.sizes)

    @property
    def recall(self) -> float:
        """Measured recall@10 without a filter; 1 for an exact structure."""
        return self.efforts[0].recall if self.efforts else 1.0


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """One Parquet file that was indexed, as it was named, with its rows and bytes."""

    name: str
    n_rows: int
    size: int | None


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One finished run that changed the index.

    Args:
        number: 1 for the first.
        at: when it finished, in seconds since 1970; the clock of that machine.
        command: what ran.
        n_added: documents added.
        n_removed: documents removed.
        n_documents: documents after it.
        n_segments: segments after it.
    """

    number: int
    at: int
    command: str
    n_added: int
    n_removed: int
    n_documents: int
    n_segments: int


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
        contract: what the FAISS structure promises.
        sources: what it follows.
        segments: its segments, in the order of the sources.
        n_settled: how many of the first segments the last finished run left; those after them
            were committed by a run that has not finished.
        generations: its FAISS structures, over different segments.
        n_duplicate_ids: documents whose id an earlier document has.
        calibration: the file of calibration texts, for int8.
        excluded: documents that were deleted and stay out even if the sources hold them: name
            and record of the file of their digests.
        history: the finished runs, oldest first.
    """

    encoder: EncoderSpec
    engine: str
    text: str
    id: str | None
    metadata: tuple[str, ...]
    chunking: ChunkSpec
    contract: Contract
    sources: tuple[SourceRecord, ...] = ()
    segments: tuple[SegmentRecord, ...] = ()
    n_settled: int = 0
    generations: tuple[GenerationRecord, ...] = ()
    n_duplicate_ids: int = 0
    calibration: FileRecord | None = None
    excluded: tuple[str, FileRecord] | None = None
    history: tuple[HistoryEntry, ...] = ()
    format: int = field(default=FORMAT)

    @property
    def n_documents(self) -> int:
        """Documents in all segments that are not deleted."""
        return sum(segment.n_live_documents for segment in self.segments)

    @property
    def n_passages(self) -> int:
        """Passages in all segments of documents that are not deleted."""
        return sum(segment.n_live_passages for segment in self.segments)

    @property
    def n_bytes(self) -> int:
        """Bytes of all files that it names."""
        records = [record for part in self.segments for record in part.files.values()]
        records += [record for part in self.generations for record in part.files.values()]
        records += [segment.deletion.file for segment in self.segments if segment.deletion]
        records += [self.excluded[1]] if self.excluded else []
        records += [self.calibration] if self.calibration else []
        return sum(record.size for record in records)

    def finished(self) -> Manifest:
        """The state that the last finished run left; while the first one runs, what it has done.

        Searching this, nobody sees a document twice because its row group changes just now.
        """
        if not self.n_settled:
            return self
        return replace(self, segments=self.segments[: self.n_settled])

    def counts(self) -> dict[str, int]:
        """Rows left out or defective in all segments, by reason."""
        total: dict[str, int] = {}
        for segment in self.segments:
            for reason, n in segment.counts.items():
                total[reason] = total.get(reason, 0) + n
        return total

    def file_names(self) -> dict[str, set[str]]:
        """Names in use in each folder of the index: segments, generations and deletions."""
        deletions = {s.deletion.name for s in self.segments if s.deletion}
        return {
            "segments": {segment.id for segment in self.segments},
            "ann": {generation.id for generation in self.generations},
            "deleted": deletions | ({self.excluded[0]} if self.excluded else set()),
        }


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
    for folder, records in named_files(layout, manifest):
        check_files(folder, records, with_digests=with_digests)


def named_files(layout: Layout, manifest: Manifest) -> list[tuple[Any, dict[str, FileRecord]]]:
    """Every file that the manifest names, as folders with records by name."""
    found: list[tuple[Any, dict[str, FileRecord]]] = []
    for segment in manifest.segments:
        found.append((layout.segment(segment.id), segment.files))
        if segment.deletion:
            found.append((layout.deleted, {segment.deletion.name: segment.deletion.file}))
    for generation in manifest.generations:
        found.append((layout.generation(generation.id), generation.files))
    if manifest.excluded:
        found.append((layout.deleted, dict([manifest.excluded])))
    if manifest.calibration:
        found.append((layout.root, {layout.calibration.name: manifest.calibration}))
    return found


def _to_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": manifest.format,
        "encoder": manifest.encoder.to_json(),
        "fingerprint": manifest.encoder.fingerprint,
        "engine": manifest.engine,
        "columns": {"text": manifest.text, "id": manifest.id, "metadata": list(manifest.metadata)},
        "chunking": manifest.chunking.to_json(),
        "contract": vars(manifest.contract),
        "sources": [vars(source) for source in manifest.sources],
        "n_duplicate_ids": manifest.n_duplicate_ids,
        "n_settled": manifest.n_settled,
        "calibration": manifest.calibration and manifest.calibration.to_json(),
        "excluded": manifest.excluded
        and {"name": manifest.excluded[0], "file": manifest.excluded[1].to_json()},
        "history": [vars(entry) for entry in manifest.history],
        "generations": [
            {
                **vars(generation),
                "segments": list(generation.segments),
                "sizes": list(generation.sizes),
                "efforts": [vars(effort) for effort in generation.efforts],
                "files": _files(generation.files),
            }
            for generation in manifest.generations
        ],
        "segments": [
            {
                **vars(segment),
                "shards": [vars(shard) for shard in segment.shards],
                "files": _files(segment.files),
                "deletion": segment.deletion
                and {**vars(segment.deletion), "file": segment.deletion.file.to_json()},
            }
            for segment in manifest.segments
        ],
    }


def _files(records: dict[str, FileRecord]) -> dict[str, Any]:
    return {name: record.to_json() for name, record in records.items()}


def _from_json(content: dict[str, Any]) -> Manifest:
    calibration, excluded = content["calibration"], content["excluded"]
    return Manifest(
        format=content["format"],
        encoder=EncoderSpec.from_json(content["encoder"]),
        engine=content["engine"],
        text=content["columns"]["text"],
        id=content["columns"]["id"],
        metadata=tuple(content["columns"]["metadata"]),
        chunking=ChunkSpec.from_json(content["chunking"]),
        contract=_contract(content["contract"]),
        sources=tuple(SourceRecord(**source) for source in content["sources"]),
        n_duplicate_ids=content["n_duplicate_ids"],
        n_settled=content["n_settled"],
        calibration=calibration and FileRecord.from_json(calibration),
        excluded=excluded and (excluded["name"], FileRecord.from_json(excluded["file"])),
        history=tuple(HistoryEntry(**entry) for entry in content["history"]),
        generations=tuple(_generation(values) for values in content["generations"]),
        segments=tuple(_segment(values) for values in content["segments"]),
    )


def _contract(values: dict[str, Any]) -> Contract:
    return Contract(**{**values, "structure": StructureKind(values["structure"])})


def _generation(values: dict[str, Any]) -> GenerationRecord:
    lists = {
        "segments": tuple(values["segments"]),
        "sizes": tuple(values["sizes"]),
        "efforts": tuple(Effort(**effort) for effort in values["efforts"]),
        "files": _read_files(values["files"]),
    }
    return GenerationRecord(**{**values, **lists})


def _segment(values: dict[str, Any]) -> SegmentRecord:
    deletion = values["deletion"]
    parts = {
        "shards": tuple(ShardRecord(**shard) for shard in values["shards"]),
        "files": _read_files(values["files"]),
        "deletion": deletion
        and DeletionRecord(**{**deletion, "file": FileRecord.from_json(deletion["file"])}),
    }
    return SegmentRecord(**{**values, **parts})


def _read_files(values: dict[str, Any]) -> dict[str, FileRecord]:
    return {name: FileRecord.from_json(record) for name, record in values.items()}
