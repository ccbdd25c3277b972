"""Training a FAISS structure and writing its files, in bounded memory and the same every time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embedder.vectors import Rows
from indexes.byte_codes import ByteCodec
from indexes.durable import create_file
from indexes.faiss_index import CELLS_FILE, CODEC_FILE, LISTS_FILE, SIZES_FILE
from indexes.layout import FAISS_FILE
from indexes.manifest import StructureKind
from indexes.structures import GRAPH_DEGREE, ID_BYTES, Structure

SEED = 1729
ITERATIONS = 10
GRAPH_EFFORT = 80
"""Vectors kept in view while a graph is built."""

QUERY_BITS = 8
"""Bits a component of a query that is compared with RaBitQ codes."""

Codes = npt.NDArray[np.uint8]
Cells = npt.NDArray[np.generic]
"""Cell of each vector, uint16 or uint32, shape (n,)."""


@dataclass(frozen=True)
class Trained:
    """A structure that is trained and holds no vectors yet.

    Args:
        structure: what it is.
        index: FAISS's index.
        centroids: FAISS's exact index of the cells' centroids, float32.
        codec: how vectors become bytes, None where they do not.
    """

    structure: Structure
    index: Any
    centroids: Any
    codec: ByteCodec | None

    def assign(self, rows: Rows) -> npt.NDArray[np.int64]:
        """The cell of each row, shape (n,)."""
        if self.structure.n_lists <= 1:
            return np.zeros(len(rows), dtype=np.int64)
        cells: npt.NDArray[np.int64] = self.centroids.search(rows, 1)[1][:, 0]
        return cells

    def encode(self, rows: Rows, cells: Cells) -> Codes:
        """Codes of rows as the lists hold them, shape (n, structure.code_bytes)."""
        if self.codec is not None:
            return self.codec.encode(rows)
        if self.structure.kind in (StructureKind.FLAT, StructureKind.IVF_FP16):
            return rows.astype("<f2").view(np.uint8)
        codes = np.empty((len(rows), self.structure.code_bytes), dtype=np.uint8)
        places = cells.astype(np.int64)
        pointers = map(faiss.swig_ptr, (rows, places, codes))
        self.index.encode_vectors(len(rows), *pointers, False)
        return codes


def train(structure: Structure, sample: Rows) -> Trained:
    """Train a structure on a sample, shape (n, width)."""
    codec = ByteCodec.fit(sample) if structure.has_bytes else None
    centroids = _train_cells(structure, sample)
    if structure.kind is StructureKind.HNSW:
        return Trained(structure, _empty_graph(structure), centroids, codec)
    if codec is not None:
        index = _byte_lists(structure, codec, centroids)
    elif structure.kind in (StructureKind.FLAT, StructureKind.IVF_FP16):
        index = _half_lists(structure, centroids)
    else:
        index = _compressed_lists(structure, centroids)
        index.train(sample)
    return Trained(structure, index, centroids, codec)


def _train_cells(structure: Structure, sample: Rows) -> Any:
    """Centroids of the cells by spherical k-means; of a scan's only list the origin."""
    centroids: Any = faiss.IndexFlatIP(structure.width)
    if not structure.has_cells:
        centroids.add(np.zeros((1, structure.width), dtype=np.float32))
        return centroids
    clustering: Any = faiss.Clustering(structure.width, structure.n_lists)
    clustering.spherical = True
    clustering.niter = ITERATIONS
    clustering.seed = SEED
    clustering.min_points_per_centroid = 1
    clustering.max_points_per_centroid = len(sample)  # all of it: FAISS's own sample is a copy
    clustering.train(sample, centroids)
    return centroids


def _byte_lists(structure: Structure, codec: ByteCodec, centroids: Any) -> Any:
    """Lists of bytes, whose centroids are bytes too."""
    width, kind = structure.width, faiss.ScalarQuantizer.QT_8bit_direct
    cells: Any = faiss.IndexScalarQuantizer(width, kind, faiss.METRIC_L2)
    cells.is_trained = True
    cells.add(codec.steps(centroids.reconstruct_n(0, structure.n_lists)))
    index: Any = faiss.IndexIVFScalarQuantizer(
        cells, width, structure.n_lists, kind, faiss.METRIC_L2, False
    )
    index.is_trained = True
    return index


def _half_lists(structure: Structure, centroids: Any) -> Any:
    index: Any = faiss.IndexIVFScalarQuantizer(
        _half_cells(structure, centroids),
        structure.width,
        structure.n_lists,
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
        False,  # a code is the float16 row itself
    )
    index.is_trained = True
    return index


def _half_cells(structure: Structure, centroids: Any) -> Any:
    """Centroids as float16: FAISS compares them alike for any number of queries, float32 not."""
    kind = faiss.ScalarQuantizer.QT_fp16
    cells: Any = faiss.IndexScalarQuantizer(structure.width, kind, faiss.METRIC_INNER_PRODUCT)
    cells.is_trained = True
    cells.add(centroids.reconstruct_n(0, structure.n_lists))
    return cells


def _compressed_lists(structure: Structure, centroids: Any) -> Any:
    cells, size = _half_cells(structure, centroids), (structure.width, structure.n_lists)
    if structure.kind is StructureKind.IVF_PQ:
        return faiss.IndexIVFPQ(centroids, *size, structure.n_parts, 8, faiss.METRIC_INNER_PRODUCT)
    index: Any = faiss.IndexIVFRaBitQ(cells, *size, faiss.METRIC_INNER_PRODUCT)
    index.qb = QUERY_BITS
    return index


