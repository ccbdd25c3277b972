"""A built FAISS structure, opened for search: its inverted lists stay on disk and are mapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFormatError
from embedder.vectors import Rows
from indexes.byte_codes import ByteCodec
from indexes.durable import NPY_ERRORS, FileRecord, check_files
from indexes.layout import FAISS_FILE
from indexes.manifest import StructureKind
from indexes.structures import ID_BYTES, Structure

LISTS_FILE = "lists.bin"
SIZES_FILE = "sizes.npy"
CELLS_FILE = "cells.npy"
CODEC_FILE = "codec.npy"

ALWAYS_CHECKED_BYTES = 64 << 20
"""Files of a structure that together are smaller are read and compared with their digests."""

FEW_QUERIES = 4

Flags = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
"""Numbers of vectors in the structure; -1 where there are no more."""


@dataclass(frozen=True)
class Selection:
    """Which vectors of a structure a search may return.

    Args:
        bits: one bit a vector, from the lowest of each byte.
        n_allowed: vectors that may be returned.
        counts: how many of them each cell has; None where there are no cells.
    """

    bits: npt.NDArray[np.uint8]
    n_allowed: int
    counts: npt.NDArray[np.int64] | None

    @cached_property
    def vectors(self) -> Any:
        """FAISS's selector of the vectors."""
        return faiss.IDSelectorBitmap(self.bits)

    @cached_property
    def cells(self) -> Any:
        """FAISS's parameters by which only cells with allowed vectors are visited."""
        assert self.counts is not None
        self._held["cells"] = np.packbits(self.counts > 0, bitorder="little")
        return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(self._held["cells"]))

    @cached_property
    def n_cells(self) -> int:
        """Cells with allowed vectors."""
        return 0 if self.counts is None else int((self.counts > 0).sum())

    _held: dict[str, Any] = field(default_factory=dict, repr=False)


