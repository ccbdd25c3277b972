"""The running words of a corpus as numbers on disk: read once, gone through as often as needed.

Tokenising is the slow part of training static vectors, and a vocabulary is known only at the end
of the text. So one pass writes provisional numbers, which are exchanged for those of the
vocabulary when it is known.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.array_file import ArrayFile, append_array
from embedder.vocabulary import Counts, Vocabulary
from embedder.words import find_surfaces, surface_form

WordNumbers = npt.NDArray[np.int32]
"""Numbers of words in a vocabulary in running order, END after each document; int32, shape (n,)."""

END = -1
"""Stands after the last word of a document."""

NO_WORD = -2
"""Stands for a surface that is a number."""

CHUNK = 1 << 20
"""Words that are held at once."""

FORM_BYTES = 400
"""Measured: memory of one form with its surfaces, their numbers and the dictionaries' room."""


@dataclass(frozen=True)
class WordStream:
    """The words of a corpus that are in its vocabulary; the others are left out, as if the text
    did not hold them (so do word2vec and GloVe).

    Args:
        vocabulary: the words.
        numbers: the text.
        n_documents: documents, those without any of the words included.
        n_words: running words of the corpus, those left out included.
        n_forgotten: uses that were not counted, because more different words came than fit.
    """

    vocabulary: Vocabulary
    numbers: ArrayFile
    n_documents: int
    n_words: int
    n_forgotten: int

    def documents(self, longest: int) -> Iterator[WordNumbers]:
        """The words of each document, in pieces of at most `longest`, the empty ones left out."""
        for chunk in self._chunks():
            for start in range(0, len(chunk), longest):
                yield chunk[start : start + longest]

    def _chunks(self) -> Iterator[WordNumbers]:
        """Words that stand in one document; one that spans chunks of the file comes in parts."""
        for start in range(0, len(self.numbers), CHUNK):
            part = self.numbers.read(start, start + CHUNK)
            ends = np.flatnonzero(part == END)
            for first, end in zip([0, *(ends + 1).tolist()], [*ends.tolist(), len(part)]):  # noqa: B905
                if first < end:
                    yield part[first:end]


