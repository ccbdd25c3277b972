"""The occurrences of a segment: all of rare words, a uniform sample of frequent ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import make_basis, occurrences_of, unit_rows, write_segment

from embedder.errors import IndexFormatError
from embedder.records import Occurrences, hash_text
from indexes.layout import OCCURRENCE_FILES, Layout
from indexes.manifest import SegmentRecord
from indexes.occurrence_writer import OccurrenceWriter
from indexes.occurrences import (
    limits_of,
    open_occurrences,
    read_occurrences,
    read_words,
)

N_COMPONENTS = 8
TEXTS = [f"of word{i % 40} number of {i}" for i in range(300)]
CAP = 50


def write(folder: Path, texts: list[str], cap: int, n_batches: int = 1) -> Occurrences:
    """Write the occurrences of some passages; those that are kept."""
    folder.mkdir(parents=True)
    writer = OccurrenceWriter(folder, N_COMPONENTS, cap)
    forms: dict[int, str] = {}
    for part in np.array_split(np.arange(len(texts)), n_batches):
        writer.write(occurrences_of([texts[i] for i in part], N_COMPONENTS, forms))
    writer.publish(forms)
    return read_occurrences(folder, range(len(texts)), N_COMPONENTS)


def kept_by_hand(found: Occurrences, cap: int) -> np.ndarray[Any, Any]:
    """Which occurrences stay: of a frequent word those of the lowest draws, as many as fit."""
    is_kept = np.ones(len(found.records), dtype=np.bool_)
    for word in np.unique(found.records["word"]):
        own = np.flatnonzero(found.records["word"] == word)
        draws = found.records["draw"][own]
        if len(own) > cap:
            fitting = [d for d in np.unique(draws) if (draws <= d).sum() <= cap]
            is_kept[own] = np.isin(draws, fitting or [draws.min()])
    return is_kept


def test_rare_words_keep_all(tmp_path: Path) -> None:
    """Of words with fewer uses than are kept every use is read back as it was written."""
    found, wanted = write(tmp_path / "s", TEXTS, 600), occurrences_of(TEXTS, N_COMPONENTS)
    for mine, theirs in zip(vars(found).values(), vars(wanted).values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("cap", [1, 7, CAP])
def test_frequent_words_keep_the_lowest_draws(tmp_path: Path, cap: int) -> None:
    """Of a frequent word the uses of the lowest draws stay, at most the cap, and every passage
    keeps its own; a word that is not frequent keeps all."""
    every = occurrences_of(TEXTS, N_COMPONENTS)
    found, is_kept = write(tmp_path / "s", TEXTS, cap), kept_by_hand(every, cap)
    assert 0 < is_kept.sum() < len(is_kept)
    np.testing.assert_array_equal(found.records, every.records[is_kept])
    np.testing.assert_array_equal(found.codes, every.codes[is_kept])
    ends = np.concatenate([[0], np.cumsum(is_kept)])[every.ends]
    np.testing.assert_array_equal(found.ends, ends)
    counts = np.unique(found.records["word"], return_counts=True)[1]
    assert counts.max() <= cap


def test_the_sample_is_uniform(tmp_path: Path) -> None:
    """The uses that stay are spread evenly over the passages."""
    texts = [f"of {i}" for i in range(6000)]
    found = write(tmp_path / "s", texts, 600)
    numbers = np.flatnonzero(np.diff(found.ends, prepend=0))
    assert 550 < len(numbers) <= 600
    counts = np.histogram(numbers, bins=6, range=(0, 6000))[0]
    assert counts.min() > 60 and counts.max() < 140  # 100 each, standard deviation 9


def test_batches_and_blocks_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are the same to the byte however passages come, and however few are in memory."""
    write(tmp_path / "once", TEXTS, CAP)
    monkeypatch.setattr("indexes.occurrence_writer.BLOCK", 7)
    monkeypatch.setattr("indexes.occurrence_writer.WORDS_AT_ONCE", 1)
    write(tmp_path / "blocks", TEXTS, CAP, n_batches=13)
    for name in OCCURRENCE_FILES:
        once, blocks = ((tmp_path / folder / name).read_bytes() for folder in ("once", "blocks"))
        assert once == blocks, name


def test_a_text_more_often_than_the_cap_stays(tmp_path: Path) -> None:
    """Copies of one text have one draw, and its words do not vanish because there are many."""
    found = write(tmp_path / "s", ["the river bank"] * 20 + ["another river"], 5)
    words, counts = np.unique(found.records["word"], return_counts=True)
    assert set(words) == {hash_text(word) for word in ("the", "river", "bank", "another")}
    assert dict(zip(words.tolist(), counts.tolist(), strict=True))[hash_text("bank")] == 20


def test_limits_of_a_sample_of_a_sample() -> None:
    """What a part of an index leaves out, a sample of the whole would leave out too."""
    random = np.random.default_rng(5)
    parts = [np.bincount(random.integers(0, 90, 400), minlength=100)[None] for _ in range(4)]
    for cap in (1, 20, 300):
        whole = limits_of(np.sum(parts, axis=0), cap)
        assert all(limits_of(part, cap) >= whole for part in parts)


def test_words_count_what_was_found(tmp_path: Path) -> None:
    """`words.parquet` has each word once, with its uses before the sample was drawn."""
    layout = Layout(tmp_path / "an.index")
    segment = segment_of(layout)
    table = read_words(layout, segment)
    found = dict(zip(table["form"].to_pylist(), table["n_uses"].to_pylist(), strict=True))
    assert found["of"] == 600 and found["number"] == 300 and found["word3"] == 8
    assert segment.n_occurrences == len(open_occurrences(layout, segment).records) < 1200


def segment_of(layout: Layout) -> SegmentRecord:
    """A segment of the texts."""
    basis = make_basis(layout, CAP, N_COMPONENTS)
    return write_segment(layout, "s", unit_rows(len(TEXTS)), texts=TEXTS, basis=basis)


@pytest.mark.parametrize("name", OCCURRENCE_FILES)
def test_a_damaged_file_is_named_when_it_is_opened(tmp_path: Path, name: str) -> None:
    """A file that was cut short or is gone is refused by name."""
    layout = Layout(tmp_path / "an.index")
    segment = segment_of(layout)
    path = layout.segment(segment.id) / name
    for content in (path.read_bytes()[:-1], path.read_bytes()[:100], b"", None):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(IndexFormatError) as caught:
            open_occurrences(layout, segment)
            read_words(layout, segment)
        assert str(path) in caught.value.message
