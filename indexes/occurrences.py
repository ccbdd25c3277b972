"""The occurrences of a segment: uses of words in its passages, each with a compact vector.

`occurrences.npy` holds the records, `occurrence_codes.npy` a row of components each,
`occurrence_ends.npy` where each passage's end, `words.parquet` the form and the number of uses of
each word. They lie in the order of the passages.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.errors import IndexFormatError
from embedder.records import OCCURRENCE, Codes, OccurrenceRecords, Occurrences
from indexes.documents import read_table
from indexes.durable import NPY_ERRORS
from indexes.layout import CODES_FILE, ENDS_FILE, OCCURRENCES_FILE, WORDS_FILE, Layout
from indexes.manifest import SegmentRecord
from indexes.npy import NPY_HEADER_BYTES

BLOCK = 1 << 18
"""Occurrences that are in memory at once."""

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
