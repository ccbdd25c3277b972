"""Occurrences of words into the files of a segment that is being written."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.records import OCCURRENCE, Occurrences
from indexes.durable import create_file
from indexes.layout import CODES_FILE, ENDS_FILE, OCCURRENCES_FILE, WORDS_FILE
from indexes.npy import NPY_HEADER_BYTES, npy_header
from indexes.occurrences import (
    BLOCK,
    WORDS_SCHEMA,
    Counts,
    Hashes,
    find_words_in,
    is_over,
    limits_of,
)
from indexes.parquet_writer import ParquetWriter

WORDS_AT_ONCE = 64
"""Frequent words whose draws are counted at once, in half a mebibyte each."""

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


def _write_at(file: io.BufferedWriter, offset: int, content: bytes) -> None:
    file.seek(NPY_HEADER_BYTES + offset)
    file.write(content)
    file.flush()
