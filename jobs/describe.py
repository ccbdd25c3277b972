"""`embedder info`: what an index holds, from its manifest and its files' sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from indexes.durable import FileRecord
from indexes.layout import (
    DOCUMENTS_FILE,
    OCCURRENCE_FILES,
    PASSAGES_FILE,
    VECTORS_FILE,
    Layout,
)
from indexes.lock import hold_open
from indexes.manifest import GenerationRecord, Manifest
from indexes.manifest_file import check_index_files, read_manifest


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes on disk by kind."""

    vectors: int
    texts: int
    faiss: int
    senses: int
    deletions: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.vectors + self.texts + self.faiss + self.senses + self.deletions


@dataclass(frozen=True, kw_only=True)
class Description:
    """An index in numbers.

    Args:
        index: the index folder.
        manifest: the state that the last finished run left; what the first has done so far.
        sizes: bytes on disk, of a run that has not finished too.
        is_finished: whether the last run has finished.
    """

    index: str
    manifest: Manifest
    sizes: Sizes
    is_finished: bool

    @property
    def n_uncovered(self) -> int:
        """Passages that the FAISS structure does not hold yet; search scans them."""
        manifest = self.manifest
        covered = {name for record in manifest.generations for name in record.segments}
        return sum(s.n_passages for s in manifest.segments if s.id not in covered)

    @property
    def n_deleted(self) -> int:
        """Documents that are deleted and still take room."""
        return sum(s.n_documents - s.n_live_documents for s in self.manifest.segments)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        manifest = self.manifest
        return {
            "index": self.index,
            "format": manifest.format,
            "documents": manifest.n_documents,
            "passages": manifest.n_passages,
            "tokens": manifest.n_tokens,
            "segments": len(manifest.segments),
            "sources": [asdict(source) for source in manifest.sources],
            "columns": {"text": manifest.text, "id": manifest.id, "metadata": manifest.metadata},
            "encoder": {**manifest.encoder.to_json(), "engine": manifest.engine},
            "fingerprint": manifest.encoder.fingerprint,
            "chunking": manifest.chunking.to_json(),
            "contract": asdict(manifest.contract),
            "faiss": [_faiss(record) for record in manifest.generations],
            "passages_not_in_faiss": self.n_uncovered,
            "senses": _senses(manifest),
            "left_out_or_defective": manifest.counts(),
            "deleted_documents": self.n_deleted,
            "is_finished": self.is_finished,
            "duplicate_ids": manifest.n_duplicate_ids,
            "windowed_documents": manifest.n_windowed,
            "truncated_documents": manifest.n_truncated,
            "bytes": {**asdict(self.sizes), "total": self.sizes.total},
        }


def describe_index(layout: Layout) -> Description:
    """What an index holds.

    Raises:
        IndexNotFoundError: no index there.
        IndexFormatError: the index is damaged or of another format.
    """
    with hold_open(layout.readers):
        manifest = read_manifest(layout)
        check_index_files(layout, manifest)
    files = [item for segment in manifest.segments for item in segment.files.items()]
    deletions = [segment.deletion.file for segment in manifest.segments if segment.deletion]
    deletions += [manifest.excluded[1]] if manifest.excluded else []
    sizes = Sizes(
        vectors=_total(record for name, record in files if name == VECTORS_FILE),
        texts=_total(record for name, record in files if name in (DOCUMENTS_FILE, PASSAGES_FILE)),
        senses=_total(record for name, record in files if name in OCCURRENCE_FILES)
        + sum(_total(part.files.values()) for part in (manifest.basis, manifest.senses) if part),
        deletions=_total(deletions),
        faiss=sum(_total(record.files.values()) for record in manifest.generations),
    )
    return Description(
        index=str(layout.root),
        manifest=manifest.finished(),
        sizes=sizes,
        is_finished=manifest.is_finished,
    )


def _senses(manifest: Manifest) -> dict[str, Any] | None:
    if manifest.basis is None:
        return None
    senses = manifest.senses
    return {
        "uses_kept": sum(segment.n_occurrences for segment in manifest.segments),
        "most_uses_of_a_word": manifest.basis.cap,
        "components": manifest.basis.n_components,
        "words": senses.n_words if senses else 0,
        "senses": senses.n_senses if senses else 0,
        "uses_with_a_sense": senses.n_uses if senses else 0,
    }


def _faiss(record: GenerationRecord) -> dict[str, Any]:
    return {
        "structure": record.structure,
        "vectors": record.n_vectors,
        "recall": record.recall,
        "memory_bytes": record.memory,
        "latency_ms": record.latency_ms,
        "efforts": [asdict(effort) for effort in record.efforts],
    }


def _total(records: Iterable[FileRecord]) -> int:
    return sum(record.size for record in records)
