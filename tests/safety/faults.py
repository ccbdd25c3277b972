"""Faults in the system's calls that change an index: counted, and made to happen at one of them.

Installed in a process of its own before the command line runs there. An index is written only
through Python's `os`, so what is wrapped here is all that a crash or a full disk can interrupt;
what is written past it is noticed while the calls are counted.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any


class Kind(StrEnum):
    """What happens at the chosen call."""

    RECORD = "record"
    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"
    KILL_HALFWAY = "kill halfway"
    NO_SPACE = "ENOSPC"
    NO_SPACE_FROM_NOW_ON = "ENOSPC from then on"
    IO_ERROR = "EIO"
    INTERRUPT = "Ctrl-C"


ON_A_HANDLE = ("write", "pwrite", "ftruncate", "fsync", "fdatasync", "posix_fallocate", "fchmod")
ON_A_PATH = ("mkdir", "rmdir", "unlink", "remove", "truncate", "chmod", "utime")
ON_TWO_PATHS = ("rename", "replace", "link", "symlink")
NEEDS_ROOM = frozenset({"write", "pwrite", "ftruncate", "mkdir", "open", "posix_fallocate"})
WRITES = frozenset({"write", "pwrite"})
FLAGS_THAT_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Faults:
    """Wraps the calls that change files under a folder.

    Args:
        folder: the folder; it need not be there yet.
        kind: what happens.
        at: number of the call at which it happens, from 1.
        report: handle of a file for one JSON line a recorded call, or one for the fault.
    """

    def __init__(self, folder: Path, kind: Kind, at: int, report: int) -> None:
        self._folder = os.path.abspath(folder)  # noqa: PTH100 - the folder may not be there yet
        self._kind, self._at, self._report = kind, at, report
        self._n = 0
        self._write = os.write
        self._inside = threading.local()

    def install(self) -> None:
        """Put the wrappers in place, for the rest of this process."""
        for name in ON_A_HANDLE:
            self._wrap(name, lambda handle, *_, **__: _handle_path(handle))
        for name in ON_A_PATH:
            self._wrap(name, lambda path, *_, dir_fd=None, **__: _path(path, dir_fd))
        for name in ON_TWO_PATHS:
            self._wrap(name, lambda _, path, *__, **___: _path(path, None))
        self._wrap("open", _created_path)
        if self._kind is Kind.RECORD:
            sys.addaudithook(self._notice)

    def _wrap(self, name: str, path_of: Callable[..., str | None]) -> None:
        real = getattr(os, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            path = path_of(*arguments, **named)
            if path is None or not self._is_ours(path) or hasattr(self._inside, "call"):
                return real(*arguments, **named)
            self._inside.call = name
            try:
                return self._call(name, path, real, arguments, named)
            finally:
                del self._inside.call

        setattr(os, name, wrapped)

    def _is_ours(self, path: str) -> bool:
        return path == self._folder or path.startswith(self._folder + os.sep)

    def _call(
        self,
        name: str,
        path: str,
        real: Callable[..., Any],
        arguments: tuple[Any, ...],
        named: dict[str, Any],
    ) -> Any:
        self._n += 1
        if self._kind is Kind.RECORD:
            return self._record(name, path, real, arguments, named)
        stays_full = self._kind is Kind.NO_SPACE_FROM_NOW_ON and name in NEEDS_ROOM
        if self._n != self._at and not (stays_full and self._n > self._at):
            return real(*arguments, **named)
        self._tell(name, path)
        if self._kind in (Kind.NO_SPACE, Kind.NO_SPACE_FROM_NOW_ON):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._kind is Kind.IO_ERROR:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self._kind is Kind.INTERRUPT:
            os.kill(os.getpid(), signal.SIGINT)
            return real(*arguments, **named)
        if self._kind is Kind.KILL_HALFWAY:
            content = memoryview(arguments[1]).cast("B")
            real(arguments[0], content[: len(content) // 2], *arguments[2:])
        if self._kind is Kind.KILL_AFTER:
            with contextlib.suppress(OSError):  # making a folder that is there, say
                real(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not killed")

    def _record(
        self,
        name: str,
        path: str,
        real: Callable[..., Any],
        arguments: tuple[Any, ...],
        named: dict[str, Any],
    ) -> Any:
        """Let it happen, and tell all that a model of the disk has to know of it."""
        more: dict[str, Any] = {}
        if name in WRITES:
            at = arguments[2] if name == "pwrite" else os.lseek(arguments[0], 0, os.SEEK_CUR)
            more["offset"] = at
        try:
            result = real(*arguments, **named)
        except OSError as error:
            self._tell(name, path, {"failed": error.errno})
            raise
        if name == "open":
            more |= {"inode": os.fstat(result).st_ino, "truncates": bool(arguments[1] & os.O_TRUNC)}
        elif name in WRITES:
            content = memoryview(arguments[1]).cast("B")[:result]
            more |= {"inode": os.fstat(arguments[0]).st_ino}
            more |= {"content": base64.b64encode(content).decode()}
        elif name == "ftruncate":
            more["size"] = arguments[1]
        elif name in ON_TWO_PATHS:
            more["from"] = os.path.relpath(_path(arguments[0]), self._folder)
        self._tell(name, path, more)
        return result

    def _tell(self, name: str, path: str, more: dict[str, Any] | None = None) -> None:
        relative = os.path.relpath(path, self._folder)
        values: dict[str, Any] = {"n": self._n, "name": name, "path": relative, **(more or {})}
        self._write(self._report, (json.dumps(values) + "\n").encode())

    def _notice(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See what is opened for writing and is none of the wrapped calls."""
        if event != "open" or hasattr(self._inside, "call"):
            return
        path, _, flags = arguments
        if isinstance(path, int) or not flags & FLAGS_THAT_WRITE or not self._is_ours(_path(path)):
            return
        values = {"n": 0, "name": "past", "path": os.fspath(path)}
        self._write(self._report, (json.dumps(values) + "\n").encode())


def _handle_path(handle: int) -> str | None:
    try:
        return os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115 - not to be resolved further
    except OSError:
        return None


def _path(path: Any, dir_fd: int | None = None) -> str:
    folder = _handle_path(dir_fd) if dir_fd is not None else None
    name = os.fsdecode(path)
    return os.path.abspath(os.path.join(folder or "", name))  # noqa: PTH100, PTH118


def _created_path(path: Any, flags: int, *_: Any, dir_fd: int | None = None, **__: Any) -> str:
    return _path(path, dir_fd) if flags & os.O_CREAT else ""
