"""The occurrences of a segment: uses of words in its passages, each with a compact vector.

`occurrences.npy` holds the records, `occurrence_codes.npy` a row of components each,
`occurrence_ends.npy` where each passage's end, `words.parquet` the form and the number of uses of
each word. They lie in the order of the passages.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.errors import IndexFormatError
from embedder.records import OCCURRENCE, Codes, OccurrenceRecords, Occurrences
from indexes.documents import read_table
from indexes.durable import NPY_ERRORS, create_file
from indexes.layout import CODES_FILE, ENDS_FILE, OCCURRENCES_FILE, WORDS_FILE, Layout
from indexes.manifest import SegmentRecord
from indexes.npy import NPY_HEADER_BYTES, npy_header
from indexes.parquet_writer import ParquetWriter

BLOCK = 1 << 18
"""Occurrences that are in memory at once."""

WORDS_AT_ONCE = 64
"""Frequent words whose draws are counted at once, in half a mebibyte each."""

CODE_PEAK = 127
"""The largest component of every code, which is a unit row scaled to bytes."""

REPAIR = "Run embedder index again to restore it."
WORDS_SCHEMA = pa.schema(
    [
        ("word", pa.uint64()),
        ("form", pa.string()),
        ("n_uses", pa.int64()),  # before any sample was drawn
        ("n_left_out", pa.int64()),  # of them, by the sample
    ]
)

Hashes = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]


NONE_LEFT_OUT: Mapping[int, int] = {}


class OccurrenceWriter:
    """Writes the occurrences of a segment into its folder, a batch of passages at a time.

    Args:
        folder: the segment's folder, not yet published.
        n_components: of a code.
        cap: most occurrences of one word; of more a uniform sample is kept.
    """

    def __init__(self, folder: Path, n_components: int, cap: int) -> None:
        self._folder, self._n_components, self._cap = folder, n_components, cap
        names = (OCCURRENCES_FILE, CODES_FILE, ENDS_FILE)
        self._files = [create_file(folder / name) for name in names]
        for file in self._files:
            file.write(b"\0" * NPY_HEADER_BYTES)
        self.n_occurrences = self._n_passages = 0
        self._words: dict[int, int] = {}
        self._left_out: dict[int, int] = {}

    def write(self, occurrences: Occurrences) -> None:
        """Append the occurrences of some passages."""
        records, codes, ends = self._files
        records.write(occurrences.records.tobytes())
        codes.write(np.ascontiguousarray(occurrences.codes).tobytes())
        ends.write((occurrences.ends + self.n_occurrences).astype("<i8").tobytes())
        for file in self._files:
            file.flush()  # later batches read those of equal texts back
        self.n_occurrences += len(occurrences.records)
        self._n_passages += len(occurrences.ends)
        words, counts = np.unique(occurrences.records["word"], return_counts=True)
        for word, n in zip(words.tolist(), counts.tolist(), strict=True):
            self._words[word] = self._words.get(word, 0) + n

    def publish(self, forms: Mapping[int, str], left_out: Mapping[int, int] = NONE_LEFT_OUT) -> int:
        """Finish the files; the number of occurrences in them.

        Args:
            forms: form of each word by its hash.
            left_out: of each word how many uses a sample before left out of what was written.
        """
        frequent = [word for word, n in self._words.items() if n > self._cap]
        if frequent:
            self._draw(np.array(sorted(frequent), dtype=np.uint64))
        shapes = [
            (np.dtype(OCCURRENCE), (self.n_occurrences,)),
            (np.dtype("i1"), (self.n_occurrences, self._n_components)),
            (np.dtype("<i8"), (self._n_passages,)),
        ]
        for file, (kind, shape) in zip(self._files, shapes, strict=True):
            file.seek(0)
            file.write(npy_header(kind, shape))
            file.close()
        self._write_words(forms, left_out)
        return self.n_occurrences

    def close(self) -> None:
        """Let go of the files, whatever is in them."""
        for file in self._files:
            file.close()

    def _write_words(self, forms: Mapping[int, str], left_out: Mapping[int, int]) -> None:
        words = sorted(self._words)
        columns = [
            words,
            [forms[word] for word in words],
            [self._words[word] + left_out.get(word, 0) for word in words],
            [self._left_out.get(word, 0) + left_out.get(word, 0) for word in words],
        ]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, WORDS_SCHEMA, strict=True)]
        with create_file(self._folder / WORDS_FILE) as file:
            writer = ParquetWriter(file, WORDS_SCHEMA, compression="zstd", write_page_checksum=True)
            try:
                writer.write_table(pa.table(arrays, schema=WORDS_SCHEMA))
            finally:
                writer.close()

    def _draw(self, frequent: Hashes) -> None:
        """Rewrite the files without the occurrences of frequent words that are not drawn."""
        for file in self._files:
            file.flush()
        limits = self._limits(frequent)
        records, codes, ends = self._files
        old_ends = np.fromfile(
            self._folder / ENDS_FILE, dtype="<i8", offset=NPY_HEADER_BYTES, count=self._n_passages
        )
        new_ends = np.zeros_like(old_ends)
        counts = np.zeros(len(frequent), dtype=np.int64)
        n_kept = n_ended = 0
        for first, last in self._blocks():
            # What is kept moves towards the front, behind what is still to be read.
            block = self._read(OCCURRENCES_FILE, OCCURRENCE, first, last, 1)
            own = self._read(CODES_FILE, np.dtype("i1"), first, last, self._n_components)
            is_kept = ~is_over(block, frequent, limits)
            place, is_one = find_words_in(block["word"], frequent)
            counts += np.bincount(place[is_one & is_kept], minlength=len(frequent))
            kept_before = n_kept + np.concatenate([[0], np.cumsum(is_kept)])
            in_block = slice(n_ended, int(np.searchsorted(old_ends, last, side="right")))
            new_ends[in_block] = kept_before[old_ends[in_block] - first]
            _write_at(records, n_kept * OCCURRENCE.itemsize, block[is_kept].tobytes())
            _write_at(codes, n_kept * self._n_components, own[is_kept].tobytes())
            n_kept, n_ended = n_kept + int(is_kept.sum()), in_block.stop
        _write_at(ends, 0, new_ends.astype("<i8").tobytes())
        for file, n_bytes in (
            (records, OCCURRENCE.itemsize),
            (codes, self._n_components),
        ):
            file.truncate(NPY_HEADER_BYTES + n_kept * n_bytes)
        self.n_occurrences = n_kept
        for word, n in zip(frequent.tolist(), counts.tolist(), strict=True):
            self._left_out[word] = self._words[word] - n

    def _limits(self, frequent: Hashes) -> Counts:
        """For each frequent word the draw from which on its occurrences go."""
        limits = []
        for start in range(0, len(frequent), WORDS_AT_ONCE):
            own = frequent[start : start + WORDS_AT_ONCE]
            histograms = np.zeros((len(own), 1 << 16), dtype=np.int64)
            for first, last in self._blocks():
                block = self._read(OCCURRENCES_FILE, OCCURRENCE, first, last, 1)
                place, is_one = find_words_in(block["word"], own)
                np.add.at(histograms, (place[is_one], block["draw"][is_one].astype(np.int64)), 1)
            limits.append(limits_of(histograms, self._cap))
        return np.concatenate(limits)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        for first in range(0, self.n_occurrences, BLOCK):
            yield first, min(first + BLOCK, self.n_occurrences)

    def _read(
        self, name: str, kind: np.dtype[Any], first: int, last: int, n: int
    ) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = np.fromfile(
            self._folder / name,
            dtype=kind,
            count=(last - first) * n,
            offset=NPY_HEADER_BYTES + first * n * kind.itemsize,
        )
        return values if n == 1 else values.reshape(last - first, n)


def limits_of(histograms: Counts, cap: int) -> Counts:
    """The draw from which on a word's occurrences go so that at most `cap` stay.

    Those of the lowest draw stay even where they are more: a text that is there more than `cap`
    times has the same draw every time, and its words are not to vanish.

    Args:
        histograms: occurrences of each word by draw, shape (n_words, 65,536); none is empty.
        cap: most occurrences of a word.
    """
    within = (np.cumsum(histograms, axis=1) <= cap).sum(axis=1)
    limits: Counts = np.maximum(within, (histograms > 0).argmax(axis=1) + 1)
    return limits


def find_words_in(words: Hashes, wanted: Hashes) -> tuple[Counts, npt.NDArray[np.bool_]]:
    """Place of each word among sorted ones, and whether it is one of them."""
    place = np.searchsorted(wanted, words)
    if not len(wanted):
        return place, np.zeros(len(words), dtype=np.bool_)
    place[place == len(wanted)] = 0
    return place, wanted[place] == words


def is_over(records: OccurrenceRecords, frequent: Hashes, limits: Counts) -> npt.NDArray[np.bool_]:
    """Which occurrences are of a frequent word and not drawn."""
    place, is_one = find_words_in(records["word"], frequent)
    over: npt.NDArray[np.bool_] = is_one & (records["draw"] >= limits[place])
    return over


def _write_at(file: io.BufferedWriter, offset: int, content: bytes) -> None:
    file.seek(NPY_HEADER_BYTES + offset)
    file.write(content)
    file.flush()


@dataclass(frozen=True)
class SegmentOccurrences:
    """The occurrences of a published segment, memory-mapped.

    Args:
        ends: for each passage one past the number of its last occurrence.
        records: the occurrences.
        codes: their vectors.
    """

    ends: Counts
    records: OccurrenceRecords
    codes: Codes

    def passages(self) -> npt.NDArray[np.int64]:
        """The passage of each occurrence, shape (n,)."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))

    def passages_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The passages of some occurrences, shape (n,)."""
        return np.searchsorted(self.ends, rows, side="right").astype(np.int64)

    def take_kept(self, first: int, is_kept: npt.NDArray[np.bool_]) -> Occurrences:
        """The occurrences of some of the passages from `first` on."""
        start = int(self.ends[first - 1]) if first else 0
        ends = np.array(self.ends[first : first + len(is_kept)], dtype=np.int64)
        stop = int(ends[-1]) if len(ends) else start
        counts = np.diff(ends, prepend=start)
        chosen = np.repeat(is_kept, counts)
        return Occurrences(
            np.cumsum(counts[is_kept], dtype=np.int64),
            self.records[start:stop][chosen],
            self.codes[start:stop][chosen],
        )


def open_occurrences(layout: Layout, segment: SegmentRecord) -> SegmentOccurrences:
    """The occurrences of a segment.

    Raises:
        IndexFormatError: a file is not as it was written.
    """
    ends = open_ends(layout, segment)
    records, codes = open_records(layout, segment), open_codes(layout, segment)
    return SegmentOccurrences(ends, records, codes)


def open_ends(layout: Layout, segment: SegmentRecord) -> Counts:
    """For each passage of a segment one past the number of its last occurrence.

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    path = layout.segment(segment.id) / ENDS_FILE
    ends: Counts = open_array(path, np.dtype(np.int64), (segment.n_passages,))
    counts = np.diff(ends, prepend=0)
    if (counts < 0).any() or int(counts.sum()) != segment.n_occurrences:
        raise IndexFormatError(
            f"{path} does not divide the {segment.n_occurrences} occurrences among the passages.",
            REPAIR,
        )
    return ends


