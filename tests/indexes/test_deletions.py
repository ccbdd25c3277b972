"""Deletions: what is deleted is remembered exactly, in files that are never written over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import commit, unit_rows, write_segment

from embedder.errors import IndexFormatError
from indexes.deletions import (
    HashSet,
    delete_documents,
    document_keys,
    live_documents,
    read_deleted,
    read_excluded,
    set_deleted,
    write_excluded,
)
from indexes.documents import passage_documents
from indexes.layout import Layout
from indexes.manifest import SegmentRecord


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An index folder that is there and empty."""
    (tmp_path / "an.index").mkdir()
    return Layout(tmp_path / "an.index")


@pytest.fixture
def segment(layout: Layout) -> SegmentRecord:
    """Five documents with 2, 1, 3, 1 and 1 passages."""
    return write_segment(layout, "s", unit_rows(8), passages_each=[2, 1, 3, 1, 1])


def delete(layout: Layout, segment: SegmentRecord, *numbers: int) -> SegmentRecord:
    """The segment without some documents more."""
    documents = passage_documents(layout, segment)
    return delete_documents(layout, segment, np.array(numbers, dtype=np.int64), documents)


def test_deleting_adds_up(layout: Layout, segment: SegmentRecord) -> None:
    """Documents deleted one after another are all deleted, each counted once."""
    once = delete(layout, segment, 2)
    twice = delete(layout, once, 0, 2)
    assert read_deleted(layout, twice).tolist() == [0, 2]
    assert (twice.n_live_documents, twice.n_live_passages) == (3, 3)
    assert (once.n_live_documents, once.n_live_passages) == (4, 5)
    assert read_deleted(layout, once).tolist() == [2]


def test_setting_replaces(layout: Layout, segment: SegmentRecord) -> None:
    """Setting the deleted documents forgets earlier ones; setting none leaves no deletion."""
    documents = passage_documents(layout, segment)
    once = set_deleted(layout, delete(layout, segment, 2), np.array([4]), documents)
    assert read_deleted(layout, once).tolist() == [4]
    none = set_deleted(layout, once, np.empty(0, dtype=np.int64), documents)
    assert none == segment


def test_live_documents_count_over_all_segments(layout: Layout, segment: SegmentRecord) -> None:
    """The mask runs over all segments in order, and there is none when nothing is deleted."""
    other = write_segment(layout, "t", unit_rows(3))
    whole = commit(layout, [segment, other])
    assert live_documents(layout, whole) is None
    manifest = commit(layout, [segment, delete(layout, other, 1)])
    live = live_documents(layout, manifest)
    assert live is not None
    assert np.flatnonzero(~live).tolist() == [6]
    assert len(live) == 8


@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_a_damaged_deletion_is_refused(layout: Layout, segment: SegmentRecord, how: str) -> None:
    """What says which documents are deleted is compared with its digest at every reading."""
    deleted = delete(layout, segment, 1, 3)
    assert deleted.deletion is not None
    path = layout.deleted / deleted.deletion.name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if how == "remove":
        path.unlink()
    else:
        path.write_bytes(content if how == "flip" else content[:-1])
    with pytest.raises(IndexFormatError, match="which documents are deleted"):
        read_deleted(layout, deleted)


def test_excluded_round_trip(layout: Layout) -> None:
    """Documents that stay out are read as they were written, whatever their order."""
    keys = document_keys(["a", "b", "c"], ["x", "y", "z"])
    written = write_excluded(layout, HashSet(keys))
    assert written == write_excluded(layout, HashSet(keys[::-1]))
    manifest = commit(layout, [], excluded=written)
    found = read_excluded(layout, manifest)
    others = document_keys(["a", "b", "d"], ["x", "x", "z"])
    assert found.holds(keys).all()
    assert found.holds(others).tolist() == [True, False, False]
    assert write_excluded(layout, HashSet(keys[:0])) is None


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1),
)
def test_a_hash_set_is_a_set(members: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    """It holds exactly its members, also those that share their first half."""
    found = HashSet(np.array(members, dtype=np.uint64).reshape(-1, 2))
    answer = found.holds(np.array(asked, dtype=np.uint64))
    assert answer.tolist() == [pair in set(members) for pair in asked]
    assert len(found) == len(set(members))