def _empty_graph(structure: Structure) -> Any:
    kind = faiss.ScalarQuantizer.QT_8bit_direct
    index: Any = faiss.IndexHNSWSQ(structure.width, kind, GRAPH_DEGREE, faiss.METRIC_L2)
    index.hnsw.efConstruction = GRAPH_EFFORT
    return index


def nearest_in_block(queries: Rows, block: Rows, k: int) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Scores and row numbers of the k rows of a block nearest to each query, best first.

    Returns:
        Two arrays of shape (n_queries, k); number -1 and score -inf where the block has fewer.
    """
    scores, numbers = faiss.knn(queries, block, k, metric=faiss.METRIC_INNER_PRODUCT)
    return np.where(numbers >= 0, scores, -np.inf).astype(np.float32), numbers


def write_graph(trained: Trained, blocks: Iterable[Rows], folder: Path) -> None:
    """Add all vectors to a graph and write it.

    By one thread: what several threads add depends on which comes first.
    """
    assert trained.codec is not None
    n_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        for block in blocks:
            trained.index.add(trained.codec.steps(block))
    finally:
        faiss.omp_set_num_threads(n_threads)
    write_empty(trained, folder)


def write_empty(trained: Trained, folder: Path) -> None:
    """Write the index without its inverted lists, and what makes bytes of vectors."""
    if trained.codec is not None:
        _save(folder / CODEC_FILE, trained.codec.to_array())
    with create_file(folder / FAISS_FILE) as file:
        # Through a file of our own: FAISS's reports a full disk only on stderr when it closes.
        faiss.write_index(trained.index, faiss.PyCallbackIOWriter(file.write))


def write_lists(
    trained: Trained,
    cells: Cells,
    blocks: Iterable[Rows],
    folder: Path,
    buffer_bytes: int,
) -> None:
    """Write all vectors to their lists, in one file that FAISS maps.

    FAISS's own merge of inverted lists maps all their files at once. Here the cells are known, so
    every list has its place in the file, and the blocks fill them.

    Args:
        trained: the structure.
        cells: cell of each vector.
        blocks: all vectors in order.
        folder: where to write.
        buffer_bytes: codes to gather before they are written.
    """
    write_empty(trained, folder)
    sizes = np.bincount(cells, minlength=trained.structure.n_lists)
    _save(folder / SIZES_FILE, sizes.astype(np.uint64))
    if trained.structure.has_cells:
        _save(folder / CELLS_FILE, cells)
    with create_file(folder / LISTS_FILE) as file:
        file.truncate(len(cells) * (trained.structure.code_bytes + ID_BYTES))
        lists = _ListFile(file.fileno(), sizes, trained.structure.code_bytes)
        first = begin = 0
        waiting: list[Codes] = []
        for block in blocks:
            last = first + len(block)
            waiting.append(trained.encode(block, cells[first:last]))
            first = last
            if (first - begin) * trained.structure.code_bytes >= buffer_bytes:
                lists.fill(waiting, cells[begin:first], begin)
                waiting, begin = [], first
        if waiting:
            lists.fill(waiting, cells[begin:first], begin)


class _ListFile:
    """One list after another, each its codes and then its int64 ids, as FAISS maps them."""

    def __init__(self, handle: int, sizes: npt.NDArray[np.int64], code_bytes: int) -> None:
        self._handle, self._sizes, self._code_bytes = handle, sizes, code_bytes
        ends = np.cumsum(sizes * (code_bytes + ID_BYTES))
        self._starts = ends - sizes * (code_bytes + ID_BYTES)
        self._filled = np.zeros(len(sizes), dtype=np.int64)

    def fill(self, parts: list[Codes], cells: Cells, first: int) -> None:
        """Append codes of the vectors from number `first` on to their lists."""
        order = np.argsort(cells, kind="stable")
        codes = (parts[0] if len(parts) == 1 else np.concatenate(parts))[order]
        parts.clear()
        ids = (order + first).astype("<i8")
        found, at = np.unique(cells[order], return_index=True)
        ends = np.append(at[1:], len(order))
        places = self._starts[found] + self._filled[found] * self._code_bytes
        id_places = self._starts[found] + self._sizes[found] * self._code_bytes
        id_places += self._filled[found] * ID_BYTES
        self._filled[found] += ends - at
        runs = zip(at.tolist(), ends.tolist(), places.tolist(), id_places.tolist(), strict=True)
        for begin, end, place, id_place in runs:
            _write_at(self._handle, codes[begin:end], place)
            _write_at(self._handle, ids[begin:end], id_place)


def _write_at(handle: int, values: npt.NDArray[np.generic], place: int) -> None:
    """Write all of a contiguous array; the system may take less at a time."""
    content = values.reshape(-1).view(np.uint8).data
    n_written = os.pwrite(handle, content, place)
    while n_written < len(content):
        n_written += os.pwrite(handle, content[n_written:], place + n_written)


def _save(path: Path, values: npt.NDArray[np.generic]) -> None:
    """Write a .npy file with the file's own writes; `np.save` goes around them."""
    with create_file(path) as file:
        header = np.lib.format.header_data_from_array_1_0(values)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(values).data)
