"""Which FAISS structures an index needs, as it grows and shrinks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from indexes.generations import plan_generations
from indexes.manifest import GenerationRecord, SegmentRecord


def segment(name: str, n_passages: int) -> SegmentRecord:
    """A segment of so many passages."""
    return SegmentRecord(
        id=name,
        shards=(),
        n_documents=n_passages,
        n_passages=n_passages,
        files={},
    )


def generation(*segments: SegmentRecord) -> GenerationRecord:
    """A structure over some segments."""
    return GenerationRecord(
        id="+".join(s.id for s in segments),
        structure="",
        segments=tuple(s.id for s in segments),
        sizes=tuple(s.n_passages for s in segments),
        n_lists=0,
        efforts=(),
        memory=0,
        latency_ms=None,
        files={},
    )


def names(plan: Sequence[GenerationRecord | list[SegmentRecord]]) -> list[str]:
    """A plan in short: a structure that stays by its id, one to build in brackets."""
    return [
        item.id if isinstance(item, GenerationRecord) else f"[{'+'.join(s.id for s in item)}]"
        for item in plan
    ]


A, B, C, D = segment("a", 1000), segment("b", 50), segment("c", 40), segment("d", 300)


@pytest.mark.parametrize(
    ("existing", "segments", "limit", "expected"),
    [
        ([], [], 0, []),
        ([], [A, B], 0, ["[a+b]"]),
        ([generation(A, B)], [A, B], 0, ["a+b"]),
        ([generation(A)], [A, B], 0, ["a", "[b]"]),
        ([generation(A), generation(B)], [A, B], 0, ["a", "b"]),
        ([generation(A), generation(B)], [A, B, C], 0, ["a", "[b+c]"]),
        ([generation(A), generation(B)], [A, C], 0, ["a", "[c]"]),
        ([generation(A), generation(B)], [A], 0, ["a"]),
        ([generation(A)], [A, D], 0, ["[a+d]"]),  # as much as a quarter is new
        ([generation(A, D)], [A], 0, ["a+d"]),  # less than a quarter is gone
        ([generation(A, D)], [D], 0, ["[d]"]),
        ([generation(A)], [A, B], 2000, ["[a+b]"]),  # small enough to be exact, and one
        ([generation(A, B)], [B, A], 2000, ["[b+a]"]),
    ],
)
def test_plans(
    existing: list[GenerationRecord], segments: list[SegmentRecord], limit: int, expected: list[str]
) -> None:
    """The main structure stays while it covers most; what is new gets a small one beside it."""
    assert names(plan_generations(existing, segments, exact_limit=limit)) == expected


def test_every_passage_is_covered_once() -> None:
    """Whatever stays and whatever is built, together they cover each live segment once."""
    segments = [segment(f"s{i}", 10 + i) for i in range(12)]
    existing: list[GenerationRecord] = []
    for n in range(1, len(segments) + 1):
        plan = plan_generations(existing, segments[:n], exact_limit=0)
        existing = [p if isinstance(p, GenerationRecord) else generation(*p) for p in plan]
        covered = [name for record in existing for name in record.segments]
        assert sorted(covered) == sorted(s.id for s in segments[:n])
        assert len(existing) <= 2
