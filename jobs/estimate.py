"""`embedder index --dry-run`: what a build would do and cost, from a sample; writes nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from embedder.cache import leave_cache_alone
from embedder.corpus import Shard
from embedder.function_words import find_function_words
from embedder.passages import Cut, cut_documents
from embedder.projection import Projection, fit_projection
from embedder.records import OCCURRENCE, hash_texts
from embedder.specs import Overflow, TextKind
from embedder.word_uses import PassageWords, WordFinder, encode_words
from indexes.deletions import HashSet, read_excluded
from indexes.lock import hold_open
from indexes.manifest import SegmentRecord
from indexes.sense_inventory import USE
from indexes.structures import choose_structures
from jobs.changes import compare, shard_ids
from jobs.plan import BuildOptions, Plan, draw_texts, plan_build, sample_texts
from jobs.sense_basis import N_COMPONENTS
from jobs.settle import lacking_shards
from jobs.sink import known_texts

SAMPLE_TEXTS = 400
ZSTD_SHARE = 0.5
"""Bytes of compressed text for a byte of text, as seen on English prose."""

PASSAGE_BYTES = 24
USE_BYTES = OCCURRENCE.itemsize + USE.itemsize + 7
"""Bytes of a use of a word beside its code: its record, its sense, and its share of the words, as
seen on English prose in row groups of 500 paragraphs; in larger ones the share is less."""


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
        n_occurrences: uses of words that would be kept, if no word has more than are kept of one.
        share_windowed: share of documents that would become several passages.
        share_truncated: share of documents that would be cut.
        tokens_per_second: measured on the sample.
        n_rows_missing: rows of row groups that the index does not hold yet.
        share_known: share of their passages whose text the index has a vector for, in a sample.
        n_gone: documents of row groups that the sources do not hold any more as they were; those
            that are in a new row group too are kept.
        seconds: time to encode what is missing and not known.
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
    n_occurrences: int
    share_windowed: float
    share_truncated: float
    tokens_per_second: float
    n_rows_missing: int
    share_known: float
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
        with hold_open(plan.layout.readers):
            return _scale_up(plan, sample_texts(plan.corpus, plan.shards, SAMPLE_TEXTS), options)


def _scale_up(plan: Plan, texts: Sequence[str], options: BuildOptions) -> Estimate:
    encoder = plan.encoder
    cut = _cut(plan, texts)
    pieces = [passage.pieces for passage in cut.passages]
    encoder.encode_pieces(pieces[:8])  # the first batch pays for the engine's start
    words, projection = _words(plan, texts, cut)
    started = time.perf_counter()
    for indices, _, encoded in encoder.encode_batches(pieces, with_states=bool(words)):
        if encoded.states is not None:
            encode_words(encoded.states, [words[number] for number in indices], projection)
    seconds = time.perf_counter() - started
    n_documents = sum(shard.n_rows for shard in plan.shards)
    segments = list(plan.before.segments) if plan.before else []
    ids = shard_ids(plan) if segments else [""] * len(plan.shards)
    if plan.before is not None:
        before = replace(plan.before, excluded=None) if options.undelete else plan.before
        excluded = read_excluded(plan.layout, before)
        segments = [_kept(segment, set(ids), excluded) for segment in segments]
    changes = compare(plan.shards, ids, segments, keeps_gone=options.add)
    share_known = _share_known(plan, segments, [plan.shards[i] for i in changes.missing])
    factor = n_documents / len(texts)
    n_passages, n_tokens = round(len(pieces) * factor), round(sum(map(len, pieces)) * factor)
    width = encoder.encoder.spec.width
    structure = choose_structures(
        n_passages, width, plan.contract, exact_limit=options.exact_limit
    )[0]
    row_bytes = 4 * width + PASSAGE_BYTES
    n_occurrences = round(sum(len(found.records) for found in words) * factor)
    text_bytes = sum(len(text.encode()) for text in texts) * factor
    return Estimate(
        index=str(plan.layout.root),
        text=plan.corpus.columns.text,
        id=plan.corpus.columns.id,
        metadata=plan.corpus.columns.metadata,
        n_documents=n_documents,
        n_passages=n_passages,
        n_tokens=n_tokens,
        n_occurrences=n_occurrences,
        share_windowed=cut.n_windowed / len(texts) if _windows(plan) else 0.0,
        share_truncated=cut.n_truncated / len(texts),
        tokens_per_second=sum(map(len, pieces)) / seconds,
        n_rows_missing=changes.n_rows_missing,
        share_known=share_known,
        n_gone=changes.n_gone,
        seconds=seconds * changes.n_rows_missing * (1 - share_known) / len(texts),
        disk_bytes=round(n_passages * row_bytes + text_bytes * ZSTD_SHARE)
        + n_occurrences * (USE_BYTES + projection.n_components),
        memory_bytes=_peak_memory() + structure.building_bytes(n_passages),
        engine=encoder.encoder.description,
        structure=structure.name,
    )


def _words(plan: Plan, texts: Sequence[str], cut: Cut) -> tuple[list[PassageWords], Projection]:
    """The words of a sample's passages, none for an index without; and a projection as good as
    any, which makes their codes as long and takes as much time as the one that a build would fit.
    """
    projection = fit_projection(np.empty((0, plan.encoder.encoder.spec.width), "f4"), N_COMPONENTS)
    if not plan.most_uses:
        return [], projection
    finder = WordFinder(find_function_words(texts))
    passages = [texts[p.document][p.start : p.end] for p in cut.passages]
    return finder.find(passages, hash_texts(passages), plan.encoder), projection


def _kept(segment: SegmentRecord, ids: Collection[str], excluded: HashSet) -> SegmentRecord:
    """A segment without the shards that a build would read again."""
    lacking = lacking_shards(segment, ids, excluded)
    return replace(segment, shards=tuple(s for s in segment.shards if s.id not in lacking))


def _share_known(plan: Plan, segments: Sequence[SegmentRecord], missing: Sequence[Shard]) -> float:
    """Share of the passages of missing shards that need not be encoded, from a sample."""
    texts = draw_texts(plan.corpus, missing, SAMPLE_TEXTS) if segments else []
    if not texts:
        return 0.0
    passages = _cut(plan, texts).passages
    hashes = hash_texts([texts[p.document][p.start : p.end] for p in passages])
    return float((known_texts(plan.layout, segments).find(hashes) >= 0).mean())


def _cut(plan: Plan, texts: Sequence[str]) -> Cut:
    return cut_documents(
        texts,
        plan.encoder.tokenizer,
        plan.chunking,
        prompt=plan.encoder.prompt(TextKind.PASSAGE),
        ids=[str(i) for i in range(len(texts))],
    )


def _windows(plan: Plan) -> bool:
    return plan.chunking.overflow is Overflow.WINDOW


def _peak_memory() -> int:
    """Peak resident memory of this process so far, bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
