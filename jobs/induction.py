"""Senses for the words of an index: grouped once, and kept by name while the index grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from embedder.errors import IndexFormatError
from embedder.projection import decode_codes
from embedder.senses import assign, induce, match
from embedder.vectors import Rows, normalise
from indexes.durable import check_files
from indexes.layout import Layout
from indexes.manifest import SegmentRecord, SenseBasis, SenseRecord
from indexes.occurrences import read_words
from indexes.sense_inventory import USE, SenseInventory, WordSenses, covers, write_inventory
from indexes.word_uses import CodeReader, WordUses, iterate_words
from jobs.progress import Progress

LEAST_USES = 20
"""Uses in different texts that a word needs to be looked at."""

GROWTH = 1.25
"""A word is grouped anew when its uses are so many times what they were, or this much fewer.
Until then new uses join the nearest of its senses."""


def update_senses(
    layout: Layout,
    segments: Sequence[SegmentRecord],
    basis: SenseBasis,
    before: SenseRecord | None,
    progress: Progress,
) -> SenseRecord:
    """The inventory of some segments: the one before if it covers them, else a new one.

    Args:
        layout: the index.
        segments: its segments.
        basis: what the vectors of their occurrences rest on.
        before: the inventory before, whose senses keep their names.
        progress: told of every word.
    """
    old = _open_whole(layout, before, progress)
    if old is not None and covers(old.record, segments):
        return old.record
    progress.start_stage("grouping the uses of words", _n_frequent(layout, segments), "words")
    forms = _Forms(layout, segments)
    reader = CodeReader(layout, segments, basis.n_components)
    words = []
    with threadpool_limits(1, user_api="blas"):  # many small products of matrices
        for uses in iterate_words(layout, segments, least=LEAST_USES, cap=basis.cap):
            form = forms.find(uses)
            words.append(_senses(uses, form, reader, old.find(form) if old else None))
            progress.count_documents(1)
    return write_inventory(layout, words, segments, basis.id)


def _open_whole(
    layout: Layout, record: SenseRecord | None, progress: Progress
) -> SenseInventory | None:
    """An inventory, unless a file is not as it was written, which is said."""
    if record is None:
        return None
    try:
        check_files(layout.sense_folder(record.id), record.files, with_digests=True)
        return SenseInventory(layout, record)
    except IndexFormatError as error:
        progress.note(f"{error.message} The senses are made anew, and may be numbered otherwise.")
        return None


def _n_frequent(layout: Layout, segments: Sequence[SegmentRecord]) -> int:
    """About how many words will be looked at."""
    counts: dict[int, int] = {}
    for segment in segments:
        table = read_words(layout, segment)
        for word, n in zip(table["word"].to_pylist(), table["n_uses"].to_pylist(), strict=True):
            counts[word] = counts.get(word, 0) + n
    return sum(n >= LEAST_USES for n in counts.values())


class _Forms:
    """The form of a word, from the segment of its first use."""

    def __init__(self, layout: Layout, segments: Sequence[SegmentRecord]) -> None:
        self._layout, self._segments = layout, segments
        self._read: dict[int, dict[int, str]] = {}

    def find(self, uses: WordUses) -> str:
        number = int(uses.segments[0])
        if number not in self._read:
            table = read_words(self._layout, self._segments[number])
            words, forms = table["word"].to_pylist(), table["form"].to_pylist()
            self._read[number] = dict(zip(words, forms, strict=True))
        return self._read[number][uses.word]


def _senses(uses: WordUses, form: str, reader: CodeReader, old: WordSenses | None) -> WordSenses:
    rows = decode_codes(reader.read(uses.segments, uses.rows))
    if old is not None and old.n_induced / GROWTH <= len(uses) <= old.n_induced * GROWTH:
        labels, confidences = assign(rows, old.centroids)
        return _word(uses, form, labels, confidences, old.centroids, old.numbers, old.n_induced)
    found = induce(_by_passage(rows, uses, reader))
    labels, confidences = assign(rows, found.centroids)
    numbers = np.arange(1, len(found.centroids) + 1)
    if old is not None:
        numbers = _continued(old, found.centroids)
    return _word(uses, form, labels, confidences, found.centroids, numbers, len(uses))


def _by_passage(rows: Rows, uses: WordUses, reader: CodeReader) -> Rows:
    """Mean rows of the uses in each passage; equal uses in equal texts count once.

    A passage uses a word in one sense (Gale et al. 1992, one sense per discourse), and its uses
    have neighbours in common, so that by themselves they would seem a group.
    """
    _, first = np.unique(uses.keys, return_index=True)
    first = np.sort(first)
    places = np.stack([uses.segments, reader.passages(uses.segments, uses.rows)], axis=1)[first]
    _, numbers = np.unique(places, axis=0, return_inverse=True)
    sums = np.zeros((int(numbers.max()) + 1, rows.shape[1]), dtype=np.float32)
    np.add.at(sums, numbers, rows[first])
    return normalise(sums)


def _continued(old: WordSenses, centroids: Rows) -> npt.NDArray[np.int64]:
    """Numbers of new senses: those of the ones they continue, else numbers not used before."""
    places = match(old.centroids, centroids)
    free = int(old.numbers.max()) + 1
    numbers = np.empty(len(centroids), dtype=np.int64)
    for place, continued in enumerate(places.tolist()):
        if continued >= 0:
            numbers[place] = old.numbers[continued]
        else:
            numbers[place], free = free, free + 1
    return numbers


def _word(
    uses: WordUses,
    form: str,
    labels: npt.NDArray[np.int64],
    confidences: Rows,
    centroids: Rows,
    numbers: npt.NDArray[np.int64],
    n_induced: int,
) -> WordSenses:
    """A word with the senses that its uses have."""
    counts = np.bincount(labels, minlength=len(centroids))
    kept = np.flatnonzero(counts)
    records = np.empty(len(uses), dtype=USE)
    records["segment"], records["row"] = uses.segments, uses.rows
    records["sense"] = numbers[labels]
    records["confidence"] = np.rint(np.clip(confidences, 0, 1) * 65_535)
    return WordSenses(
        word=uses.word,
        form=form,
        numbers=numbers[kept],
        n_uses=counts[kept],
        centroids=centroids[kept],
        uses=records,
        n_found=uses.n_found,
        n_induced=n_induced,
    )
