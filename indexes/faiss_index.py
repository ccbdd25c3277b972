"""The FAISS structure: exact up to some size, then an inverted file; built in bounded memory."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFormatError
from embedder.specs import digest_of
from embedder.vectors import HalfRows, Rows, check_unit_rows
from indexes.durable import publish_folder, temporary_beside
from indexes.layout import FAISS_FILE, Layout
from indexes.manifest import GenerationRecord, SegmentRecord
from indexes.segments import iterate_vectors

EXACT_LIMIT = 200_000
"""Up to so many vectors a scan is exact and takes a few milliseconds."""

BLOCK_ROWS = 16_384
TRAINING_ROWS_PER_LIST = 40
MAX_TRAINING_ROWS = 131_072
SEED = 1729
LISTS_FILE = "lists.bin"
SIZES_FILE = "sizes.npy"
ID_BYTES = 8


@dataclass(frozen=True)
class Structure:
    """A FAISS structure and how it is searched.

    Args:
        name: FAISS's factory string.
        n_lists: inverted lists, 0 when it is flat.
        n_probe: lists that a query visits.
    """

    name: str
    n_lists: int = 0
    n_probe: int = 0

    @property
    def parameters(self) -> dict[str, int]:
        """What the manifest records."""
        return {"n_lists": self.n_lists, "n_probe": self.n_probe} if self.n_lists else {}


def choose_structure(n_vectors: int, exact_limit: int = EXACT_LIMIT) -> Structure:
    """Exact up to `exact_limit` vectors, then an inverted file of the same float16 rows.

    Lists of about half the square root of the number of vectors, of which a query visits a
    sixteenth; fewer and longer lists than FAISS's guideline, because training is what needs memory.
    """
    if n_vectors <= exact_limit:
        return Structure("SQfp16")
    n_lists = int(2 * math.sqrt(n_vectors))
    return Structure(f"IVF{n_lists},SQfp16", n_lists, max(16, n_lists // 16))


def build_generation(
    layout: Layout,
    segments: Sequence[SegmentRecord],
    width: int,
    *,
    exact_limit: int = EXACT_LIMIT,
) -> GenerationRecord:
    """Build the FAISS structure over some segments, in their order.

    Args:
        layout: the index.
        segments: what to cover.
        width: components of a vector.
        exact_limit: most vectors for which the structure is exact.
    """
    n_vectors = sum(segment.n_passages for segment in segments)
    structure = choose_structure(n_vectors, exact_limit)
    ids = tuple(segment.id for segment in segments)
    generation_id = digest_of([structure.name, structure.parameters, width, ids])[:32]
    final = layout.generation(generation_id)
    with _fresh_folder(temporary_beside(final)) as folder:
        blocks = partial(_blocks, layout, segments, width)
        if structure.n_lists:
            sample = _training_sample(blocks(), n_vectors, structure.n_lists, width)
            _build_inverted(structure, sample, blocks, folder)
        else:
            _build_flat(structure, blocks(), folder, width)
        files = publish_folder(folder, final)
    return GenerationRecord(
        id=generation_id,
        structure=structure.name,
        segments=ids,
        sizes=tuple(segment.n_passages for segment in segments),
        parameters=structure.parameters,
        files=files,
    )


@contextlib.contextmanager
def _fresh_folder(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _blocks(layout: Layout, segments: Sequence[SegmentRecord], width: int) -> Iterator[Rows]:
    """All vectors in order, float32, a block at a time; small segments share a block."""
    waiting: list[HalfRows] = []
    n_waiting = 0
    for segment in segments:
        for rows in iterate_vectors(layout, segment, width, BLOCK_ROWS):
            waiting.append(rows)
            n_waiting += len(rows)
            if n_waiting >= BLOCK_ROWS:
                yield _checked(waiting)
                waiting, n_waiting = [], 0
    if waiting:
        yield _checked(waiting)


def _checked(parts: Sequence[HalfRows]) -> Rows:
    """Parts as one float32 block; FAISS accepts NaN and then never returns it, so look first."""
    rows = np.concatenate(parts).astype(np.float32)
    try:
        check_unit_rows(rows)
    except ValueError as error:
        raise IndexFormatError(
            f"Stored vectors are damaged: {error}.", "Build the index again."
        ) from error
    return rows


def _build_flat(structure: Structure, blocks: Iterator[Rows], folder: Path, width: int) -> None:
    index = faiss.index_factory(width, structure.name, faiss.METRIC_INNER_PRODUCT)
    for block in blocks:
        index.add(block)
    _write(index, folder / FAISS_FILE)


def _write(index: faiss.Index, path: Path) -> None:
    """Through a file of our own: FAISS's reports a full disk only on stderr when it closes."""
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def _training_sample(blocks: Iterator[Rows], n_vectors: int, n_lists: int, width: int) -> Rows:
    """A uniform sample over all vectors, shape (n_sample, width)."""
    n_sample = min(n_vectors, TRAINING_ROWS_PER_LIST * n_lists, MAX_TRAINING_ROWS)
    chosen = np.random.default_rng(SEED).choice(n_vectors, n_sample, replace=False)
    chosen.sort()
    sample = np.empty((n_sample, width), dtype=np.float32)
    first = 0
    for block in blocks:
        low, high = np.searchsorted(chosen, [first, first + len(block)])
        sample[low:high] = block[chosen[low:high] - first]
        first += len(block)
    return sample


