"""The manifest: what is read is what was written, or an error that says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import commit, make_manifest

from embedder.errors import IndexFormatError, IndexNotFoundError
from indexes.durable import FileRecord
from indexes.layout import Layout
from indexes.manifest import (
    FORMAT,
    DeletionRecord,
    Effort,
    GenerationRecord,
    HistoryEntry,
    Manifest,
    SegmentRecord,
    ShardRecord,
    SourceRecord,
)
from indexes.manifest_file import check_index_files, read_manifest, write_manifest

SEGMENT = SegmentRecord(
    id="s1",
    shards=(
        ShardRecord(id="h1", first_document=0, n_documents=2, n_tokens=50, counts={"null text": 2}),
        ShardRecord(id="h2", first_document=2, n_documents=1, n_dropped=5),
    ),
    n_documents=3,
    n_passages=4,
    files={"vectors.npy": FileRecord(256, "ab")},
    deletion=DeletionRecord(
        name="s1-12.npy", file=FileRecord(132, "aa"), n_documents=1, n_passages=2
    ),
)
GENERATION = GenerationRecord(
    id="g1",
    structure="IVF8,SQ8",
    segments=("s1",),
    sizes=(4,),
    n_lists=8,
    efforts=(Effort(share=1.0, n_probe=2, depth=3, recall=0.96),),
    memory=4096,
    latency_ms=0.25,
    files={"index.faiss": FileRecord(99, "cd")},
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The layout of an index that is not there yet."""
    return Layout(tmp_path / "an.index")


def full_manifest(layout: Layout) -> Manifest:
    """A committed manifest with every part filled, and names in several scripts."""
    return commit(
        layout,
        [SEGMENT],
        generations=(GENERATION,),
        n_settled=1,
        excluded=("excluded-34.npy", FileRecord(144, "bb")),
        history=(
            HistoryEntry(
                number=7,
                at=1_700_000_000,
                command="delete",
                n_added=0,
                n_removed=1,
                n_documents=2,
                n_segments=1,
            ),
        ),
        metadata=("year", "größe", "豈更", '"quoted"', "😀"),
        sources=(
            SourceRecord(
                name="a b.parquet", identity="local:/a b.parquet", label="a b", n_rows=5, size=None
            ),
        ),
        calibration=FileRecord(5, "ef"),
        n_duplicate_ids=1,
        id=None,
    )


def test_round_trip(layout: Layout) -> None:
    """A manifest is read as it was written."""
    written = full_manifest(layout)
    assert read_manifest(layout) == written


def test_same_state_same_bytes(layout: Layout) -> None:
    """Writing a manifest that was read gives the same bytes."""
    written = full_manifest(layout)
    before = layout.manifest.read_bytes()
    write_manifest(layout, read_manifest(layout))
    assert layout.manifest.read_bytes() == before
    assert read_manifest(layout) == written


@pytest.mark.parametrize("mask", [0x01, 0x02, 0x04, 0x10, 0x20, 0x54, 0x80])
def test_a_flipped_byte_is_noticed(layout: Layout, mask: int) -> None:
    """Whichever byte is changed, the manifest is refused or means the same as before."""
    written = full_manifest(layout)
    intact = layout.manifest.read_bytes()
    n_refused = 0
    for position in range(len(intact)):
        damaged = bytearray(intact)
        damaged[position] ^= mask
        layout.manifest.write_bytes(damaged)
        try:
            assert read_manifest(layout) == written, f"byte {position}"
        except IndexFormatError:
            n_refused += 1
    assert n_refused > len(intact) // 2


def test_a_shortened_manifest_is_refused(layout: Layout) -> None:
    """A manifest cut off anywhere before its last brace is refused."""
    full_manifest(layout)
    intact = layout.manifest.read_bytes()
    for length in range(len(intact.rstrip())):
        layout.manifest.write_bytes(intact[:length])
        with pytest.raises(IndexFormatError):
            read_manifest(layout)


@pytest.mark.parametrize(
    "content", ["null", "[]", "3", '"x"', "{}", '{"format": 1}', "", "[" * 9999]
)
def test_other_json_is_refused(layout: Layout, content: str) -> None:
    """A manifest.json that holds something else is refused."""
    layout.root.mkdir()
    layout.manifest.write_text(content)
    with pytest.raises(IndexFormatError):
        read_manifest(layout)


def test_a_newer_format_names_both_formats(layout: Layout) -> None:
    """An index of a newer format is refused with its format and the one that can be read."""
    full_manifest(layout)
    content = json.loads(layout.manifest.read_text())
    layout.manifest.write_text(json.dumps({**content, "format": FORMAT + 6}))
    with pytest.raises(IndexFormatError, match=rf"format {FORMAT + 6}.*reads format {FORMAT}"):
        read_manifest(layout)


def test_no_manifest_is_no_index(layout: Layout) -> None:
    """A folder without a manifest, a missing folder and a file hold no index."""
    with pytest.raises(IndexNotFoundError, match="no index"):
        read_manifest(layout)
    layout.root.mkdir()
    with pytest.raises(IndexNotFoundError, match="no index"):
        read_manifest(layout)
    (layout.root / "a file").write_text("")
    with pytest.raises(IndexNotFoundError, match="no index"):
        read_manifest(Layout(layout.root / "a file"))


def test_totals_are_sums_over_segments() -> None:
    """Documents, passages and counts are the sums over segments, without what is deleted."""
    manifest = make_manifest([SEGMENT, replace(SEGMENT, deletion=None)])
    assert (manifest.n_documents, manifest.n_passages) == (2 + 3, 2 + 4)
    assert manifest.counts() == {"null text": 4}


def test_a_named_file_must_be_there_with_its_size(layout: Layout) -> None:
    """A file that the manifest names is refused when it is missing or of another size."""
    manifest = commit(layout, [replace(SEGMENT, deletion=None)])
    path = layout.segment("s1") / "vectors.npy"
    with pytest.raises(IndexFormatError, match=r"vectors\.npy is missing"):
        check_index_files(layout, manifest)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 255)
    with pytest.raises(IndexFormatError, match="255 bytes, and 256"):
        check_index_files(layout, manifest)
    path.write_bytes(b"x" * 256)
    check_index_files(layout, manifest)
    with pytest.raises(IndexFormatError, match=r"s1-12\.npy is missing"):
        check_index_files(layout, replace(manifest, segments=(SEGMENT,)))


def test_an_unfinished_run_is_not_seen(layout: Layout) -> None:
    """Readers see the segments of the last finished run, and those of the first as they come."""
    more = replace(SEGMENT, id="s2")
    manifest = commit(layout, [SEGMENT, more], n_settled=1)
    assert read_manifest(layout).finished().segments == (SEGMENT,)
    assert replace(manifest, n_settled=0).finished().segments == (SEGMENT, more)