def write_stream(
    batches: Iterable[Sequence[str]], folder: Path, *, least_count: int, memory: int
) -> WordStream:
    """Read a corpus once, and write its words as numbers.

    Args:
        batches: its texts.
        folder: where the files go, which must be there; they belong to the stream from then on.
        least_count: words with fewer uses get no number.
        memory: bytes that the different words may take while they are counted. Where more come,
            the rarer half of them is forgotten, and counted anew from then on.

    Raises:
        OSError: the disk takes no more.
    """
    counter = _Counter(max(1000, memory // FORM_BYTES))
    provisional, final = folder / "provisional.bin", folder / "words.bin"
    n_documents = 0
    with provisional.open("wb") as file:
        for texts in batches:
            n_documents += len(texts)
            counter.write(texts, file)
    found, old, new = counter.finish(least_count)
    _renumber(provisional, old, new, final)
    provisional.unlink()
    return WordStream(
        vocabulary=found,
        numbers=ArrayFile(final, np.int32),
        n_documents=n_documents,
        n_words=counter.n_words,
        n_forgotten=counter.n_forgotten,
    )


class _Counter:
    """Gives each form a provisional number, and counts its uses.

    A form that was forgotten gets another number when it comes again. What is kept of numbers grows
    with the forms that are known alone, not with all that ever were.
    """

    def __init__(self, most_forms: int) -> None:
        self._most_forms = most_forms
        self._surfaces: dict[str, int] = {}
        self._forms: dict[str, int] = {}
        self._counts: Counts = np.zeros(1 << 12, dtype=np.int64)
        self._old: WordNumbers = np.empty(0, dtype=np.int32)  # numbers of forms kept, ascending
        self._first_new = self._n_issued = 0
        self.n_words = self.n_forgotten = 0

    def write(self, texts: Sequence[str], file: BufferedWriter) -> None:
        """Write the words of some documents."""
        for text in texts:
            surfaces = self._surfaces
            listed = [
                surfaces[s] if s in surfaces else self._number(s) for s in find_surfaces(text)
            ]
            numbers = np.array([*listed, END], dtype=np.int32)
            numbers = numbers[numbers != NO_WORD]
            append_array(file, numbers)
            self._count(numbers[:-1])
            if len(self._forms) > self._most_forms or len(surfaces) > 2 * self._most_forms:
                self._forget()

    def _number(self, surface: str) -> int:
        form = surface_form(surface)
        if form is None:
            number = NO_WORD
        else:
            number = self._forms.setdefault(form, self._n_issued)
            self._n_issued += number == self._n_issued
        self._surfaces[surface] = number
        return number

    def _count(self, numbers: WordNumbers) -> None:
        self.n_words += len(numbers)
        while len(self._old) + self._n_issued - self._first_new > len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        found, times = np.unique(numbers, return_counts=True)
        self._counts[self._places(found)] += times

    def _places(self, numbers: WordNumbers) -> Counts:
        """Where the counts of known forms stand, by their numbers."""
        is_new = numbers >= self._first_new
        new = numbers.astype(np.int64) - self._first_new + len(self._old)
        return np.where(is_new, new, np.searchsorted(self._old, numbers))

    def _known(self) -> tuple[WordNumbers, Counts]:
        """Numbers and counts of the known forms, in their order."""
        numbers = np.fromiter(self._forms.values(), np.int32, len(self._forms))
        return numbers, self._counts[self._places(numbers)]

    def _forget(self) -> None:
        """Keep the more frequent half of the forms."""
        self._surfaces.clear()
        if len(self._forms) <= self._most_forms:
            return
        numbers, counts = self._known()
        edge = int(np.partition(counts, len(counts) // 2)[len(counts) // 2])
        is_kept = counts > edge
        self.n_forgotten += int(counts[~is_kept].sum())
        self._forms = {f: n for (f, n), k in zip(self._forms.items(), is_kept, strict=True) if k}
        order = np.argsort(numbers[is_kept])
        self._old, self._first_new = numbers[is_kept][order], self._n_issued
        self._counts = np.append(counts[is_kept][order], np.zeros(1 << 12, dtype=np.int64))

    def finish(self, least_count: int) -> tuple[Vocabulary, WordNumbers, WordNumbers]:
        """The vocabulary, the provisional numbers of its words, ascending, and those in it."""
        numbers, counts = self._known()
        is_frequent = counts >= least_count
        forms = list(itertools.compress(self._forms, is_frequent))
        numbers, counts = numbers[is_frequent], counts[is_frequent]
        found = Vocabulary.of(zip(forms, counts.tolist(), strict=True))
        place_of = {form: place for place, form in enumerate(found.forms)}
        places = np.array([place_of[form] for form in forms], dtype=np.int32)
        order = np.argsort(numbers)
        return found, numbers[order], places[order]


def _renumber(source: Path, old: WordNumbers, new: WordNumbers, final: Path) -> None:
    """Exchange provisional numbers for those of the vocabulary, leaving out words without one.

    Args:
        source: the provisional ones.
        old: those of words in the vocabulary, ascending.
        new: the number of each there.
        final: what is written.
    """
    provisional = ArrayFile(source, np.int32)
    with final.open("wb") as file:
        for start in range(0, len(provisional), CHUNK):
            part = provisional.read(start, start + CHUNK)
            numbers = np.full(len(part), END, dtype=np.int32)
            if len(old):
                places = np.minimum(np.searchsorted(old, part), len(old) - 1)
                is_word = old[places] == part
                numbers[is_word] = new[places[is_word]]
            append_array(file, numbers[(part == END) | (numbers != END)])
