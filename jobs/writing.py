"""What every command that writes to an index does: take the lock, clean up, commit."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from embedder.errors import IndexFormatError, OutputError, RequestError
from indexes.durable import TEMPORARY_PREFIX, make_folder
from indexes.layout import Layout
from indexes.lock import hold_lock, try_alone
from indexes.manifest import HISTORY_LENGTH, HistoryEntry, Manifest
from indexes.manifest_file import check_index_files, read_manifest, write_manifest

CLOCK_VARIABLE = "SOURCE_DATE_EPOCH"
"""Seconds since 1970 that stand for now, so that a build can be repeated to the byte
(reproducible-builds.org)."""


@contextlib.contextmanager
def writing(layout: Layout) -> Iterator[None]:
    """Be the one writer of an index while the body runs; leftovers are removed before and after.

    Raises:
        IndexLockedError: another process is.
        OutputError: the folder cannot be written, or the disk is full.
    """
    is_new = not layout.root.exists()
    try:
        make_folder(layout.root)
        with hold_lock(layout.lock):
            try:
                clean(layout)
                yield
                clean(layout)
            finally:
                if is_new and not layout.manifest.exists():
                    shutil.rmtree(layout.root, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{layout.root} cannot be written: {error.strerror or error}.",
            "Make room or choose another folder, and run the same command again: what was "
            "committed is kept.",
        ) from error


def clean(layout: Layout) -> None:
    """Drop what no committed state needs: leftovers of killed runs and of earlier states.

    While somebody has the index open, what an earlier state needs is left for the next run.
    """
    used = read_manifest(layout).file_names() if layout.manifest.exists() else {}
    with try_alone(layout.readers) as is_alone:
        for path in _leftovers(layout):
            is_temporary = path.name.startswith(TEMPORARY_PREFIX)
            if is_temporary or (is_alone and path.name not in used.get(path.parent.name, ())):
                _remove(path)


def _leftovers(layout: Layout) -> Iterator[Path]:
    """What may be no longer needed: temporary files, segments, structures and deletions."""
    yield from layout.root.glob(f"{TEMPORARY_PREFIX}*")
    for folder in (layout.segments, layout.ann, layout.senses, layout.deleted):
        if folder.is_dir():
            yield from folder.iterdir()


def _remove(path: Path) -> None:
    """Remove a file or folder; one that cannot be removed harms nobody."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def read_whole(layout: Layout) -> Manifest:
    """The committed state of a finished index whose files are as they were written.

    Raises:
        IndexFormatError: a file is damaged.
        RequestError: a run of `embedder index` has not finished.
    """
    manifest = read_manifest(layout)
    if not manifest.is_finished:
        raise RequestError(
            f"A run of embedder index has not finished {layout.root}.", "Run it again first."
        )
    check_index_files(layout, manifest, with_digests=True)
    return manifest


def commit(
    layout: Layout, manifest: Manifest, command: str, *, n_added: int = 0, n_removed: int = 0
) -> Manifest:
    """Make a state the state of the index, with an entry in its history.

    What a run has written that has not finished is kept for it, and not counted.
    """
    seen = manifest.finished()
    number = manifest.history[-1].number + 1 if manifest.history else 1
    entry = HistoryEntry(
        number=number,
        at=_now(),
        command=command,
        n_added=n_added,
        n_removed=n_removed,
        n_documents=seen.n_documents,
        n_segments=len(seen.segments),
    )
    history = (*manifest.history, entry)[-HISTORY_LENGTH:]
    final = replace(manifest, history=history)
    write_manifest(layout, final)
    return final


def _now() -> int:
    """Seconds since 1970; for people to read, nothing depends on it."""
    fixed = os.environ.get(CLOCK_VARIABLE, "")
    return int(fixed) if fixed.isdecimal() else int(time.time())


def checked_read(layout: Layout) -> Manifest:
    """The committed state, whose deletions can be changed: at least its sizes are right."""
    manifest = read_manifest(layout)
    try:
        check_index_files(layout, manifest)
    except IndexFormatError as error:
        raise IndexFormatError(error.message, "Run embedder index again to restore it.") from error
    return manifest
