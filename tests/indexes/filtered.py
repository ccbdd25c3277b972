"""A small index to filter, and what a filter of it comes to."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from synthetic import commit, unit_rows, write_segment

from embedder.errors import FilterError
from indexes.layout import Layout
from indexes.metadata import MetadataStore


def make_layout(folder: Path) -> Layout:
    """Two segments of 50 documents with numbers, names and lists."""
    layout = Layout(folder / "an.index")
    table = pa.table(
        {
            "n": list(range(100)),
            "name": [f"it's {i}" for i in range(100)],
            "items": [[i, i + 1] for i in range(100)],
        }
    )
    records = [
        write_segment(layout, f"s{i}", unit_rows(50), metadata=table.slice(50 * i, 50))
        for i in range(2)
    ]
    commit(layout, records, metadata=("n", "name", "items"))
    return layout


def allowed(store: MetadataStore, where: str) -> list[int]:
    """Numbers of the documents that a filter allows."""
    return [int(i) for i in store.allowed_documents(where).nonzero()[0]]


def refused(store: MetadataStore, where: str) -> str:
    """The message with which a filter is refused: one line of bounded length."""
    with pytest.raises(FilterError) as caught:
        store.allowed_documents(where)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1500
    return message
