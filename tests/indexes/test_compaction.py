"""Compaction: the live documents as they were, in fewer segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from synthetic import make_basis, unit_rows, write_segment

from embedder.records import hash_text
from indexes import compaction
from indexes.compaction import merge_segments, plan_compaction
from indexes.deletions import HashSet, delete_documents, read_keys
from indexes.documents import passage_documents, read_documents, read_passages
from indexes.layout import Layout
from indexes.manifest import SegmentRecord, SenseBasis
from indexes.occurrences import read_forms
from indexes.segment_check import SegmentCheck
from indexes.segments import open_vectors
from indexes.sense_uses import count_uses
from indexes.word_uses import CodeReader, iterate_words

NO_DOCUMENTS = HashSet(np.empty((0, 2), dtype=np.uint64))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An index folder that is there and empty."""
    (tmp_path / "an.index").mkdir()
    return Layout(tmp_path / "an.index")


def delete(layout: Layout, segment: SegmentRecord, *numbers: int) -> SegmentRecord:
    """The segment without some documents."""
    documents = passage_documents(layout, segment)
    return delete_documents(layout, segment, np.array(numbers, dtype=np.int64), documents)


def contents(layout: Layout, segment: SegmentRecord) -> list[tuple[object, ...]]:
    """Every document of a segment with its text, metadata, and passages with their vectors."""
    tables = [table.drop_columns(["__row"]) for table in read_documents(layout, segment)]
    documents = pa.concat_tables(tables).to_pylist()
    passages = read_passages(layout, segment)
    vectors = np.asarray(open_vectors(layout, segment, 16))
    found = []
    for number, document in enumerate(documents):
        own = passages.document == number
        spans = zip(
            passages.start[own], passages.end[own], passages.hashes[own].tolist(), strict=True
        )
        found.append((*document.values(), list(spans), vectors[own].tolist()))
    return found