def open_records(layout: Layout, segment: SegmentRecord) -> OccurrenceRecords:
    """The records of a segment's occurrences, memory-mapped.

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    path = layout.segment(segment.id) / OCCURRENCES_FILE
    records: OccurrenceRecords = open_array(path, OCCURRENCE, (segment.n_occurrences,))
    return records


def open_codes(layout: Layout, segment: SegmentRecord) -> Codes:
    """The codes of a segment's occurrences, memory-mapped, shape (n_occurrences, n_components).

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    path = layout.segment(segment.id) / CODES_FILE
    codes: Codes = open_array(path, np.dtype(np.int8), (segment.n_occurrences, None))
    return codes


def open_array(path: Path, kind: np.dtype[Any], shape: tuple[int | None, ...]) -> Any:
    """An array on disk, memory-mapped, of a type and shape, where None stands for any length.

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    try:
        is_empty = 0 in shape  # and nothing to map
        found = np.load(path, mmap_mode=None if is_empty else "r", allow_pickle=False)
    except NPY_ERRORS as error:
        raise IndexFormatError(f"{path} is damaged: {error}.", REPAIR) from error
    is_right = found.dtype == kind and found.ndim == len(shape)
    if not is_right or any(w not in (None, n) for w, n in zip(shape, found.shape, strict=True)):
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        raise IndexFormatError(
            f"{path} holds {found.dtype} {found.shape}, and {kind} {wanted} was written.", REPAIR
        )
    return found


def read_forms(layout: Layout, segment: SegmentRecord) -> dict[int, str]:
    """The form of each word in a segment by its hash.

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    table = read_words(layout, segment)
    return dict(zip(table["word"].to_pylist(), table["form"].to_pylist(), strict=True))


