"""`embedder info`: what an index holds, from its manifest and its files' sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from indexes.durable import FileRecord
from indexes.layout import VECTORS_FILE, Layout
from indexes.manifest import Manifest, check_index_files, read_manifest


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes on disk by kind."""

    vectors: int
    texts: int
    faiss: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.vectors + self.texts + self.faiss


@dataclass(frozen=True, kw_only=True)
class Description:
    """An index in numbers.

    Args:
        index: the index folder.
        manifest: its committed state.
        sizes: bytes on disk.
    """

    index: str
    manifest: Manifest
    sizes: Sizes

    @property
    def n_uncovered(self) -> int:
        """Passages that the FAISS structure does not hold yet; search scans them."""
        manifest = self.manifest
        covered = set(manifest.generation.segments) if manifest.generation else set()
        return sum(s.n_passages for s in manifest.segments if s.id not in covered)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        manifest, generation = self.manifest, self.manifest.generation
        return {
            "index": self.index,
            "format": manifest.format,
            "documents": manifest.n_documents,
            "passages": manifest.n_passages,
            "tokens": sum(segment.n_tokens for segment in manifest.segments),
            "segments": len(manifest.segments),
            "sources": [asdict(source) for source in manifest.sources],
            "columns": {"text": manifest.text, "id": manifest.id, "metadata": manifest.metadata},
            "encoder": {**manifest.encoder.to_json(), "engine": manifest.engine},
            "fingerprint": manifest.encoder.fingerprint,
            "chunking": manifest.chunking.to_json(),
            "faiss": generation
            and {
                "structure": generation.structure,
                "vectors": generation.n_vectors,
                "parameters": generation.parameters,
            },
            "passages_not_in_faiss": self.n_uncovered,
            "left_out_or_defective": manifest.counts(),
            "duplicate_ids": manifest.n_duplicate_ids,
            "windowed_documents": sum(segment.n_windowed for segment in manifest.segments),
            "truncated_documents": sum(segment.n_truncated for segment in manifest.segments),
            "bytes": {**asdict(self.sizes), "total": self.sizes.total},
        }


def describe_index(layout: Layout) -> Description:
    """What an index holds.

    Raises:
        IndexNotFoundError: no index there.
        IndexFormatError: the index is damaged or of another format.
    """
    manifest = read_manifest(layout)
    check_index_files(layout, manifest)
    files = [item for segment in manifest.segments for item in segment.files.items()]
    generation = manifest.generation
    sizes = Sizes(
        vectors=_total(record for name, record in files if name == VECTORS_FILE),
        texts=_total(record for name, record in files if name != VECTORS_FILE),
        faiss=_total(generation.files.values()) if generation else 0,
    )
    return Description(index=str(layout.root), manifest=manifest, sizes=sizes)


def _total(records: Iterable[FileRecord]) -> int:
    return sum(record.size for record in records)
