"""The manifest: the one file that changes, and names everything else with size and digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from embedder.specs import ChunkSpec, EncoderSpec
from indexes.durable import FileRecord

FORMAT = 6
HISTORY_LENGTH = 1000
"""Finished runs that the manifest remembers."""


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """The documents of one shard in a segment.

    Args:
        id: digest of (shard content identity, chunking, encoder fingerprint).
        first_document: number in the segment of the shard's first document.
        n_documents: its documents in the segment, those deleted since included.
        n_dropped: documents of the shard that compaction has left out, deleted on request.
        n_replaced: documents of it that compaction has left out because others replaced them.
        n_tokens: pieces of the passages of its documents in the segment.
        n_windowed: those of them that became several passages.
        n_truncated: documents of the shard whose end was cut off.
        counts: rows of the shard that were left out or are defective, by reason.
    """

    id: str
    first_document: int
    n_documents: int
    n_dropped: int = 0
    n_replaced: int = 0
    n_tokens: int = 0
    n_windowed: int = 0
    n_truncated: int = 0
    counts: dict[str, int] = field(default_factory=dict)


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
        n_occurrences: uses of words in them, each with a vector; 0 in an index without senses.
        files: the segment's files.
        deletion: what was deleted from it, None if nothing.
    """

    id: str
    shards: tuple[ShardRecord, ...]
    n_documents: int
    n_passages: int
    n_occurrences: int = 0
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

    @property
    def n_tokens(self) -> int:
        """Pieces of the passages of all its shards."""
        return sum(shard.n_tokens for shard in self.shards)


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
class SenseBasis:
    """What the vectors of occurrences rest on, found once, from a sample of the first sources.

    Args:
        id: digest of its files and of the cap.
        cap: most occurrences of a word that are kept.
        n_components: components of an occurrence's vector.
        files: the function words, and the projection.
    """

    id: str
    cap: int
    n_components: int
    files: dict[str, FileRecord]


@dataclass(frozen=True, kw_only=True)
class SenseRecord:
    """One built sense inventory.

    Args:
        id: digest of the segments and of the inventory before it.
        segments: the segments that it covers: id, and name of the deletion if there is one.
        n_words: words with senses.
        n_senses: their senses.
        n_uses: occurrences that carry a sense.
        files: its files.
    """

    id: str
    segments: tuple[tuple[str, str], ...]
    n_words: int
    n_senses: int
    n_uses: int
    files: dict[str, FileRecord]


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """One Parquet file that was indexed.

    Args:
        name: as it was named.
        identity: its file system and path there, which is relative to the folder that the index
            lies in where it lies there too.
        label: what stands for it in ids of documents that have none.
        n_rows: its rows.
        size: its bytes.
    """

    name: str
    identity: str
    label: str
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
        has_all_columns: whether they are all that there were, and not those that were asked for.
        chunking: how documents became passages.
        contract: what the FAISS structure promises.
        sources: what it follows.
        segments: its segments, in the order of the sources.
        n_settled: how many of the first segments the last finished run left; those after them
            were committed by a run that has not finished.
        generations: its FAISS structures, over different segments.
        basis: what the vectors of occurrences rest on, None for an index without senses.
        senses: its sense inventory.
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
    basis: SenseBasis | None = None
    senses: SenseRecord | None = None
    n_duplicate_ids: int = 0
    has_all_columns: bool = True
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
        for sense_part in (self.basis, self.senses):
            records += sense_part.files.values() if sense_part else []
        records += [segment.deletion.file for segment in self.segments if segment.deletion]
        records += [self.excluded[1]] if self.excluded else []
        records += [self.calibration] if self.calibration else []
        return sum(record.size for record in records)

    @property
    def is_finished(self) -> bool:
        """Whether the last run has finished, and there was one."""
        return 0 < self.n_settled == len(self.segments)

    def finished(self) -> Manifest:
        """The state that the last finished run left; while the first one runs, what it has done.

        Searching this, nobody sees a document twice because its row group changes just now.
        """
        if not self.n_settled:
            return self
        return replace(self, segments=self.segments[: self.n_settled])

    @property
    def n_tokens(self) -> int:
        """Pieces of the passages of all shards."""
        return sum(segment.n_tokens for segment in self.segments)

    @property
    def n_windowed(self) -> int:
        """Documents that became several passages."""
        return sum(shard.n_windowed for shard in self._shards())

    @property
    def n_truncated(self) -> int:
        """Documents whose end was cut off."""
        return sum(shard.n_truncated for shard in self._shards())

    def counts(self) -> dict[str, int]:
        """Rows of all shards that were left out or are defective, by reason."""
        total: Counter[str] = Counter()
        for shard in self._shards():
            total.update(shard.counts)
        return dict(total)

    def _shards(self) -> Iterator[ShardRecord]:
        return (shard for segment in self.segments for shard in segment.shards)

    def file_names(self) -> dict[str, set[str]]:
        """Names in use in each folder of the index: segments, generations and deletions."""
        deletions = {s.deletion.name for s in self.segments if s.deletion}
        return {
            "segments": {segment.id for segment in self.segments},
            "ann": {generation.id for generation in self.generations},
            "senses": {part.id for part in (self.basis, self.senses) if part},
            "deleted": deletions | ({self.excluded[0]} if self.excluded else set()),
        }
