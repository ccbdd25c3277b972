"""Discourses: documents, and stretches of long ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedder import EncoderOptions
from indexes.discourses import DISCOURSE, Discourses
from indexes.layout import Layout
from indexes.manifest_file import read_manifest
from jobs import BuildOptions, build_index


def test_passages_of_a_document_are_one_discourse_up_to_a_length(
    tmp_path: Path, tiny_model: Path
) -> None:
    """Of a short document all passages are one discourse, of a long one as many as a discourse
    has, and passages of different documents or segments never are."""
    texts = ["the green bank " * 4, "the river " * 800, "a crane", "the green bank " * 12]
    pq.write_table(pa.table({"text": texts}), tmp_path / "c.parquet", row_group_size=3)
    options = BuildOptions(
        sources=(str(tmp_path / "c.parquet"),),
        out=tmp_path / "c.index",
        encoder=EncoderOptions(model=str(tiny_model), max_tokens=16),
        senses=False,
    )
    build_index(options)
    layout = Layout(tmp_path / "c.index")
    segments = read_manifest(layout).segments
    counts = [segment.n_passages for segment in segments]
    of = Discourses(layout, segments).of
    first = of(np.zeros(counts[0], dtype=np.int64), np.arange(counts[0]))
    lengths = np.bincount(first).tolist()
    assert lengths[0] == 1 and set(lengths[1:-2]) == {DISCOURSE} and lengths[-1] == 1
    last = of(np.ones(counts[1], dtype=np.int64), np.arange(counts[1]))
    assert counts[1] > 1 and set(last.tolist()) == {0}
    both = of(np.array([0, 1]), np.array([0, 0]))
    assert both[0] != both[1]
