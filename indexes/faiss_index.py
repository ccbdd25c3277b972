"""The FAISS structure: exact up to some size, then an inverted file; built in bounded memory."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
from faiss.contrib.ondisk import merge_ondisk

from embedder.errors import IndexFormatError
from embedder.specs import digest_of
from embedder.vectors import HalfRows, Rows, check_unit_rows
from indexes.durable import publish_folder, temporary_beside
from indexes.layout import FAISS_FILE, Layout
from indexes.manifest import GenerationRecord, SegmentRecord
from indexes.segments import open_vectors

EXACT_LIMIT = 200_000
"""Up to so many vectors a scan is exact and takes a few milliseconds."""

BLOCK_ROWS = 65_536
TRAINING_ROWS_PER_LIST = 40
MAX_TRAINING_ROWS = 131_072
SEED = 1729
LISTS_FILE = "lists.ivfdata"


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
    """Exact up to `exact_limit` vectors, then an inverted file of 8-bit codes.

    The number of lists follows FAISS's guideline of 4 to 16 times the square root of the number
    of vectors; candidates are scored again from the stored float16 rows.
    """
    if n_vectors <= exact_limit:
        return Structure("SQfp16")
    n_lists = int(4 * math.sqrt(n_vectors))
    return Structure(f"IVF{n_lists},SQ8", n_lists, max(16, n_lists // 16))


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
        blocks = _blocks(layout, segments, width)
        if structure.n_lists:
            sample = _training_sample(layout, segments, width, n_vectors, structure.n_lists)
            _build_inverted(structure, sample, blocks, folder, width)
        else:
            _build_flat(structure, blocks, folder, width)
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
        rows = open_vectors(layout, segment, width)
        for start in range(0, len(rows), BLOCK_ROWS):
            waiting.append(rows[start : start + BLOCK_ROWS])
            n_waiting += len(waiting[-1])
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
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:  # FAISS's way to say that the disk is full
        raise OSError(f"{path} cannot be written: {error}") from error


def _training_sample(
    layout: Layout, segments: Sequence[SegmentRecord], width: int, n_vectors: int, n_lists: int
) -> Rows:
    """A uniform sample over all segments, shape (n_sample, width)."""
    n_sample = min(n_vectors, TRAINING_ROWS_PER_LIST * n_lists, MAX_TRAINING_ROWS)
    chosen = np.random.default_rng(SEED).choice(n_vectors, n_sample, replace=False)
    chosen.sort()
    parts, first = [], 0
    for segment in segments:
        low, high = np.searchsorted(chosen, [first, first + segment.n_passages])
        if high > low:
            parts.append(open_vectors(layout, segment, width)[chosen[low:high] - first])
        first += segment.n_passages
    return _checked(parts)


def _build_inverted(
    structure: Structure, sample: Rows, blocks: Iterator[Rows], folder: Path, width: int
) -> None:
    """Train, write each block as its own file, then merge the lists on disk."""
    index = faiss.index_factory(width, structure.name, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = SEED
    index.train(sample)
    parts: list[Path] = []
    first = 0
    for block in blocks:
        part = faiss.clone_index(index)
        part.add_with_ids(block, np.arange(first, first + len(block)))
        first += len(block)
        parts.append(folder / f"part-{len(parts)}")
        _write(part, parts[-1])
    lists = folder / LISTS_FILE
    merge_ondisk(index, [str(part) for part in parts], str(lists))
    _write(index, folder / FAISS_FILE)
    for part in parts:
        part.unlink()


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
            flags = faiss.IO_FLAG_ONDISK_SAME_DIR if record.parameters else 0
            self._index = faiss.read_index(str(path), flags)
        except RuntimeError as error:
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
