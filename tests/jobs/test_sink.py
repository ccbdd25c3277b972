"""The end of a build's stream: how often it commits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from synthetic import commit, unit_rows, write_segment

from embedder.vectors import Vectors
from indexes.deletions import NO_KEYS
from indexes.layout import Layout
from indexes.manifest import Manifest
from jobs.progress import Progress
from jobs.sink import COMMIT_SECONDS, SegmentSink
from jobs.stream import EncodedWindow

N_COMMITS = 40
WRITE_SECONDS = 0.5


def test_a_large_manifest_is_written_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing the manifest takes at most a twentieth of the time, the first and last one aside."""
    layout = Layout(tmp_path / "an.index")
    layout.root.mkdir()
    segment = write_segment(layout, "s", unit_rows(1))
    sink = SegmentSink(layout, commit(layout, []), [], [], NO_KEYS, Progress())
    clock, written = 0.0, []

    def write(layout: Layout, manifest: Manifest) -> None:
        nonlocal clock
        clock += WRITE_SECONDS
        written.append(clock)

    monkeypatch.setattr("jobs.sink.write_manifest", write)
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    monkeypatch.setattr(sink, "_committed_at", 0.0)

    def windows() -> Iterator[EncodedWindow]:
        nonlocal clock
        none = np.empty(0, dtype=np.int64)
        for _ in range(N_COMMITS):
            clock += COMMIT_SECONDS + 0.1
            sink._added.append(segment)
            yield EncodedWindow([], none, Vectors(none, unit_rows(0)), none, none)

    sink.write(windows())
    gaps = np.diff(written[:-1])
    assert len(gaps) >= 2
    assert gaps.min() >= 20 * WRITE_SECONDS
