"""What lies in an index folder and no manifest names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexes.durable import TEMPORARY_PREFIX
from indexes.layout import Layout
from indexes.manifest import Manifest
from indexes.manifest_file import named_files


@dataclass(frozen=True)
class Leftover:
    """A file or folder that is no part of an index.

    Args:
        file: its path.
        is_removed: whether the next run that writes removes it, once nobody reads it any more.
    """

    file: str
    is_removed: bool


def find_leftovers(layout: Layout, manifest: Manifest) -> Iterator[Leftover]:
    """What is left of killed runs and of earlier states, or was put there by somebody else."""
    own = {layout.manifest, layout.lock, layout.readers, *_folders(layout)}
    own |= {layout.calibration} if manifest.calibration else set()
    for path in sorted(layout.root.iterdir()):
        if path not in own:
            yield Leftover(str(path), path.name.startswith(TEMPORARY_PREFIX))
    used = manifest.file_names()
    for folder in _folders(layout):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in used[folder.name]:
                yield Leftover(str(path), is_removed=True)
    for folder, records in named_files(layout, manifest):
        if folder.parent in (layout.segments, layout.ann, layout.senses) and folder.is_dir():
            for path in sorted(folder.iterdir()):
                if path.name not in records:
                    yield Leftover(str(path), is_removed=False)


def _folders(layout: Layout) -> tuple[Path, Path, Path, Path]:
    return layout.segments, layout.ann, layout.senses, layout.deleted
