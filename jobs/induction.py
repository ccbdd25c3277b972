"""Senses for the words of an index: grouped once, and kept by name while the index grows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from embedder.errors import IndexFormatError
from embedder.projection import decode_codes
from embedder.records import Codes
from embedder.senses import Labels, assign, induce, match
from embedder.vectors import Rows, normalise
from indexes.discourses import Discourses
from indexes.durable import check_files
from indexes.layout import Layout
from indexes.manifest import SegmentRecord, SenseBasis, SenseRecord
from indexes.sense_inventory import (
    USE,
    SenseInventory,
    WordSenses,
    as_stored,
    covers,
    write_inventory,
)
from indexes.word_uses import CodeReader, WordUses, iterate_words, read_frequent_forms
from jobs.progress import Progress

LEAST_USES = 20
"""Uses in different texts that a word needs to be looked at."""

GROWTH = 1.25
"""A word is grouped anew when its uses are so many times what they were, or this much fewer.
Until then new uses join the nearest of its senses."""

READ_USES = 500_000
"""Uses whose codes are read at once, a segment after the other, at some hundred bytes each."""


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
    forms = read_frequent_forms(layout, segments, least=LEAST_USES)
    progress.start_stage("grouping the uses of words", len(forms), "words")
    found = iterate_words(layout, segments, least=LEAST_USES, cap=basis.cap)
    reader = CodeReader(layout, segments, basis.n_components)
    discourses = Discourses(layout, segments)

    def words() -> Iterator[WordSenses]:
        for uses, codes in _with_codes(found, reader):
            form = forms[uses.word]
            numbers = discourses.of(uses.segments, uses.passages)
            yield _senses(uses, form, codes, numbers, old.find(form) if old else None)
            progress.count_documents(1)

    with threadpool_limits(1, user_api="blas"):  # many small products of matrices
        return write_inventory(layout, words(), segments, basis.id)


def _with_codes(words: Iterable[WordUses], reader: CodeReader) -> Iterator[tuple[WordUses, Codes]]:
    """Words with the codes of their uses, shape (n_uses, n_components)."""
    for group in _groups(words):
        segments = np.concatenate([uses.segments for uses in group])
        codes = reader.read(segments, np.concatenate([uses.rows for uses in group]))
        ends = np.cumsum([len(uses) for uses in group])
        yield from zip(group, np.split(codes, ends[:-1]), strict=True)


def _groups(words: Iterable[WordUses]) -> Iterator[list[WordUses]]:
    group: list[WordUses] = []
    n_uses = 0
    for uses in words:
        group.append(uses)
        n_uses += len(uses)
        if n_uses >= READ_USES:
            yield group
            group, n_uses = [], 0
    if group:
        yield group


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


def _senses(
    uses: WordUses, form: str, codes: Codes, discourses: Labels, old: WordSenses | None
) -> WordSenses:
    rows = decode_codes(codes)
    if old is not None and old.n_induced / GROWTH <= len(uses) <= old.n_induced * GROWTH:
        labels, confidences = assign(rows, old.centroids)
        return _word(uses, form, labels, confidences, old.centroids, old.numbers, old.n_induced)
    # What is asked later is compared with centroids that were stored, and so are these uses.
    found = as_stored(induce(_by_discourse(rows, uses, discourses)).centroids)
    counts = np.bincount(assign(rows, found)[0], minlength=len(found))
    centroids = found[np.argsort(-counts, kind="stable")]
    labels, confidences = assign(rows, centroids)
    numbers = np.arange(1, len(centroids) + 1)
    if old is not None:
        numbers = _continued(old, centroids)
    return _word(uses, form, labels, confidences, centroids, numbers, len(uses))


def _by_discourse(rows: Rows, uses: WordUses, discourses: Labels) -> Rows:
    """Mean rows of the uses in each discourse; equal uses in equal texts count once."""
    _, first = np.unique(uses.keys, return_index=True)
    first = np.sort(first)
    _, numbers = np.unique(discourses[first], return_inverse=True)
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