class FaissIndex:
    """A built structure.

    Args:
        folder: the generation's folder.
        structure: what was built.
        n_vectors: vectors that it holds.
        files: the records of its files, of which the small ones are compared with their digests:
            FAISS trusts what it reads.

    Raises:
        IndexFormatError: a file is missing or damaged.
    """

    def __init__(
        self,
        folder: Path,
        structure: Structure,
        n_vectors: int,
        files: Mapping[str, FileRecord] | None = None,
    ) -> None:
        self.structure, self._folder, self._n_vectors = structure, folder, n_vectors
        if files is not None:
            check_files(folder, _to_check(files, structure), with_digests=True)
        try:
            self._open()
        except (RuntimeError, *NPY_ERRORS) as error:
            raise _damaged(folder, str(error).strip().split("\n")[-1]) from error
        self._parameters: dict[int, Any] = {}

    def _open(self) -> None:
        self._codec = None
        if self.structure.has_bytes:
            values = np.load(self._folder / CODEC_FILE, allow_pickle=False)
            if values.shape != (self.structure.width + 1,) or values.dtype != np.float32:
                raise ValueError(f"{CODEC_FILE} holds {values.dtype} {values.shape}")
            self._codec = ByteCodec.from_array(values)
        self._index: Any = faiss.read_index(str(self._folder / FAISS_FILE))
        self.sizes = np.array([self._n_vectors], dtype=np.int64)
        if self.structure.n_lists:
            self._open_lists()
        found = (int(self._index.ntotal), int(self._index.d))
        if found != (self._n_vectors, self.structure.width):
            raise ValueError(f"it holds {found[0]} vectors of width {found[1]}")

    def _open_lists(self) -> None:
        """Map the file of inverted lists into an index that was written without them."""
        n_lists, code_bytes = self.structure.n_lists, self.structure.code_bytes
        sizes = np.load(self._folder / SIZES_FILE, allow_pickle=False)
        path = self._folder / LISTS_FILE
        n_bytes = path.stat().st_size
        if (self._index.nlist, self._index.code_size) != (n_lists, code_bytes):
            raise ValueError(f"{FAISS_FILE} is of another structure than {self.structure.name}")
        if sizes.shape != (n_lists,) or int(sizes.sum()) != self._n_vectors:
            raise ValueError(f"{SIZES_FILE} does not describe {self._n_vectors} vectors")
        if n_bytes != self._n_vectors * (code_bytes + ID_BYTES):
            raise ValueError(f"{LISTS_FILE} has {n_bytes} bytes")
        lists: Any = faiss.OnDiskInvertedLists(n_lists, code_bytes, str(path))
        lists.read_only = True
        lists.prefetch_nthread = 0  # threads started anew by every search cost more than they read
        lists.set_all_lists_sizes(faiss.swig_ptr(np.ascontiguousarray(sizes, dtype=np.uint64)))
        lists.totsize = n_bytes
        lists.do_mmap()
        self._index.replace_invlists(lists, True)
        lists.this.disown()  # the index owns them now
        self._index.ntotal = self._n_vectors
        self.sizes = sizes.astype(np.int64)

    def __len__(self) -> int:
        return self._n_vectors

    @property
    def most_effort(self) -> int:
        """The effort with which everything is looked at, or nearly so for a graph."""
        return self.structure.n_lists or self._n_vectors

    def select(self, allowed: Flags) -> Selection:
        """What a search with a filter needs, for vectors allowed, shape (len(self),)."""
        counts = None
        if self.structure.has_cells:
            cells = self._cells[allowed]
            counts = np.bincount(cells, minlength=self.structure.n_lists).astype(np.int64)
            if len(counts) != self.structure.n_lists:
                raise _damaged(self._folder, f"{CELLS_FILE} names cells that are not there")
        bits = np.packbits(allowed, bitorder="little")
        return Selection(bits, int(np.count_nonzero(allowed)), counts)

    def search(
        self, queries: Rows, n: int, effort: int, selection: Selection | None = None
    ) -> Positions:
        """Candidates for each query, best first by their codes, -1 where there are no more.

        Args:
            queries: unit rows, float32, shape (n_queries, width).
            n: candidates a query.
            effort: cells that a query visits, of those with allowed vectors; in a graph, how
                many vectors it keeps in view.
            selection: which vectors may be returned, None for all.

        Returns:
            int64, shape (n_queries, n).
        """
        steps = queries if self._codec is None else self._codec.steps(queries)
        parameters = self._search_parameters(effort, selection)
        found = _with_threads(self._index.search, steps, n, params=parameters)[1]
        if found.size and found.max() >= self._n_vectors:
            raise _damaged(self._folder, f"{LISTS_FILE} names vectors that are not there")
        positions: Positions = found
        return positions

    def local_share(self, queries: Rows, effort: int, selection: Selection) -> npt.NDArray[Any]:
        """Share of allowed vectors in the cells nearest to each query, shape (n_queries,)."""
        assert selection.counts is not None
        steps = queries if self._codec is None else self._codec.steps(queries)
        effort = min(effort, self.structure.n_lists)
        cells = _with_threads(self._index.quantizer.search, steps, effort)[1]
        n_allowed = selection.counts[cells].sum(1)
        shares: npt.NDArray[Any] = n_allowed / np.maximum(self.sizes[cells].sum(1), 1)
        return shares

    def _search_parameters(self, effort: int, selection: Selection | None) -> Any:
        if selection is None and effort in self._parameters:
            return self._parameters[effort]
        vectors = None if selection is None else selection.vectors
        if self.structure.kind is StructureKind.HNSW:
            made = faiss.SearchParametersHNSW(sel=vectors, efSearch=max(effort, 1))
        else:
            how = {"sel": vectors, "nprobe": min(effort, self.structure.n_lists)}
            if selection is not None and selection.counts is not None:
                how["nprobe"] = max(1, min(effort, selection.n_cells))
                how["quantizer_params"] = selection.cells
            made = faiss.SearchParametersIVF(**how)
        if selection is None:
            self._parameters[effort] = made
        return made

    @cached_property
    def _cells(self) -> npt.NDArray[np.generic]:
        """Cell of each vector, mapped, shape (len(self),)."""
        path = self._folder / CELLS_FILE
        try:
            cells: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
        except NPY_ERRORS as error:
            raise _damaged(self._folder, str(error)) from error
        if cells.shape != (self._n_vectors,) or not np.issubdtype(cells.dtype, np.unsignedinteger):
            raise _damaged(self._folder, f"{CELLS_FILE} holds {cells.dtype} {cells.shape}")
        return np.asarray(cells)


def _with_threads(search: Callable[..., Any], queries: Rows, n: int, **how: Any) -> Any:
    """Search few queries with one thread: to wake others takes longer, most on a busy machine."""
    if len(queries) >= FEW_QUERIES:
        return search(queries, n, **how)
    n_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return search(queries, n, **how)
    finally:
        faiss.omp_set_num_threads(n_threads)


def _to_check(files: Mapping[str, FileRecord], structure: Structure) -> dict[str, FileRecord]:
    """Files whose digest is compared: all when they are small, what FAISS parses at any size."""
    if sum(record.size for record in files.values()) <= ALWAYS_CHECKED_BYTES:
        return dict(files)
    return {n: r for n, r in files.items() if n not in (LISTS_FILE, CELLS_FILE)}


def _damaged(folder: Path, cause: str) -> IndexFormatError:
    return IndexFormatError(
        f"The FAISS structure in {folder} is damaged: {cause}.",
        "Run embedder index again to restore it.",
    )