def read_words(layout: Layout, segment: SegmentRecord) -> pa.Table:
    """The words of a segment, see `WORDS_SCHEMA`.

    Raises:
        IndexFormatError: the file is not as it was written.
    """
    return read_table(layout.segment(segment.id) / WORDS_FILE, WORDS_SCHEMA)


def count_left_out(
    layout: Layout, segment: SegmentRecord, is_kept: npt.NDArray[np.bool_]
) -> dict[int, int]:
    """Of each word that a segment holds a sample of how many uses that left out, in some of its
    passages, about: in proportion to those that it holds.

    Args:
        layout: the index.
        segment: the segment.
        is_kept: which passages are asked about, shape (n_passages,).

    Raises:
        IndexFormatError: a file is not as it was written.
    """
    table = read_words(layout, segment)
    n_left_out = table["n_left_out"].to_numpy()
    drawn, n_left_out = table["word"].to_numpy()[n_left_out > 0], n_left_out[n_left_out > 0]
    if not len(drawn):
        return {}
    records, ends = open_records(layout, segment), open_ends(layout, segment)
    n_held, n_kept = np.zeros(len(drawn), np.int64), np.zeros(len(drawn), np.int64)
    for first in range(0, len(records), BLOCK):
        block = records[first : first + BLOCK]
        place, is_one = find_words_in(block["word"], drawn)
        passages = np.searchsorted(ends, np.arange(first, first + len(block)), side="right")
        n_held += np.bincount(place[is_one], minlength=len(drawn))
        n_kept += np.bincount(place[is_one & is_kept[passages]], minlength=len(drawn))
    shares = n_kept / np.maximum(n_held, 1)
    return dict(zip(drawn.tolist(), np.rint(n_left_out * shares).astype(int).tolist(), strict=True))


