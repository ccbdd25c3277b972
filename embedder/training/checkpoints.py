"""Checkpoints of a training: the newest whole one, and nothing that a crash left half written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from embedder.errors import cause_of

WHOLE_FILE = "whole.json"
"""Written last, when all else of a checkpoint is on disk."""

_NAME = re.compile(r"checkpoint-(\d+)")


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Give errors of libraries that write files the kind that the system gives them.

    Raises:
        OSError: one of them failed.
    """
    try:
        yield
    except (RuntimeError, SafetensorError) as error:  # the former is PyTorch's, for anything
        of_file = ("PytorchStreamWriter", "inline_container")
        if isinstance(error, RuntimeError) and not any(name in str(error) for name in of_file):
            raise
        raise OSError(errno.EIO, cause_of(error)) from error


def find_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in a folder."""
    whole = [step for step in _steps(folder) if (_path(folder, step) / WHOLE_FILE).is_file()]
    return _path(folder, max(whole)) if whole else None


def checkpoint_step(checkpoint: Path) -> int:
    """The step that a checkpoint was written after."""
    return int(checkpoint.name.rpartition("-")[2])


def finish_checkpoint(folder: Path, step: int, *, seconds: float) -> None:
    """Say that a checkpoint is whole, when it is on disk.

    Args:
        folder: where the checkpoints of a run are.
        step: its step.
        seconds: how long the run has taken so far.
    """
    path = _path(folder, step)
    sync_all(path)
    write_json(path / WHOLE_FILE, {"seconds": seconds})
    _sync(folder)


def write_json(path: Path, content: Any) -> None:
    """Write a file that is there whole, whatever happens, or as it was."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(content), "utf-8")
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def sync_all(folder: Path) -> None:
    """Bring all of a folder to disk, so that it can be named as done."""
    for path in (*sorted(folder.rglob("*")), folder):
        _sync(path)


def remove_others(folder: Path, kept: set[int | None]) -> None:
    """Delete all checkpoints but those of some steps."""
    for step in _steps(folder) - kept:
        shutil.rmtree(_path(folder, step), ignore_errors=True)


def read_seconds(checkpoint: Path | None) -> float:
    """How long the run had taken at a checkpoint."""
    if checkpoint is None:
        return 0.0
    return float(json.loads((checkpoint / WHOLE_FILE).read_text("utf-8"))["seconds"])


def _steps(folder: Path) -> set[int]:
    matches = (_NAME.fullmatch(path.name) for path in folder.glob("checkpoint-*"))
    return {int(match[1]) for match in matches if match}


def _path(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step}"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
