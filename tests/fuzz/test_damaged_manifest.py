"""Damaged manifests: the state that was written, or one clear error."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import commit, unit_rows, write_segment

from embedder.errors import EmbedderError
from embedder.specs import digest_of
from indexes.durable import FileRecord
from indexes.layout import Layout
from indexes.manifest import (
    DeletionRecord,
    Effort,
    GenerationRecord,
    HistoryEntry,
    Manifest,
    SourceRecord,
)
from indexes.manifest_file import read_manifest

FILE = FileRecord(10, "ab" * 32)
GENERATION = GenerationRecord(
    id="g",
    structure="Flat",
    segments=("s0", "s1"),
    sizes=(5, 5),
    n_lists=4,
    efforts=(Effort(share=1.0, n_probe=2, depth=3, recall=0.9),),
    memory=100,
    latency_ms=1.5,
    files={"index.faiss": FILE},
)
RUN = HistoryEntry(
    number=1, at=1, command="index", n_added=9, n_removed=0, n_documents=9, n_segments=2
)
VALUES = [
    *(None, True, False, 0, -1, 1.5, 2**70, "", "x", "\0", "../..", "\ud800"),
    *([], [1], [[]], {}, {"a": 1}, {"size": "7", "sha256": 5}),
]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An index that has one of everything that a manifest can name."""
    layout = Layout(tmp_path / "an.index")
    segments = [write_segment(layout, f"s{i}", unit_rows(5)) for i in range(2)]
    deletion = DeletionRecord(name="d", file=FILE, n_documents=1, n_passages=1)
    commit(
        layout,
        [segments[0], replace(segments[1], deletion=deletion)],
        generations=(GENERATION,),
        sources=(
            SourceRecord(
                name="a.parquet", identity="local:/a.parquet", label="a.parquet", n_rows=5, size=10
            ),
        ),
        calibration=FILE,
        excluded=("x", FILE),
        history=(RUN,),
    )
    return layout


def read_damaged(layout: Layout, content: bytes) -> Manifest | None:
    """The manifest that such a file holds, None if it is refused as it should be."""
    layout.manifest.write_bytes(content)
    try:
        return read_manifest(layout)
    except EmbedderError as error:
        assert "\n" not in str(error)
        return None


@pytest.mark.slow
def test_every_flipped_byte(layout: Layout) -> None:
    """A manifest with any one byte changed is refused, or means what it did."""
    whole, content = read_manifest(layout), layout.manifest.read_bytes()
    n_refused = 0
    for place in range(len(content)):
        for change in (0x01, 0x80):
            damaged = bytearray(content)
            damaged[place] ^= change
            found = read_damaged(layout, bytes(damaged))
            assert found in (None, whole), (place, change)
            n_refused += found is None
    assert n_refused > len(content)


def test_every_length(layout: Layout) -> None:
    """A manifest that was cut off anywhere is refused, but for the newline at its end."""
    content = layout.manifest.read_bytes()
    for length in range(len(content) - 1):
        assert read_damaged(layout, content[:length]) is None, length


def test_every_field_with_every_value(layout: Layout) -> None:
    """A manifest that names its digest right and holds anything else is read or refused."""
    content = json.loads(layout.manifest.read_bytes())
    for where in places(content):
        for value in VALUES:
            read_damaged(layout, signed(changed(content, where, value)))


def test_numbers_that_are_none(layout: Layout) -> None:
    """A manifest with infinities and NaN, which Python reads from JSON, is read or refused."""
    content = json.loads(layout.manifest.read_bytes())
    for where in places(content):
        for value in (float("inf"), float("-inf"), float("nan")):
            read_damaged(layout, signed(changed(content, where, value)))


def test_every_missing_field(layout: Layout) -> None:
    """A manifest that names its digest right and lacks anything is read or refused."""
    content = json.loads(layout.manifest.read_bytes())
    n_refused = 0
    for where in places(content):
        damaged = copy.deepcopy(content)
        del inside(damaged, where[:-1])[where[-1]]
        n_refused += read_damaged(layout, signed(damaged)) is None
    assert n_refused > 50


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 4096, b"[]", b"{}", b"null", b"1", b'"format"', b"[" * 100_000]
)
def test_no_manifest_at_all(layout: Layout, content: bytes) -> None:
    """A file that holds something else is refused."""
    assert read_damaged(layout, content) is None


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a document, the digest and the document itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in items:
        if (*before, name) == ("digest",):
            continue
        yield (*before, name)
        if isinstance(inner, dict | list):
            yield from places(inner, (*before, name))


def inside(content: Any, where: tuple[Any, ...]) -> Any:
    """What lies at a place."""
    for name in where:
        content = content[name]
    return content


def changed(content: dict[str, Any], where: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy with another value at a place."""
    copied = copy.deepcopy(content)
    inside(copied, where[:-1])[where[-1]] = value
    return copied


def signed(content: dict[str, Any]) -> bytes:
    """The document with the digest that belongs to it, where it can have one."""
    body = {name: value for name, value in content.items() if name != "digest"}
    try:
        digest = digest_of(body)
    except UnicodeError:
        digest = ""
    return json.dumps({**body, "digest": digest}).encode()
