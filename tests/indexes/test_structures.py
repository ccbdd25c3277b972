"""Which FAISS structure a contract asks for, and what is said when there is none."""

from __future__ import annotations

import pytest

from embedder.errors import IndexFormatError, RequestError
from indexes.manifest import Contract, StructureKind
from indexes.structures import Structure, choose_structures, read_structure

MB = 1 << 20
WIDTH = 384


def kinds(n_vectors: int, recall: float, megabytes: int) -> list[StructureKind]:
    """The kinds that would be tried, in their order."""
    contract = Contract(recall=recall, memory=megabytes * MB)
    return [structure.kind for structure in choose_structures(n_vectors, WIDTH, contract)]


def test_few_vectors_are_scanned_exactly() -> None:
    """Up to the limit the structure is exact when memory permits, with bytes when it does not."""
    assert kinds(100_000, 0.95, 1000)[0] is StructureKind.FLAT
    assert kinds(200_000, 0.95, 140)[0] is StructureKind.SQ8


def test_many_vectors_are_put_into_lists() -> None:
    """Beyond the limit come the largest codes that fit, then bytes that are read from the disk."""
    ivf = [StructureKind.IVF_SQ8, StructureKind.IVF_PQ, StructureKind.IVF_RABITQ]
    assert kinds(1_000_000, 0.95, 4000) == ivf
    assert kinds(1_000_000, 0.95, 300) == [*ivf[1:], ivf[0]]
    assert kinds(10_000_000, 0.95, 900) == [ivf[2], ivf[0]]


def test_recall_one_is_exact_at_any_size() -> None:
    """Recall 1 is kept by an exact structure only, and refused where that does not fit."""
    assert kinds(1_000_000, 1.0, 4000) == [StructureKind.FLAT]
    with pytest.raises(RequestError, match=r"recall 1.*--memory 7\d\dM or more, or ask for a"):
        kinds(1_000_000, 1.0, 400)


def test_too_little_memory_is_refused_with_what_is_needed() -> None:
    """Where nothing can be built, the message names the memory with which something can."""
    with pytest.raises(RequestError, match=r"and 10 MiB are allowed.*Allow --memory") as caught:
        kinds(1_000_000, 0.95, 10)
    needed = int(caught.value.hint.split("--memory ")[1].split("M")[0])
    assert kinds(1_000_000, 0.95, needed)


@pytest.mark.parametrize("kind", [kind for kind in StructureKind if kind is not kind.AUTO])
def test_a_structure_is_known_by_its_name(kind: StructureKind) -> None:
    """What the manifest records of a structure gives the same structure back."""
    contract = Contract(recall=0.9, memory=1 << 40, structure=kind)
    [structure] = choose_structures(50_000, WIDTH, contract)
    assert structure.kind is kind
    assert read_structure(structure.name, structure.n_lists, WIDTH) == structure


def test_an_unknown_structure_is_refused() -> None:
    """A structure that this version does not know is refused by name."""
    with pytest.raises(IndexFormatError, match="'LSH'"):
        read_structure("LSH", 0, WIDTH)


def test_lists_give_way_to_memory() -> None:
    """With less memory there are fewer lists, and what is chosen can be built in it."""
    n_lists = []
    for megabytes in (4000, 400, 120):
        contract = Contract(recall=0.9, memory=megabytes * MB, structure=StructureKind.IVF_SQ8)
        [structure] = choose_structures(1_000_000, WIDTH, contract)
        assert structure.building_bytes(1_000_000) <= contract.memory
        n_lists.append(structure.n_lists)
    assert n_lists == sorted(n_lists, reverse=True)
    assert n_lists[0] > n_lists[-1]


def test_parts_divide_the_width() -> None:
    """Product quantisation cuts any width into equal parts of about four components."""
    for width in (1, 3, 16, 100, 384, 1023):
        structure = Structure(StructureKind.IVF_PQ, width, 1)
        assert width % structure.n_parts == 0
