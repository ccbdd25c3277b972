"""Which FAISS structures an index needs: one over nearly everything, one over what is new."""

from __future__ import annotations

from collections.abc import Sequence

from indexes.manifest import GenerationRecord, SegmentRecord
from indexes.structures import EXACT_LIMIT

STALE_SHARE = 0.25
"""When so much of the main structure is gone, or as much is not in it, it is built anew."""


def plan_generations(
    existing: Sequence[GenerationRecord],
    segments: Sequence[SegmentRecord],
    *,
    exact_limit: int = EXACT_LIMIT,
) -> list[GenerationRecord | list[SegmentRecord]]:
    """The structures to have: those that stay as they are, and the segments of those to build.

    Up to `exact_limit` passages there is one, in the order of the segments. Beyond it the main
    structure stays while it covers most; what is new goes into a second, which is built anew by
    every run that adds something, and is small.

    Args:
        existing: structures that were built under the same contract and are whole.
        segments: all segments.
        exact_limit: most passages for which a structure is exact.
    """
    names = [segment.id for segment in segments]
    n_passages = sum(segment.n_passages for segment in segments)
    if not n_passages:
        return []
    for record in existing:
        if list(record.segments) == names:
            return [record]
    main = max(existing, key=lambda record: record.n_vectors, default=None)
    if main is None or n_passages <= exact_limit:
        return [list(segments)]
    covered = set(main.segments)
    fresh = [segment for segment in segments if segment.id not in covered]
    n_fresh = sum(segment.n_passages for segment in fresh)
    n_gone = main.n_vectors - (n_passages - n_fresh)
    if n_fresh + n_gone > STALE_SHARE * main.n_vectors:
        return [list(segments)]
    if not n_fresh:
        return [main]
    fresh_names = tuple(segment.id for segment in fresh)
    second = next((record for record in existing if record.segments == fresh_names), fresh)
    return [main, second]