def _build_inverted(
    structure: Structure, sample: Rows, blocks: Callable[[], Iterator[Rows]], folder: Path
) -> None:
    """Train the lists, then write their contents beside the index, a block at a time.

    FAISS's own merge of inverted lists maps all their files at once. Here a first pass assigns
    the vectors to lists, which gives every list its place in one file, and a second fills it.
    """
    index = _train(structure, sample)
    _write(index, folder / FAISS_FILE)
    lists = np.concatenate(
        [index.quantizer.search(block, 1)[1][:, 0].astype(np.int32) for block in blocks()]
    )
    sizes = np.bincount(lists, minlength=structure.n_lists).astype(np.uint64)
    np.save(folder / SIZES_FILE, sizes, allow_pickle=False)
    _write_lists(folder / LISTS_FILE, lists, sizes, blocks(), int(index.code_size))


def _train(structure: Structure, sample: Rows) -> Any:
    index: Any = faiss.index_factory(sample.shape[1], structure.name, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False  # a code is the float16 row itself
    index.cp.seed = SEED
    index.train(sample)
    return index


def _write_lists(
    path: Path,
    lists: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.uint64],
    blocks: Iterator[Rows],
    code_size: int,
) -> None:
    """One list after another, each its codes and then its int64 ids, as FAISS maps them."""
    ends = np.cumsum(sizes.astype(np.int64) * (code_size + ID_BYTES))
    starts = ends - sizes.astype(np.int64) * (code_size + ID_BYTES)
    filled = np.zeros(len(sizes), dtype=np.int64)
    first = 0
    with path.open("wb") as file:
        file.truncate(int(ends[-1]))
        for block in blocks:
            codes = block.astype("<f2")
            own = lists[first : first + len(block)]
            order = np.argsort(own, kind="stable")
            found, at = np.unique(own[order], return_index=True)
            for number, rows in zip(found, np.split(order, at[1:]), strict=True):
                codes_at = int(starts[number] + filled[number] * code_size)
                ids_at = int(starts[number] + int(sizes[number]) * code_size)
                os.pwrite(file.fileno(), codes[rows].tobytes(), codes_at)
                ids = (rows + first).astype("<i8").tobytes()
                os.pwrite(file.fileno(), ids, ids_at + int(filled[number]) * ID_BYTES)
                filled[number] += len(rows)
            first += len(block)


def _open_lists(index: Any, folder: Path, record: GenerationRecord) -> None:
    """Map the file of inverted lists into an index that was written without them."""
    sizes = np.load(folder / SIZES_FILE, allow_pickle=False)
    lists: Any = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(folder / LISTS_FILE))
    n_bytes = (folder / LISTS_FILE).stat().st_size
    if sizes.shape != (index.nlist,) or int(sizes.sum()) != record.n_vectors:
        raise ValueError(f"{SIZES_FILE} does not describe {record.n_vectors} vectors")
    if n_bytes != record.n_vectors * (index.code_size + ID_BYTES):
        raise ValueError(f"{LISTS_FILE} has {n_bytes} bytes")
    lists.read_only = True
    lists.set_all_lists_sizes(faiss.swig_ptr(sizes))
    lists.totsize = n_bytes
    lists.do_mmap()
    index.replace_invlists(lists, True)
    lists.this.disown()  # the index owns them now
    index.ntotal = record.n_vectors


class FaissIndex:
    """A built structure, opened for search.

    Args:
        folder: the generation's folder.
        record: what the manifest says of it.
        width: components of a vector.

    Raises:
        IndexFormatError: the file is damaged.
    """

    def __init__(self, folder: Path, record: GenerationRecord, width: int) -> None:
        path = folder / FAISS_FILE
        try:
            self._index = faiss.read_index(str(path))
            if record.parameters:
                _open_lists(self._index, folder, record)
        except (RuntimeError, OSError, ValueError) as error:
            raise IndexFormatError(
                f"{path} is damaged.", "Run embedder index again to restore it."
            ) from error
        if self._index.ntotal != record.n_vectors or self._index.d != width:
            raise IndexFormatError(
                f"{path} holds {self._index.ntotal} vectors of width {self._index.d}, and "
                f"{record.n_vectors} of width {width} were written.",
                "Run embedder index again to restore it.",
            )
        self.structure = Structure(
            record.structure,
            record.parameters.get("n_lists", 0),
            record.parameters.get("n_probe", 0),
        )

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(
        self, queries: Rows, k: int, *, allowed: npt.NDArray[np.bool_] | None, n_probe: int = 0
    ) -> npt.NDArray[np.int64]:
        """Positions of candidates for each query, best first, -1 where there are no more.

        Args:
            queries: float32, shape (n_queries, width).
            k: candidates a query.
            allowed: which positions may be returned, shape (len(self),); None for all.
            n_probe: lists to visit instead of the recorded number.

        Returns:
            int64, shape (n_queries, k).
        """
        selector = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        if self.structure.n_lists:
            probe = min(n_probe or self.structure.n_probe, self.structure.n_lists)
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=probe)
        else:
            parameters = faiss.SearchParameters(sel=selector)
        _, positions = self._index.search(queries, k, params=parameters)
        found: npt.NDArray[np.int64] = positions
        return found
