"""Building one generation: choose a structure, train, write, and find the effort it needs."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.errors import IndexFormatError, RequestError
from embedder.specs import digest_of
from embedder.vectors import HalfRows, Rows, check_unit_rows
from indexes.durable import publish_folder, temporary_beside
from indexes.faiss_builder import Cells, Trained, train, write_graph, write_lists
from indexes.faiss_index import FaissIndex
from indexes.held_out import (
    MOST_FILTERED_QUERIES,
    TrueNeighbours,
    blurred,
    n_queries,
    tuned_filters,
)
from indexes.layout import Layout
from indexes.manifest import Contract, Effort, GenerationRecord, SegmentRecord, StructureKind
from indexes.problems import REBUILD
from indexes.segments import iterate_vectors
from indexes.stored_rows import widened
from indexes.structures import (
    BLOCK_ROWS,
    EXACT_LIMIT,
    WRITE_BYTES,
    Structure,
    choose_structures,
    megabytes,
)
from indexes.tuning import is_worth_it, latency_ms, tune

SAMPLE_SEED = 1729
QUERY_SEED = 271
REPRODUCIBLE_VARIABLE = "SOURCE_DATE_EPOCH"
"""When it is set, nothing that depends on the clock is recorded."""

Progress = Callable[[int, int], None]
"""Told of the vectors done and of all to do, counting every pass over them."""


def build_generation(
    layout: Layout,
    segments: Sequence[SegmentRecord],
    width: int,
    contract: Contract,
    *,
    exact_limit: int = EXACT_LIMIT,
    progress: Progress | None = None,
) -> GenerationRecord:
    """Build the FAISS structure over some segments, in their order.

    The same segments and contract give the same files, byte for byte.

    Args:
        layout: the index.
        segments: what to cover.
        width: components of a vector.
        contract: what the structure promises.
        exact_limit: most vectors for which it is exact.
        progress: called after every block of vectors.

    Raises:
        RequestError: the contract cannot be met; the message says what can.
        IndexFormatError: stored vectors are damaged.
    """
    n_vectors = sum(segment.n_passages for segment in segments)
    made = choose_structures(
        n_vectors,
        width,
        contract,
        exact_limit=exact_limit,
    )
    reached: list[tuple[Structure, float]] = []
    for each in made:
        corpus = _Corpus(layout, tuple(segments), width, progress)
        record = _build(corpus, each, contract, reached)
        if record is not None:
            return record
    raise _unreached(reached, n_vectors, contract)


@dataclass(frozen=True)
class _Corpus:
    """All vectors of some segments, in order."""

    layout: Layout
    segments: tuple[SegmentRecord, ...]
    width: int
    progress: Progress | None

    def __len__(self) -> int:
        return sum(segment.n_passages for segment in self.segments)

    def half_blocks(self) -> Iterator[HalfRows]:
        """As stored, a block at a time; small segments share a block."""
        waiting: list[HalfRows] = []
        n_waiting = 0
        for segment in self.segments:
            for rows in iterate_vectors(self.layout, segment, self.width, BLOCK_ROWS):
                if n_waiting + len(rows) > BLOCK_ROWS:
                    yield np.concatenate(waiting)
                    waiting, n_waiting = [], 0
                waiting.append(rows)
                n_waiting += len(rows)
        if waiting:
            yield np.concatenate(waiting)

    def blocks(self, part: int, n_parts: int) -> Iterator[Rows]:
        """As checked float32 rows; this is pass number `part` over them, of `n_parts`."""
        n_done = part * len(self)
        for half in self.half_blocks():
            yield checked(widened(half))
            n_done += len(half)
            if self.progress is not None:
                self.progress(n_done, n_parts * len(self))

    def rows(self, *chosen: npt.NDArray[np.int64]) -> list[Rows]:
        """Some rows by their ascending numbers, for each list of numbers, in one pass."""
        found = [np.empty((len(numbers), self.width), dtype=np.float32) for numbers in chosen]
        first = 0
        for block in self.half_blocks():
            for numbers, rows in zip(chosen, found, strict=True):
                low, high = np.searchsorted(numbers, [first, first + len(block)])
                rows[low:high] = block[numbers[low:high] - first]
            first += len(block)
        return found


def checked(rows: Rows) -> Rows:
    """The rows; FAISS accepts NaN and then never returns it, so look first."""
    try:
        check_unit_rows(rows)
    except ValueError as error:
        raise IndexFormatError(f"Stored vectors are damaged: {error}.", REBUILD) from error
    return rows


def _build(
    corpus: _Corpus,
    structure: Structure,
    contract: Contract,
    reached: list[tuple[Structure, float]],
) -> GenerationRecord | None:
    """Build and tune one structure; None if it misses the recall, which `reached` then has."""
    ids = tuple(segment.id for segment in corpus.segments)
    key = [structure.name, corpus.width, ids, contract.recall, contract.memory]
    generation_id = digest_of(key)[:32]
    final = corpus.layout.generation(generation_id)
    with _fresh_folder(temporary_beside(final)) as folder:
        neighbours = _write(corpus, structure, contract, folder)
        efforts, latency_ms = _tune(structure, len(corpus), contract, neighbours, folder, reached)
        if not structure.is_exact and not efforts:
            return None
        files = publish_folder(folder, final)
    return GenerationRecord(
        id=generation_id,
        structure=structure.name,
        segments=ids,
        sizes=tuple(segment.n_passages for segment in corpus.segments),
        n_lists=structure.n_lists,
        efforts=efforts,
        memory=structure.cached_bytes(len(corpus)),
        latency_ms=latency_ms,
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


def _write(
    corpus: _Corpus, structure: Structure, contract: Contract, folder: Path
) -> list[TrueNeighbours]:
    """Train, write all files, and find the true neighbours of the held-out vectors meanwhile."""
    trained, neighbours = _train(corpus, structure)
    cells = np.empty(len(corpus), dtype=np.uint16 if structure.n_lists < 1 << 16 else np.uint32)
    n_passes = 1 if structure.is_exact else 2
    if not structure.is_exact:
        _survey(corpus.blocks(0, n_passes), trained, neighbours, cells)
    else:
        cells[:] = 0
    last_pass = corpus.blocks(n_passes - 1, n_passes)
    if structure.kind is StructureKind.HNSW:
        write_graph(trained, last_pass, folder)
    else:
        left = contract.memory - structure.building_bytes(len(corpus))
        write_lists(trained, cells, last_pass, folder, min(WRITE_BYTES, max(0, left // 2)))
    return neighbours


def _train(corpus: _Corpus, structure: Structure) -> tuple[Trained, list[TrueNeighbours]]:
    """A trained structure, and the held-out vectors, one set for each filter."""
    n = len(corpus)
    if structure.is_exact:
        return train(structure, np.empty((0, corpus.width), dtype=np.float32)), []
    held_out = spread_numbers(n, n_queries(n), QUERY_SEED)
    chosen = np.setdiff1d(spread_numbers(n, structure.training_rows(n), SAMPLE_SEED), held_out)
    sample, queries = map(checked, corpus.rows(chosen, held_out))
    if structure.kind is StructureKind.HNSW:
        queries = blurred(queries)
    few = queries[:: max(1, len(queries) // MOST_FILTERED_QUERIES)]
    neighbours = [
        TrueNeighbours(queries if selected.share == 1 else few, selected)
        for selected in tuned_filters(n)
    ]
    return train(structure, sample), neighbours


def spread_numbers(n: int, n_chosen: int, seed: int) -> npt.NDArray[np.int64]:
    """Numbers below n, ascending, each as likely as any other: one from each equal part."""
    random = np.random.default_rng(seed)
    if n_chosen >= n:
        return np.arange(n, dtype=np.int64)
    places = (np.arange(n_chosen) + random.random(n_chosen)) * (n / max(n_chosen, 1))
    return np.minimum(places.astype(np.int64), n - 1)


def _survey(
    blocks: Iterator[Rows], trained: Trained, neighbours: list[TrueNeighbours], cells: Cells
) -> None:
    """One pass: the cell of every vector, and the true neighbours of the held-out ones."""
    first = 0
    for block in blocks:
        cells[first : first + len(block)] = trained.assign(block)
        for each in neighbours:
            each.add(block)
        first += len(block)


def _tune(
    structure: Structure,
    n_vectors: int,
    contract: Contract,
    neighbours: list[TrueNeighbours],
    folder: Path,
    reached: list[tuple[Structure, float]],
) -> tuple[tuple[Effort, ...], float | None]:
    """Efforts from no filter to the most selective for which the structure is worth asking."""
    if structure.is_exact:
        return (), None
    index = FaissIndex(folder, structure, n_vectors)
    efforts: list[Effort] = []
    for each in neighbours:
        start = efforts[-1].n_probe if efforts else 1
        outcome = tune(index, each, contract.recall, start)
        if not efforts and outcome.effort is None:
            reached.append((structure, outcome.best))
            return (), None
        if outcome.effort is None or (efforts and not is_worth_it(index, outcome.effort)):
            break
        efforts.append(outcome.effort)
    is_timed = REPRODUCIBLE_VARIABLE not in os.environ
    queries = neighbours[0].queries
    return tuple(efforts), latency_ms(index, queries, efforts[0]) if is_timed else None


def _unreached(
    reached: list[tuple[Structure, float]], n_vectors: int, contract: Contract
) -> RequestError:
    structure, best = max(reached, key=lambda found: found[1])
    wider = Structure(StructureKind.IVF_SQ8, structure.width, max(1, structure.n_lists))
    exact = Structure(StructureKind.FLAT, structure.width, 1)
    better = wider if structure.kind in (StructureKind.IVF_PQ, StructureKind.IVF_RABITQ) else exact
    return RequestError(
        f"Recall {contract.recall:g} was asked for, and {structure.name} over {n_vectors:,} "
        f"vectors reaches {int(1000 * best) / 1000:g}.",
        f"Ask for --recall {int(1000 * best) / 1000:g} or less, or for {better.name} with "
        f"--memory {megabytes(better.cached_bytes(n_vectors))}M or more.",
    )
