"""Whether a FAISS structure holds the vectors of its segments, each once and where it says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFormatError
from indexes.byte_codes import ByteCodec
from indexes.covered import Covered
from indexes.faiss_builder import Trained
from indexes.faiss_index import CELLS_FILE, CODEC_FILE, LISTS_FILE, FaissIndex
from indexes.generation_builder import spread_numbers
from indexes.layout import FAISS_FILE, Layout
from indexes.manifest import GenerationRecord, Manifest, StructureKind
from indexes.passage_search import EXACT_EXTRA
from indexes.problems import Faults, Problem
from indexes.query_plan import K_TUNED
from indexes.stored_rows import Positions, StoredRows, widened
from indexes.structures import ID_BYTES

COMPARED_ROWS = 65_536
"""Up to so many codes are compared with the stored rows; of more, a uniform sample of so many."""

SEARCHED_ROWS = 256
"""Stored rows that are searched for."""

CHUNK_ROWS = 4096
SAMPLE_SEED = 577
SAME_SHARE = 0.5
"""Share of a compressed code's bytes that must be as when it is made anew: another processor
rounds differently, and codes of different rows have one byte in 256 in common."""

FOUND_SHARE = 0.9
"""A row finds itself about as often as it finds its neighbours, or more often."""


@dataclass(frozen=True)
class _Chunk:
    """Some entries of an inverted list.

    Args:
        cell: number of the list.
        ids: numbers of the vectors, shape (n,).
        place: where their codes begin in the file, one after the other.
    """

    cell: int
    ids: Positions
    place: int


def check_generation(
    layout: Layout, manifest: Manifest, record: GenerationRecord
) -> Iterator[Problem]:
    """All that is wrong inside a generation whose files have the right digests.

    Args:
        layout: the index.
        manifest: its state; the segments that the generation covers are whole.
        record: the generation.
    """
    folder = layout.generation(record.id)
    repair = f"Remove {folder} and run embedder index again."
    try:
        yield from _Check(layout, manifest, record, repair).problems()
    except IndexFormatError as error:
        yield Problem.of_error(folder, error, repair)


class _Check:
    """One look at a generation; see `check_generation`."""

    def __init__(
        self, layout: Layout, manifest: Manifest, record: GenerationRecord, repair: str
    ) -> None:
        self._record, self._folder = record, layout.generation(record.id)
        self._repair, self._width = repair, manifest.encoder.width
        self._stored = StoredRows(layout, manifest.segments, self._width)
        numbers = {segment.id: number for number, segment in enumerate(manifest.segments)}
        self._covered = Covered(layout, record, numbers, self._stored.firsts, self._width)
        self._structure = self._covered.structure

    def problems(self) -> Iterator[Problem]:
        """All that is wrong; nothing is searched for unless what lies there is right."""
        index = FaissIndex(self._folder, self._structure, self._record.n_vectors)
        is_graph = self._structure.kind is StructureKind.HNSW
        found = list(self._check_graph() if is_graph else self._check_lists(index))
        yield from found or self._check_search(index)

    @cached_property
    def _trained(self) -> Trained:
        """What makes codes of rows, read back; a graph comes with its vectors."""
        index: Any = faiss.read_index(str(self._folder / FAISS_FILE))
        codec = None
        if self._structure.has_bytes:
            codec = ByteCodec.from_array(np.load(self._folder / CODEC_FILE, allow_pickle=False))
        return Trained(self._structure, index, None, codec)

    @cached_property
    def _is_compared(self) -> npt.NDArray[np.bool_]:
        """Which vectors are compared with the stored rows: not those of segments that are gone."""
        chosen = np.zeros(self._record.n_vectors, dtype=np.bool_)
        chosen[spread_numbers(len(chosen), COMPARED_ROWS, SAMPLE_SEED)] = True
        numbers = np.flatnonzero(chosen)
        chosen[numbers] = self._covered.positions(numbers) >= 0
        return chosen

    def _check_graph(self) -> Iterator[Problem]:
        faults = Faults(self._folder / FAISS_FILE, "vector", self._repair)
        numbers = np.flatnonzero(self._is_compared)
        for start in range(0, len(numbers), CHUNK_ROWS):
            chosen = numbers[start : start + CHUNK_ROWS]
            codes = self._trained.index.reconstruct_batch(chosen).astype(np.uint8)
            self._compare(faults, chosen, codes, 0)
        yield from faults.problems()

    def _check_lists(self, index: FaissIndex) -> Iterator[Problem]:
        """Every vector lies once in the lists, in its cell, with the code of its row."""
        path = self._folder / LISTS_FILE
        faults, n_vectors = Faults(path, "vector", self._repair), self._record.n_vectors
        is_seen = np.zeros(n_vectors, dtype=np.bool_)
        cells = self._cells()
        with path.open("rb") as file:
            for chunk in self._chunks(file.fileno(), index.sizes):
                is_there = (chunk.ids >= 0) & (chunk.ids < n_vectors)
                if not is_there.all():
                    yield Problem.of(path, f"list {chunk.cell} names other vectors", self._repair)
                    return
                is_again = is_seen[chunk.ids]
                is_again[np.setdiff1d(np.arange(len(chunk.ids)), _firsts(chunk.ids))] = True
                faults.note("is in the lists more than once", chunk.ids[is_again])
                is_seen[chunk.ids] = True
                if cells is not None:
                    is_other = cells[chunk.ids] != chunk.cell
                    what = f"is in another cell than {CELLS_FILE} says"
                    faults.note(what, chunk.ids[is_other])
                self._compare_chunk(faults, file.fileno(), chunk)
        faults.note("is in no list", np.flatnonzero(~is_seen))
        yield from faults.problems()

    def _cells(self) -> npt.NDArray[np.generic] | None:
        if not self._structure.has_cells:
            return None
        path = self._folder / CELLS_FILE
        try:
            cells: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise IndexFormatError(f"{path} is damaged: {error}.") from error
        if cells.shape != (self._record.n_vectors,):
            raise IndexFormatError(f"{path} has the shape {cells.shape}.")
        return cells

    def _chunks(self, file: int, sizes: Positions) -> Iterator[_Chunk]:
        """All lists, a few thousand entries at a time; codes lie before the ids of their list."""
        code_bytes, place = self._structure.code_bytes, 0
        for cell, size in enumerate(sizes.tolist()):
            ids_place = place + size * code_bytes
            for start in range(0, size, CHUNK_ROWS):
                n = min(CHUNK_ROWS, size - start)
                content = os.pread(file, n * ID_BYTES, ids_place + start * ID_BYTES)
                ids = np.frombuffer(content, dtype="<i8").astype(np.int64)
                yield _Chunk(cell, ids, place + start * code_bytes)
            place = ids_place + size * ID_BYTES

    def _compare_chunk(self, faults: Faults, file: int, chunk: _Chunk) -> None:
        code_bytes = self._structure.code_bytes
        chosen = np.flatnonzero(self._is_compared[chunk.ids])
        if len(chosen):
            content = os.pread(file, len(chunk.ids) * code_bytes, chunk.place)
            codes = np.frombuffer(content, dtype=np.uint8).reshape(-1, code_bytes)
            self._compare(faults, chunk.ids[chosen], codes[chosen], chunk.cell)

    def _compare(
        self, faults: Faults, vectors: Positions, codes: npt.NDArray[np.uint8], cell: int
    ) -> None:
        """Compare codes with those of the stored rows."""
        rows = widened(self._stored.take(self._covered.positions(vectors)))
        made = self._trained.encode(rows, np.full(len(rows), cell))
        same = (made == codes).mean(1)
        is_compressed = self._structure.kind in (StructureKind.IVF_PQ, StructureKind.IVF_RABITQ)
        is_other = same < (SAME_SHARE if is_compressed else 1)
        faults.note("is not the stored row", vectors[is_other])

    def _check_search(self, index: FaissIndex) -> Iterator[Problem]:
        """A stored row finds itself, or one that equals it."""
        vectors = spread_numbers(len(index), SEARCHED_ROWS, SAMPLE_SEED)
        vectors = vectors[self._covered.positions(vectors) >= 0]
        if not len(vectors):
            return
        efforts, k = self._record.efforts, min(K_TUNED, len(index))
        effort, depth = (efforts[0].n_probe, efforts[0].depth) if efforts else (1, 1)
        own = self._stored.take(self._covered.positions(vectors))
        n = min(depth * k + EXACT_EXTRA, len(index))
        found = self._covered.positions(index.search(widened(own), n, effort))
        rows = self._stored.take(np.maximum(found, 0).ravel()).reshape(*found.shape, self._width)
        is_found = ((rows == own[:, None]).all(2) & (found >= 0)).any(1)
        if is_found.mean() < FOUND_SHARE * self._record.recall:
            what = (
                f"{int((~is_found).sum())} of {len(vectors)} stored vectors do not find themselves"
            )
            yield Problem.of(self._folder, what, self._repair)


def _firsts(ids: Positions) -> npt.NDArray[np.intp]:
    """Where each number comes for the first time."""
    return np.unique(ids, return_index=True)[1]
