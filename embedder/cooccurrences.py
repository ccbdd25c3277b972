"""How often words stand near each other, counted in bounded memory and kept in blocks on disk.

As in GloVe (Pennington et al. 2014): within a document each pair of words up to a window apart
counts 1/d in both directions, where d is how many words they lie apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.array_file import ArrayFile, append_array
from embedder.errors import RequestError
from embedder.word_stream import END, WordNumbers, WordStream

Keys = npt.NDArray[np.int64]
"""Cells as whole numbers in the order in which they are stored, int64, shape (n,)."""

LONGEST_WINDOW = 255
LOCAL_BITS = 16
DISTANCE_BITS = 8
KEY_BYTES = 64
"""Memory that a counted pair takes until it is written, with all copies on the way."""

UNIT = 1 << 32
"""Counts are summed as whole numbers of this fraction, so their sum does not depend on the order
in which they come, and so not on the memory that there is."""

BLOCK_CELLS = 16_384
"""Pairs wanted in a block, several of which share a cell: enough for the work to outweigh
Python's. Blocks of a quarter took half as long again and led to no better vectors."""

MOST_SIDES = 512
LEAST_SIDES = 24
"""Blocks in a row of blocks. A word is moved as often in an epoch, so few words need many."""


@dataclass(frozen=True)
class Blocks:
    """How a square of words by words is cut into blocks of equal sides.

    Args:
        place: the place of each word in rows and columns, drawn by chance, so that frequent words
            are spread over the blocks; int64, shape (n_words,).
        n_sides: blocks in a row of blocks.
        side: words on one side of a block.
    """

    place: Keys
    n_sides: int
    side: int

    @classmethod
    def draw(cls, n_words: int, n_pairs: int, seed: int) -> Blocks:
        """Blocks for so many words that make so many pairs."""
        wanted = int(np.sqrt(min(n_pairs, n_words**2) / BLOCK_CELLS))
        n_sides = min(n_words, max(LEAST_SIDES, min(MOST_SIDES, wanted)))
        side = -(-n_words // n_sides)
        if side > 1 << LOCAL_BITS:
            raise RequestError(f"{n_words:,} words are too many.", "Give a greater --least-count.")
        place = np.random.default_rng(seed).permutation(n_words).astype(np.int64)
        return cls(place, -(-n_words // side), side)

    def keys(self, rows: WordNumbers, columns: WordNumbers) -> Keys:
        """The cells of pairs of words; ordered by them, blocks lie together, row after row."""
        row_block, row = np.divmod(self.place[rows], self.side)
        column_block, column = np.divmod(self.place[columns], self.side)
        block = row_block * self.n_sides + column_block
        found: Keys = ((block << LOCAL_BITS | row) << LOCAL_BITS) | column
        return found


class Cells(NamedTuple):
    """Cells of one block.

    Args:
        rows: row of each in the block, ascending, uint16, shape (n_cells,).
        columns: its column, ascending in the row.
        counts: weighted number of co-occurrences, all above zero.
    """

    rows: npt.NDArray[np.uint16]
    columns: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cooccurrences:
    """The cells that are not zero, on disk, block after block.

    Args:
        blocks: which block a cell lies in.
        starts: the first cell of each block, and the number of all, shape (n_sides² + 1,).
        rows: as in `Cells`, of all blocks; uint16.
        columns: likewise; uint16.
        counts: likewise; float32.
    """

    blocks: Blocks
    starts: Keys
    rows: ArrayFile
    columns: ArrayFile
    counts: ArrayFile

    def __len__(self) -> int:
        return len(self.counts)

    def block(self, number: int) -> Cells:
        """The cells of one block."""
        start, end = self.starts[number : number + 2].tolist()
        rows, columns = self.rows.read(start, end), self.columns.read(start, end)
        return Cells(rows, columns, self.counts.read(start, end))


def count_cooccurrences(
    stream: WordStream,
    folder: Path,
    *,
    window: int,
    memory: int,
    seed: int,
    reach: Callable[[int, int], None] = lambda done, total: None,
) -> Cooccurrences:
    """Count which words stand near which.

    Args:
        stream: the text.
        folder: where the files go, which must be there.
        window: words to look back, up to LONGEST_WINDOW.
        memory: bytes to use; what does not fit is sorted in parts, which are merged.
        seed: of the order of the words in the blocks.
        reach: told how many words of how many are done.

    Raises:
        RequestError: no two words stand near each other, or there are too many words.
        OSError: the disk takes no more.
    """
    blocks = Blocks.draw(len(stream.vocabulary), stream.vocabulary.n_uses * window, seed)
    n_keys = max(1 << 12, memory // KEY_BYTES)
    runs: list[_Run] = []
    n_words = max(window, n_keys // (2 * window))
    for start in range(0, len(stream.numbers), n_words):
        keys = _pairs(stream.numbers, start, start + n_words, window, blocks)
        if len(keys):
            runs.append(_Run.write(folder / f"run-{len(runs)}", *_sum_distances(keys)))
        reach(min(start + n_words, len(stream.numbers)), len(stream.numbers))
    if not runs:
        raise RequestError(
            "No two frequent words stand near each other.",
            "Give more text, or a smaller --least-count.",
        )
    return _merge(runs, folder, blocks, n_keys)


@dataclass(frozen=True)
class _Run:
    """Ordered keys on disk, each with its weight."""

    paths: tuple[Path, Path]
    keys: ArrayFile
    weights: ArrayFile

    @classmethod
    def write(cls, stem: Path, keys: Keys, weights: Keys) -> _Run:
        paths = stem.with_suffix(".keys"), stem.with_suffix(".weights")
        for path, values in zip(paths, (keys, weights), strict=True):
            with path.open("wb") as file:
                append_array(file, values)
        return cls(paths, *(ArrayFile(path, np.int64) for path in paths))


def _pairs(numbers: ArrayFile, start: int, end: int, window: int, blocks: Blocks) -> Keys:
    """Pairs, in both directions, of each word from `start` to `end` with those before it; their
    distance stands in the lowest bits."""
    before = max(0, start - window)
    part = numbers.read(before, end)
    document = np.cumsum(part == END)
    found = []
    for distance in range(1, window + 1):
        first = max(0, start - before - distance)
        earlier, later = slice(first, -distance), slice(first + distance, None)
        is_pair = document[earlier] == document[later]
        is_pair &= part[earlier] != END  # the sign belongs to the document after it
        left, right = part[earlier][is_pair], part[later][is_pair]
        for keys in (blocks.keys(left, right), blocks.keys(right, left)):
            found.append(keys << DISTANCE_BITS | distance)
    return np.concatenate(found)


def _sum_distances(keys: Keys) -> tuple[Keys, Keys]:
    """The different cells, in order, and the weight of each in UNITs."""
    keys.sort()
    distances = np.arange(1, LONGEST_WINDOW + 1)
    weights = np.concatenate([[0], np.rint(UNIT / distances).astype(np.int64)])
    return _sum_equal(keys >> DISTANCE_BITS, weights[keys & LONGEST_WINDOW])


def _sum_equal(keys: Keys, weights: Keys) -> tuple[Keys, Keys]:
    """The different keys of an ordered array, with the sum of the weights of each."""
    firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[firsts], np.add.reduceat(weights, firsts)


def _merge(runs: Sequence[_Run], folder: Path, blocks: Blocks, n_keys: int) -> Cooccurrences:
    """Merge ordered runs into one, a range of keys at a time, and remove them."""
    paths = [folder / f"{name}.bin" for name in Cells._fields]
    sizes = np.zeros(blocks.n_sides**2, dtype=np.int64)
    local = (1 << LOCAL_BITS) - 1
    with contextlib.ExitStack() as opened:
        rows, columns, counts = (opened.enter_context(path.open("wb")) for path in paths)
        for keys, weights in _merged(runs, n_keys):
            sizes += np.bincount(keys >> 2 * LOCAL_BITS, minlength=len(sizes))
            append_array(rows, (keys >> LOCAL_BITS & local).astype(np.uint16))
            append_array(columns, (keys & local).astype(np.uint16))
            append_array(counts, (weights / UNIT).astype(np.float32))
    for path in (path for run in runs for path in run.paths):
        path.unlink()
    kinds = (np.uint16, np.uint16, np.float32)
    files = (ArrayFile(path, kind) for path, kind in zip(paths, kinds, strict=True))
    return Cooccurrences(blocks, np.concatenate([[0], np.cumsum(sizes)]), *files)


def _merged(runs: Sequence[_Run], n_keys: int) -> Iterator[tuple[Keys, Keys]]:
    """Different keys of all runs in order, with their weights, some `n_keys` at a time."""
    n_parts = -(-sum(len(run.keys) for run in runs) // n_keys)
    longest = max((run.keys for run in runs), key=len)
    # Every run is of the same text, so the keys of one are spread as those of the others are.
    at = np.linspace(0, len(longest), n_parts, endpoint=False)[1:].astype(np.int64).tolist()
    edges = sorted({int(longest.read(place, place + 1)[0]) for place in at})
    places = [[0, *(run.keys.rank(edge) for edge in edges), len(run.keys)] for run in runs]
    for part in range(len(edges) + 1):
        ranges = [(p[part], p[part + 1]) for p in places]
        parts = list(zip(runs, ranges, strict=True))
        keys = np.concatenate([run.keys.read(*found) for run, found in parts])
        weights = np.concatenate([run.weights.read(*found) for run, found in parts])
        order = np.argsort(keys, kind="stable")
        if len(order):
            yield _sum_equal(keys[order], weights[order])