def test_merged_segments_hold_what_is_live(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merged segment has the live documents of its parts, in order, to the last bit."""
    monkeypatch.setattr("indexes.documents.BATCH_ROWS", 3)  # so that batches end within segments
    first = write_segment(layout, "s", unit_rows(14), passages_each=[2, 1, 3, 1, 1, 4, 2])
    second = write_segment(layout, "t", unit_rows(5, seed=1))
    parts = contents(layout, first), contents(layout, second)
    merged = merge_segments(layout, [delete(layout, first, 0, 3, 4), second], 16, NO_DOCUMENTS)
    expected = [parts[0][i] for i in (1, 2, 5, 6)] + parts[1]
    assert contents(layout, merged) == expected
    assert (merged.n_documents, merged.n_passages, merged.deletion) == (9, 15, None)


def uses(layout: Layout, segments: list[SegmentRecord], cap: int) -> dict[str, list[object]]:
    """The uses of each word in documents that are not deleted: id, place, and code of each."""
    forms = {k: v for segment in segments for k, v in read_forms(layout, segment).items()}
    ids = []
    for segment in segments:
        own = [n for t in read_documents(layout, segment) for n in t["__id"].to_pylist()]
        ids.append([own[number] for number in read_passages(layout, segment).document])
    reader, found = CodeReader(layout, segments, 8), {}
    for word in iterate_words(layout, segments, least=1, cap=cap):
        codes = reader.read(word.segments, word.rows).tolist()
        rows = zip(word.segments.tolist(), word.rows.tolist(), strict=True)
        starts = [int(reader.open(number).records["start"][row]) for number, row in rows]
        passages = zip(word.segments.tolist(), word.passages.tolist(), strict=True)
        names = [ids[number][passage] for number, passage in passages]
        found[forms[word.word]] = list(zip(names, starts, codes, strict=True))
    return found


def two_segments(layout: Layout, basis: SenseBasis) -> list[SegmentRecord]:
    """Segments of 40 documents each, with words in common."""
    return [
        write_segment(
            layout,
            name,
            unit_rows(40, seed=seed),
            texts=[f"word{i % 7} of the {name} bank number {i}" for i in range(40)],
            basis=basis,
        )
        for seed, name in enumerate(["river", "city"])
    ]


@pytest.mark.parametrize("deleted", [(), (0, 5, 33)])
@pytest.mark.parametrize("cap", [9, 1000])
def test_uses_of_words_stay(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, deleted: tuple[int, ...], cap: int
) -> None:
    """The uses of every word in live documents, and their codes, are the same before and after,
    also where only a sample is kept of them."""
    monkeypatch.setattr("indexes.documents.BATCH_ROWS", 7)
    basis = make_basis(layout, cap)
    run = two_segments(layout, basis)
    if deleted:
        run[0] = delete(layout, run[0], *deleted)
    before = uses(layout, run, cap)
    merged = merge_segments(layout, run, 16, NO_DOCUMENTS, basis)
    assert uses(layout, [merged], cap) == before
    assert len(before) == 13
    assert max(map(len, before.values())) == (9 if cap == 9 else 80 - len(deleted))
    # How many there were before the sample is known as well, and after deletions about.
    n_bank, exactly = count_uses(layout, [merged], hash_text("bank")), cap > 9 or not deleted
    assert n_bank == pytest.approx(80 - len(deleted), abs=0 if exactly else 8)
    few = delete(layout, merged, *range(2, merged.n_documents))
    left = merge_segments(layout, [few], 16, NO_DOCUMENTS, basis)
    assert count_uses(layout, [left], hash_text("bank")) <= (2 if cap > 9 else 20)
    assert list(SegmentCheck(layout, merged, 16, basis, str.casefold).problems()) == []


@pytest.mark.parametrize("part", [1, 7, 100])
def test_parts_make_no_difference(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """The uses of words are the same, and in the same order, whatever is in memory at once; the
    files that they go through are gone after."""
    basis = make_basis(layout, 1000)
    run = two_segments(layout, basis)

    def words() -> list[tuple[int, list[int], list[int], list[int]]]:
        return [
            (w.word, w.segments.tolist(), w.rows.tolist(), w.keys.tolist())
            for w in iterate_words(layout, run, least=2, cap=1000)
        ]

    before, files = words(), sorted(layout.root.rglob("*"))
    monkeypatch.setattr("indexes.word_uses.PART_USES", part)
    monkeypatch.setattr("indexes.word_uses.BLOCK", 50)
    assert words() == before
    assert sorted(layout.root.rglob("*")) == files
    unfinished = iterate_words(layout, run, least=2, cap=1000)
    next(unfinished)
    unfinished.close()
    assert sorted(layout.root.rglob("*")) == files


def test_codes_are_read_in_the_order_asked_for(layout: Layout) -> None:
    """Codes of uses in several segments come as they were asked for; of none, there are none."""
    basis = make_basis(layout, 1000)
    run = [
        write_segment(layout, name, unit_rows(5), texts=["the river bank"] * 5, basis=basis)
        for name in ("a", "b", "c")
    ]
    reader = CodeReader(layout, run, 8)
    segments, rows = np.array([2, 0, 2, 0, 1]), np.array([7, 3, 1, 0, 14])
    wanted = [reader.open(n).codes[row] for n, row in zip(segments.tolist(), rows, strict=True)]
    np.testing.assert_array_equal(reader.read(segments, rows), wanted)
    assert reader.read(segments[:0], rows[:0]).shape == (0, 8)


def test_a_text_that_is_there_too_often_is_sampled_too(layout: Layout) -> None:
    """No word has more uses than the cap, also where equal texts leave nothing to draw by."""
    texts = ["the same river bank"] * 40
    segment = write_segment(
        layout, "s", unit_rows(40), texts=texts, basis=make_basis(layout, cap=9)
    )
    assert segment.n_occurrences == 160
    found = uses(layout, [segment], 9)
    assert {form: len(own) for form, own in found.items()} == dict.fromkeys(texts[0].split(), 9)


def test_shards_move_with_their_documents(layout: Layout) -> None:
    """Each shard of a merged segment names the range of its documents, and how many were lost."""
    first = write_segment(layout, "s", unit_rows(4))
    second = write_segment(layout, "t", unit_rows(3))
    excluded = HashSet(read_keys(layout, second, np.array([0, 2])))
    run = [delete(layout, first, 1), delete(layout, second, 0, 1, 2)]
    found = merge_segments(layout, run, 16, excluded).shards
    assert [(s.id, s.first_document, s.n_documents) for s in found] == [("s", 0, 3), ("t", 3, 0)]
    assert [(s.n_dropped, s.n_replaced) for s in found] == [(0, 1), (2, 1)]


def test_what_is_whole_and_large_stays(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small neighbours are merged until they are large; what is large already is left alone."""
    monkeypatch.setattr(compaction, "SMALL_PASSAGES", 6)
    sizes = [2, 3, 4, 9, 5, 1, 1]
    segments = [write_segment(layout, f"s{i}", unit_rows(n)) for i, n in enumerate(sizes)]
    runs = [[segment.id for segment in run] for run in plan_compaction(layout, segments)]
    assert runs == [["s0", "s1", "s2"], ["s3"], ["s4", "s5"], ["s6"]]
    assert merge_segments(layout, [segments[3]], 16, NO_DOCUMENTS) is segments[3]


def test_segments_with_other_columns_are_not_merged(layout: Layout) -> None:
    """Only segments with the same columns become one."""
    other = pa.table({"m": ["x", "y"]})
    segments = [
        write_segment(layout, "s", unit_rows(2)),
        write_segment(layout, "t", unit_rows(2), metadata=other),
        write_segment(layout, "u", unit_rows(2), metadata=other),
    ]
    runs = [[segment.id for segment in run] for run in plan_compaction(layout, segments)]
    assert runs == [["s"], ["t", "u"]]


def test_empty_segments_are_merged(layout: Layout) -> None:
    """A shard without documents keeps its place among the shards, so that it is not read again."""
    empty = write_segment(layout, "e", unit_rows(1), n_batches=1)
    empty = delete(layout, empty, 0)
    merged = merge_segments(layout, [empty], 16, NO_DOCUMENTS)
    assert (merged.n_documents, merged.shards[0].id, merged.shards[0].n_replaced) == (0, "e", 1)
    again = merge_segments(
        layout, [merged, write_segment(layout, "s", unit_rows(2))], 16, NO_DOCUMENTS
    )
    assert [shard.id for shard in again.shards] == ["e", "s"]
    assert again.n_documents == 2
