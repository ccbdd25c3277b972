"""Senses for the words of an index: grouped once, and kept by name while the index grows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from embedder.errors import IndexFormatError
from embedder.projection import decode_codes
from embedder.records import Codes
from embedder.senses import Labels, assign, match
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
from jobs.cores import count_cores
from jobs.induction_pool import InductionPool
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
    *,
    n_cores: int | None = None,
) -> SenseRecord:
    """The inventory of some segments: the one before if it covers them, else a new one.

    Args:
        layout: the index.
        segments: its segments.
        basis: what the vectors of their occurrences rest on.
        before: the inventory before, whose senses keep their names.
        progress: told of every word.
        n_cores: cores to use; all when None. The senses are the same.
    """
    old = _open_whole(layout, before, progress)
    if old is not None and covers(old.record, segments):
        return old.record
    forms = read_frequent_forms(layout, segments, least=LEAST_USES)
    progress.start_stage("grouping the uses of words", len(forms), "words")
    found = iterate_words(layout, segments, least=LEAST_USES, cap=basis.cap)
    reader = CodeReader(layout, segments, basis.n_components)
    discourses = Discourses(layout, segments)

    def words() -> Iterator[tuple[_Word, Rows | None]]:
        for uses, codes in _with_codes(found, reader):
            form = forms[uses.word]
            word = _Word(uses, form, codes, old.find(form) if old else None)
            numbers = discourses.of(uses.segments, uses.passages)
            yield word, None if word.keeps_senses else _by_discourse(word, numbers)

    def counted(pool: InductionPool) -> Iterator[WordSenses]:
        for word, centroids in pool.induce(words()):
            yield _senses(word, centroids)
            progress.count_documents(1)

    with (
        threadpool_limits(1, user_api="blas"),  # many small products of matrices
        closing(InductionPool(len(forms), n_cores or count_cores())) as pool,
    ):
        record = write_inventory(layout, counted(pool), segments, basis.id)
        if pool.n_lost:
            progress.note(
                f"{pool.n_lost} of the processes that group words ended early, as for lack of "
                "memory. Their work was done here, and nothing is missing."
            )
        return record


@dataclass(frozen=True)
class _Word:
    """A word and its uses.

    Args:
        uses: where they are.
        form: what it is looked up by.
        codes: their codes, shape (n_uses, n_components).
        old: its senses in the inventory before, if it has some.
    """

    uses: WordUses
    form: str
    codes: Codes
    old: WordSenses | None

    def __len__(self) -> int:
        return len(self.uses)

    @property
    def keeps_senses(self) -> bool:
        """Whether it has about as many uses as when it was grouped."""
        if self.old is None:
            return False
        return self.old.n_induced / GROWTH <= len(self) <= self.old.n_induced * GROWTH


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


def _senses(word: _Word, induced: Rows | None) -> WordSenses:
    """A word with its senses: those that were induced, or where none were those it had."""
    old, rows = word.old, decode_codes(word.codes)
    if induced is None:
        assert old is not None
        labels, confidences = assign(rows, old.centroids)
        return _word(word, labels, confidences, old.centroids, old.numbers, old.n_induced)
    # What is asked later is compared with centroids that were stored, and so are these uses.
    found = as_stored(induced)
    counts = np.bincount(assign(rows, found)[0], minlength=len(found))
    centroids = found[np.argsort(-counts, kind="stable")]
    labels, confidences = assign(rows, centroids)
    numbers = np.arange(1, len(centroids) + 1)
    if old is not None:
        numbers = _continued(old, centroids)
    return _word(word, labels, confidences, centroids, numbers, len(word))


def _by_discourse(word: _Word, discourses: Labels) -> Rows:
    """Mean rows of the uses in each discourse; equal uses in equal texts count once."""
    _, first = np.unique(word.uses.keys, return_index=True)
    first = np.sort(first)
    _, numbers = np.unique(discourses[first], return_inverse=True)
    sums = np.zeros((int(numbers.max()) + 1, word.codes.shape[1]), dtype=np.float32)
    np.add.at(sums, numbers, decode_codes(word.codes[first]))
    return normalise(sums)


def _continued(old: WordSenses, centroids: Rows) -> npt.NDArray[np.int64]:
    """Numbers of new senses: those of the ones they continue, else numbers not used before."""
    places = match(old.centroids, centroids)
    free = old.last_number + 1
    numbers = np.empty(len(centroids), dtype=np.int64)
    for place, continued in enumerate(places.tolist()):
        if continued >= 0:
            numbers[place] = old.numbers[continued]
        else:
            numbers[place], free = free, free + 1
    return numbers


def _word(
    word: _Word,
    labels: npt.NDArray[np.int64],
    confidences: Rows,
    centroids: Rows,
    numbers: npt.NDArray[np.int64],
    n_induced: int,
) -> WordSenses:
    """A word with the senses that its uses have."""
    uses = word.uses
    counts = np.bincount(labels, minlength=len(centroids))
    kept = np.flatnonzero(counts)
    records = np.empty(len(uses), dtype=USE)
    records["segment"], records["row"] = uses.segments, uses.rows
    records["sense"] = numbers[labels]
    records["confidence"] = np.rint(np.clip(confidences, 0, 1) * 65_535)
    return WordSenses(
        word=uses.word,
        form=word.form,
        numbers=numbers[kept],
        n_uses=counts[kept],
        centroids=centroids[kept],
        uses=records,
        n_found=uses.n_found,
        n_induced=n_induced,
        last_number=max(int(numbers.max()), word.old.last_number if word.old else 0),
    )
