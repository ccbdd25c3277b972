"""Looking into FAISS structures: each kind passes whole, and fails over other vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import WIDTH, make_manifest, unit_rows, write_segment

from indexes.durable import record_file
from indexes.faiss_check import check_generation
from indexes.generation_builder import build_generation
from indexes.layout import VECTORS_FILE, Layout
from indexes.manifest import Contract, GenerationRecord, Manifest, StructureKind

KINDS = [kind for kind in StructureKind if kind is not StructureKind.AUTO]
SIZES = (2500, 300)


def make_state(root: Path, kind: StructureKind) -> tuple[Layout, Manifest, GenerationRecord]:
    """An index of two segments with a structure of a kind over the second and the first."""
    layout = Layout(root)
    segments = [
        write_segment(layout, f"s{i}", unit_rows(n, seed=i, n_clusters=20), n_batches=3)
        for i, n in enumerate(SIZES)
    ]
    contract = Contract(recall=0.5, memory=1 << 30, structure=kind)
    record = build_generation(layout, segments[::-1], WIDTH, contract)
    return layout, replace(make_manifest(segments), generations=(record,)), record


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_holds_the_rows_of_its_segments(tmp_path: Path, kind: StructureKind) -> None:
    """A structure of any kind is whole as it was built, and is not over other rows."""
    layout, manifest, record = make_state(tmp_path, kind)
    assert list(check_generation(layout, manifest, record)) == []
    path = layout.segment("s1") / VECTORS_FILE
    rows = np.load(path)
    rows[5:8] = -rows[5:8]
    np.save(path, rows)
    [problem] = check_generation(layout, manifest, record)
    assert "3 vectors, the first is number 5: each is not the stored row" in problem.message
    assert Path(problem.file).parent == layout.generation(record.id)


def test_vectors_of_a_gone_segment_are_not_compared(tmp_path: Path) -> None:
    """Without one of its segments a structure is compared with the other alone."""
    layout, manifest, record = make_state(tmp_path, StructureKind.IVF_SQ8)
    left = replace(manifest, segments=manifest.segments[:1])
    (layout.segment("s1") / VECTORS_FILE).unlink()
    assert list(check_generation(layout, left, record)) == []
    rest = replace(manifest, segments=())
    assert list(check_generation(layout, rest, record)) == []


def test_a_structure_that_cannot_be_opened_is_one_problem(tmp_path: Path) -> None:
    """What FAISS cannot read is a problem of the structure's folder, with what to do."""
    layout, manifest, record = make_state(tmp_path, StructureKind.HNSW)
    path = layout.generation(record.id) / "index.faiss"
    path.write_bytes(path.read_bytes()[: record_file(path).size // 2])
    [problem] = check_generation(layout, manifest, record)
    assert problem.file == str(layout.generation(record.id))
    assert problem.repair == f"Remove {problem.file} and run embedder index again."
