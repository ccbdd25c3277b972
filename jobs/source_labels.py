"""Labels of the files of an index, as its manifest keeps them.

A file that lies in the folder of the index, or below it, is kept relative to that folder: the two
can be moved together, and are the same wherever they lie.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from embedder.corpus import ParquetSource
from embedder.sources import LOCAL, KnownFile, Labels
from indexes.layout import Layout
from indexes.manifest import Manifest, SourceRecord


def read_labels(layout: Layout, before: Manifest | None, *, are_kept: bool) -> Labels:
    """Labels that files have in an index.

    Args:
        layout: the index.
        before: its committed state, None for a new one.
        are_kept: whether files that are not named now keep theirs.
    """
    sources = before.sources if before else ()
    known = {
        _absolute(source.identity, layout): KnownFile(source.label, source.size)
        for source in sources
    }
    return Labels(known, are_kept)


def source_records(
    layout: Layout,
    sources: Sequence[ParquetSource],
    before: Sequence[SourceRecord],
    *,
    are_kept: bool,
) -> tuple[SourceRecord, ...]:
    """What a manifest keeps of the files named now, after those of earlier runs that stay.

    Args:
        layout: the index.
        sources: the files named now.
        before: those of earlier runs; where one is the same, it is kept as it was named then.
        are_kept: whether files that are not named now stay.
    """
    old = {source.identity: source for source in before}
    found = []
    for source in sources:
        record = SourceRecord(
            name=source.file.name,
            identity=_stored(source.file.identity, layout),
            label=source.file.label,
            n_rows=source.metadata.num_rows,
            size=source.stamp[0],
        )
        earlier = old.get(record.identity)
        same = (record.label, record.n_rows, record.size)
        is_same = earlier and (earlier.label, earlier.n_rows, earlier.size) == same
        found.append(earlier if earlier and is_same else record)
    labels = {record.label for record in found}
    kept = [source for source in before if source.label not in labels] if are_kept else []
    return (*kept, *found)


def _stored(identity: str, layout: Layout) -> str:
    kind, _, path = identity.partition(":")
    folder = _folder(layout)
    if kind == LOCAL and path.startswith(f"{folder}/"):
        return f"{kind}:{path.removeprefix(f'{folder}/')}"
    return identity


def _absolute(identity: str, layout: Layout) -> str:
    kind, _, path = identity.partition(":")
    return f"{kind}:{_folder(layout)}/{path}" if kind == LOCAL and path[:1] != "/" else identity


def _folder(layout: Layout) -> str:
    """The folder that an index lies in."""
    return Path(os.path.abspath(layout.root)).parent.as_posix().rstrip("/")  # noqa: PTH100