def read_occurrences(folder: Path, passages: Sequence[int], n_components: int) -> Occurrences:
    """The occurrences of some passages of a segment, which may still be growing."""
    parts = []
    with (
        (folder / ENDS_FILE).open("rb") as ends,
        (folder / OCCURRENCES_FILE).open("rb") as records,
        (folder / CODES_FILE).open("rb") as codes,
    ):
        for passage in passages:
            start, stop = _ends_of(ends, passage)
            records.seek(NPY_HEADER_BYTES + start * OCCURRENCE.itemsize)
            codes.seek(NPY_HEADER_BYTES + start * n_components)
            n = stop - start
            parts.append(
                Occurrences(
                    np.array([n], dtype=np.int64),
                    np.frombuffer(records.read(n * OCCURRENCE.itemsize), dtype=OCCURRENCE),
                    np.frombuffer(codes.read(n * n_components), dtype=np.int8).reshape(
                        n, n_components
                    ),
                )
            )
    return Occurrences.join(parts, n_components)


def _ends_of(file: io.BufferedReader, passage: int) -> tuple[int, int]:
    """Where the occurrences of a passage begin and end."""
    file.seek(NPY_HEADER_BYTES + 8 * max(passage - 1, 0), os.SEEK_SET)
    values = np.frombuffer(file.read(16 if passage else 8), dtype="<i8").tolist()
    return (values[0], values[1]) if passage else (0, values[0])
