"""`embedder index --dry-run`: what a build would do and cost, from a sample; writes nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from embedder.cache import leave_cache_alone
from embedder.passages import cut_documents
from embedder.specs import Overflow, TextKind
from indexes.structures import choose_structures
from jobs.changes import compare, shard_ids
from jobs.plan import BuildOptions, Plan, plan_build, sample_texts

SAMPLE_TEXTS = 400
ZSTD_SHARE = 0.5
"""Bytes of compressed text for a byte of text, as seen on English prose."""

PASSAGE_BYTES = 24


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a build would do.

    Args:
        index: the index folder.
        text: the text column.
        id: the id column.
        metadata: the metadata columns.
        n_documents: rows to index.
        n_passages: passages they would become.
        n_tokens: tokens to encode.
        share_windowed: share of documents that would become several passages.
        share_truncated: share of documents that would be cut.
        tokens_per_second: measured on the sample.
        n_rows_missing: rows that the index does not hold yet.
        n_gone: documents in the index that the sources do not hold.
        seconds: time to encode the rows that are missing.
        disk_bytes: size of the index.
        memory_bytes: peak resident memory.
        engine: what would compute the vectors.
        structure: the FAISS structure.
    """

    index: str
    text: str
    id: str | None
    metadata: tuple[str, ...]
    n_documents: int
    n_passages: int
    n_tokens: int
    share_windowed: float
    share_truncated: float
    tokens_per_second: float
    n_rows_missing: int
    n_gone: int
    seconds: float
    disk_bytes: int
    memory_bytes: int
    engine: str
    structure: str

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


def estimate_build(options: BuildOptions) -> Estimate:
    """Plan a build, encode a sample of its documents, and scale up.

    Raises:
        EmbedderError: whatever the build itself would find wrong before it starts.
    """
    with leave_cache_alone():
        plan = plan_build(options)
        return _scale_up(plan, sample_texts(plan.corpus, plan.shards, SAMPLE_TEXTS), options)


def _scale_up(plan: Plan, texts: Sequence[str], options: BuildOptions) -> Estimate:
    encoder = plan.encoder
    cut = cut_documents(
        texts,
        encoder.tokenizer,
        plan.chunking,
        prompt=encoder.prompt(TextKind.PASSAGE),
        ids=[str(i) for i in range(len(texts))],
    )
    pieces = [passage.pieces for passage in cut.passages]
    encoder.encode_pieces(pieces[:8])  # the first batch pays for the engine's start
    started = time.perf_counter()
    encoder.encode_pieces(pieces)
    seconds = time.perf_counter() - started
    n_documents = sum(shard.n_rows for shard in plan.shards)
    segments = plan.before.segments if plan.before else ()
    ids = shard_ids(plan) if segments else [""] * len(plan.shards)
    changes = compare(plan.shards, ids, segments, keeps_gone=options.add)
    factor = n_documents / len(texts)
    n_passages, n_tokens = round(len(pieces) * factor), round(sum(map(len, pieces)) * factor)
    width = encoder.encoder.spec.width
    structure = choose_structures(
        n_passages, width, plan.contract, exact_limit=options.exact_limit
    )[0]
    row_bytes = 4 * width + PASSAGE_BYTES
    text_bytes = sum(len(text.encode()) for text in texts) * factor
    return Estimate(
        index=str(plan.layout.root),
        text=plan.corpus.columns.text,
        id=plan.corpus.columns.id,
        metadata=plan.corpus.columns.metadata,
        n_documents=n_documents,
        n_passages=n_passages,
        n_tokens=n_tokens,
        share_windowed=cut.n_windowed / len(texts) if _windows(plan) else 0.0,
        share_truncated=cut.n_truncated / len(texts),
        tokens_per_second=sum(map(len, pieces)) / seconds,
        n_rows_missing=changes.n_rows_missing,
        n_gone=changes.n_gone,
        seconds=seconds * changes.n_rows_missing / len(texts),
        disk_bytes=round(n_passages * row_bytes + text_bytes * ZSTD_SHARE),
        memory_bytes=_peak_memory() + structure.building_bytes(n_passages),
        engine=encoder.encoder.description,
        structure=structure.name,
    )


def _windows(plan: Plan) -> bool:
    return plan.chunking.overflow is Overflow.WINDOW


def _peak_memory() -> int:
    """Peak resident memory of this process so far, bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
