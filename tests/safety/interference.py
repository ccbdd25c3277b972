"""The command line in a process where something happens to a source while it is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs.cli import main


def _vanish(source: Path, other: Path) -> None:
    source.unlink()


def _replace(source: Path, other: Path) -> None:
    beside = source.with_name("beside.parquet")
    shutil.copyfile(other, beside)
    beside.replace(source)


def _rewrite(source: Path, other: Path) -> None:
    """In place; who has it open reads the new bytes."""
    source.write_bytes(other.read_bytes())


def _cut(source: Path, other: Path) -> None:
    os.truncate(source, source.stat().st_size // 2)


def _grow(source: Path, other: Path) -> None:
    with source.open("ab") as file:
        file.write(b"more")


ACTIONS: dict[str, Callable[[Path, Path], None]] = {
    "vanishes": _vanish,
    "is replaced": _replace,
    "is rewritten": _rewrite,
    "is cut": _cut,
    "grows": _grow,
}


def run(arguments: Sequence[str]) -> None:
    """Run the command line, and do something when a row group is about to be read.

    Args:
        arguments: the name of what happens, the source, another file, the number of row groups
            begun before it happens, and then the command line's own.
    """
    action, source, other, left, *own = arguments
    n_left = int(left)
    read = pq.ParquetFile.iter_batches

    def iter_batches(self: pq.ParquetFile, *positional: Any, **named: Any) -> Any:
        nonlocal n_left
        if n_left == 0:
            ACTIONS[action](Path(source), Path(other))
        n_left -= 1
        return read(self, *positional, **named)

    pq.ParquetFile.iter_batches = iter_batches
    main(own)
