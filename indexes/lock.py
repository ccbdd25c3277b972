"""One writer at a time, and nothing deleted that a reader has open: advisory locks.

The kernel releases a lock when its holder ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from embedder.errors import IndexLockedError


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock file while the body runs.

    The kernel releases the lock when its holder ends, however it ends, so a dead writer blocks
    nobody.

    Raises:
        IndexLockedError: another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 200).decode("utf-8", "replace").strip() or "another process"
            raise IndexLockedError(
                f"{path.parent} is being written by {holder}.", "Wait until it has finished."
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


@contextlib.contextmanager
def hold_open(path: Path) -> Iterator[None]:
    """Keep writers from deleting what the body reads; they may add and commit meanwhile."""
    with contextlib.ExitStack() as held:
        # Copied without the file, or on a file system without locks: then nothing is held.
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            held.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def try_alone(path: Path) -> Iterator[bool]:
    """Whether nobody reads; while the body runs, nobody starts to."""
    handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
