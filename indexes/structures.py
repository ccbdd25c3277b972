"""Which FAISS structures there are, what each needs in memory, which one a contract asks for.

The memory of a contract bounds what building adds to the process (`building_bytes`), and it is what
searching may keep in memory (`cached_bytes`). Inverted lists are mapped files, which the system can
drop from memory at any time: a search needs only their centroids and sizes (`needed_bytes`), but it
is fast only while the codes stay in memory too. So codes that fit come first, and lists that would
be read from the disk last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from embedder.errors import IndexFormatError, RequestError
from indexes.manifest import Contract, StructureKind

EXACT_LIMIT = 200_000
"""Up to so many vectors a scan is exact and takes a few milliseconds."""

ALWAYS_EXACT = 2_000
"""So few vectors are scanned whatever is asked for; nothing can be trained on them."""

GRAPH_DEGREE = 32
ID_BYTES = 8
LIST_BYTES = 24
"""What FAISS keeps of a mapped inverted list: its size, capacity and offset."""

ROWS_PER_LIST = 50
LEAST_ROWS_PER_LIST = 20
MAX_TRAINING_ROWS = 262_144
LEAST_TRAINING_ROWS = 16_384
BLOCK_ROWS = 4_096
MATRIX_PRODUCT_BYTES = 16 << 20
"""Distances of one block of vectors to one block of others, as FAISS cuts them."""

BASE_BYTES = 24 << 20
"""Everything that does not grow with the corpus: queries, true neighbours, BLAS, the allocator."""

WRITE_BYTES = 64 << 20
"""Codes that are gathered before they are written to their lists, if memory permits."""


_ENDINGS = {
    StructureKind.FLAT: "SQfp16",
    StructureKind.SQ8: "SQ8_direct",
    StructureKind.HNSW: f"HNSW{GRAPH_DEGREE},SQ8_direct",
    StructureKind.IVF_FP16: "SQfp16",
    StructureKind.IVF_SQ8: "SQ8_direct",
    StructureKind.IVF_PQ: "PQ",
    StructureKind.IVF_RABITQ: "RaBitQ",
}
_WITH_BYTES = (StructureKind.SQ8, StructureKind.HNSW, StructureKind.IVF_SQ8)


@dataclass(frozen=True)
class Structure:
    """One FAISS structure.

    Args:
        kind: what it is; not AUTO.
        width: components of a vector.
        n_lists: inverted lists; a scan is one list, a graph has none.
    """

    kind: StructureKind
    width: int
    n_lists: int

    @property
    def name(self) -> str:
        """As FAISS's factory names it."""
        ending = _ENDINGS[self.kind]
        if self.kind is StructureKind.IVF_PQ:
            ending = f"PQ{self.n_parts}"
        return f"IVF{self.n_lists},{ending}" if self.has_cells else ending

    @property
    def has_cells(self) -> bool:
        """Whether the lists are the cells of a clustering."""
        return self.kind.name.startswith("IVF")

    @property
    def has_bytes(self) -> bool:
        """Whether a vector is one byte a component."""
        return self.kind in _WITH_BYTES

    @property
    def is_exact(self) -> bool:
        """Whether the best candidates are the nearest vectors without any measurement."""
        return self.kind is StructureKind.FLAT

    @property
    def n_parts(self) -> int:
        """Parts into which product quantisation cuts a vector, about four components each."""
        return max(n for n in range(1, max(2, self.width // 4 + 1)) if self.width % n == 0)

    @property
    def code_bytes(self) -> int:
        """Bytes of one vector."""
        if self.kind in (StructureKind.FLAT, StructureKind.IVF_FP16):
            return 2 * self.width
        if self.kind is StructureKind.IVF_PQ:
            return self.n_parts
        if self.kind is StructureKind.IVF_RABITQ:
            return math.ceil(self.width / 8) + 8  # with its length and a correction
        return self.width

    def needed_bytes(self, n_vectors: int) -> int:
        """What must stay in memory while searching; mapped lists are not among it."""
        if self.kind is StructureKind.HNSW:
            return n_vectors * (self.code_bytes + (2 * GRAPH_DEGREE + 2) * 4 + 24)
        centroid = self.width if self.has_bytes else 2 * self.width
        return self.n_lists * (centroid + LIST_BYTES)

    def cached_bytes(self, n_vectors: int) -> int:
        """What should stay in memory for searches not to read from the disk."""
        if self.kind is StructureKind.HNSW:
            return self.needed_bytes(n_vectors)
        return self.needed_bytes(n_vectors) + n_vectors * (self.code_bytes + ID_BYTES)

    def building_bytes(self, n_vectors: int) -> int:
        """Most memory that building takes, beyond what the process holds before."""
        rows = min(n_vectors, BLOCK_ROWS)
        block = rows * self.width * (2 + 4 + 4 + 4)  # read, as float32, its codes, in flight
        fixed = BASE_BYTES + block
        if self.kind is StructureKind.HNSW:
            return fixed + 2 * self.needed_bytes(n_vectors)  # it grows by doubling
        centroids = 3 * 4 * self.width * self.n_lists
        sampled = 5 * self.width * self.training_rows(n_vectors)  # and k-means' own arrays
        return fixed + MATRIX_PRODUCT_BYTES + centroids + max(4 * n_vectors, sampled)

    def training_rows(self, n_vectors: int) -> int:
        """Vectors on which cells and codes are trained."""
        if self.is_exact:
            return 0
        wanted = min(ROWS_PER_LIST * self.n_lists, MAX_TRAINING_ROWS)
        wanted = max(wanted, LEAST_ROWS_PER_LIST * self.n_lists, LEAST_TRAINING_ROWS)
        return min(n_vectors, wanted)


def read_structure(name: str, n_lists: int, width: int) -> Structure:
    """The structure that the manifest names.

    Raises:
        IndexFormatError: this version knows no such structure.
    """
    ending = re.sub(r"^IVF\d+,|(?<=^IVF)\d+|(?<=PQ)\d+$", "", name)
    has_cells = name.startswith("IVF")
    for kind, own in _ENDINGS.items():
        if own == ending and kind.name.startswith("IVF") == has_cells:
            return Structure(kind, width, n_lists)
    raise IndexFormatError(
        f"The index has a FAISS structure {name!r}, which this version does not know.",
        "Update embedder, or remove the folder of the index and run embedder index again.",
    )


def make_structure(kind: StructureKind, n_vectors: int, width: int, memory: int) -> Structure:
    """A structure of some kind with as many lists as the vectors ask for and memory permits.

    Two lists for each of the square root of the vectors' number: with bytes a query then spends
    about as much on choosing lists as on looking into them.
    """
    if kind is StructureKind.HNSW:
        return Structure(kind, width, 0)
    if kind in (StructureKind.FLAT, StructureKind.SQ8):
        return Structure(kind, width, 1)
    n_lists = max(1, round(2 * math.sqrt(n_vectors)))
    least = max(1, n_lists // 8)
    while n_lists > least and Structure(kind, width, n_lists).building_bytes(n_vectors) > memory:
        n_lists = max(least, n_lists * 3 // 4)
    return Structure(kind, width, n_lists)


def choose_structures(
    n_vectors: int,
    width: int,
    contract: Contract,
    *,
    exact_limit: int = EXACT_LIMIT,
) -> list[Structure]:
    """The structures to try, in this order, until one meets the contract.

    First those whose codes fit into memory, then lists that are read from the disk.

    Raises:
        RequestError: none can be built in the memory, or be exact where that is asked for.
    """
    kind = StructureKind.FLAT if n_vectors <= ALWAYS_EXACT else contract.structure
    wanted = [kind] if kind is not StructureKind.AUTO else list(_suitable(n_vectors, exact_limit))
    if contract.recall >= 1:
        wanted = [StructureKind.FLAT] if kind is StructureKind.AUTO else wanted
    made = [make_structure(each, n_vectors, width, contract.memory) for each in wanted]
    fitting = [s for s in made if s.cached_bytes(n_vectors) <= contract.memory]
    if kind is StructureKind.AUTO and contract.recall < 1:
        fitting += [s for s in made if s.kind is StructureKind.IVF_SQ8 and s not in fitting]
    elif kind not in (StructureKind.AUTO, StructureKind.HNSW, StructureKind.FLAT):
        fitting = made
    buildable = [s for s in fitting if s.building_bytes(n_vectors) <= contract.memory]
    if not buildable:
        raise _too_little(made, n_vectors, contract)
    return buildable


def _suitable(n_vectors: int, exact_limit: int) -> Iterator[StructureKind]:
    """Kinds from the best to the smallest; graphs only on request.

    On clustered vectors a graph's recall stays low at any effort, and building one in the same
    order every time takes one thread.
    """
    if n_vectors <= exact_limit:
        yield from (StructureKind.FLAT, StructureKind.SQ8)
    yield from (StructureKind.IVF_SQ8, StructureKind.IVF_PQ, StructureKind.IVF_RABITQ)


def _too_little(made: list[Structure], n_vectors: int, contract: Contract) -> RequestError:
    needs = {
        s: max(s.building_bytes(n_vectors), s.cached_bytes(n_vectors) if s.is_exact else 0)
        for s in made
    }
    least = min(needs, key=lambda s: needs[s])
    exact = " An exact structure was asked for (recall 1)." if contract.recall >= 1 else ""
    return RequestError(
        f"{n_vectors:,} vectors of {least.width} components with {least.name} need "
        f"{megabytes(needs[least])} MiB of memory, and {contract.memory / (1 << 20):.4g} MiB are "
        f"allowed.{exact}",
        f"Allow --memory {megabytes(needs[least])}M or more"
        + (", or ask for a recall below 1." if contract.recall >= 1 else "."),
    )


def megabytes(n_bytes: int) -> int:
    """Bytes in the M of `--memory`, which are MiB, rounded up."""
    return math.ceil(n_bytes / (1 << 20))
