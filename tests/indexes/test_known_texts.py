"""Known texts: a dictionary from content hash to place, in a few bytes each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedder.records import TextHashes, hash_texts
from indexes.known_texts import ROW_BITS, KnownTexts, place, unpack

BATCHES = st.lists(st.lists(st.integers(0, 60), max_size=30), max_size=12)


def colliding(numbers: list[int]) -> TextHashes:
    """Hashes of which several share their first half and none both."""
    return np.array([[n % 7, n] for n in numbers], dtype=np.uint64).reshape(-1, 2)


@given(BATCHES)
def test_agrees_with_a_dictionary(batches: list[list[int]]) -> None:
    """Whatever is added in whatever batches, a text is found where a dictionary has it."""
    known, wanted = KnownTexts(), dict[int, int]()
    for batch in batches:
        hashes = hash_texts([f"text {n}" for n in batch])
        expected = [wanted.get(n, -1) for n in batch]
        assert known.find(hashes).tolist() == expected
        new = {n: i for i, n in enumerate(batch) if n not in wanted}
        at = list(new.values())
        places = np.array([len(wanted) + i for i in range(len(new))], dtype=np.int64)
        known.add(hashes[at], places)
        wanted |= dict(zip(new, places.tolist(), strict=True))
        assert len(known) == len(wanted)


@given(BATCHES)
def test_half_a_hash_is_never_enough(batches: list[list[int]]) -> None:
    """A text whose hash agrees in one half only with a known one is never taken for it."""
    known, wanted = KnownTexts(), dict[int, int]()
    for batch in batches:
        found = known.find(colliding(batch))
        for number, where in zip(batch, found.tolist(), strict=True):
            assert where in (-1, wanted.get(number, -1))
        new = sorted(set(batch) - set(wanted))
        known.add(colliding(new), np.array(new, dtype=np.int64))
        wanted |= {n: n for n in new}


@given(st.lists(st.tuples(st.integers(0, 2**28), st.integers(0, 2**ROW_BITS - 1))))
def test_a_place_unpacks_to_what_was_packed(pairs: list[tuple[int, int]]) -> None:
    """Segment number and row survive being packed into one integer that is not negative."""
    places = np.array([place(segment, row) for segment, row in pairs], dtype=np.int64)
    assert (places >= 0).all()
    segments, rows = unpack(places)
    assert list(zip(segments.tolist(), rows.tolist(), strict=True)) == pairs


def test_few_runs_are_kept() -> None:
    """A thousand additions of one text leave logarithmically many runs."""
    known = KnownTexts()
    for n in range(1000):
        known.add(hash_texts([str(n)]), np.array([n]))
    assert len(known._runs) <= 11
    assert known.find(hash_texts([str(n) for n in range(1000)])).tolist() == list(range(1000))
