"""A disk that forgets what was not flushed: what may be left of a recorded run when power fails.

What a file holds is safe once the file was synced, and a folder's entries once the folder was
(fsync(2)). What was not may be there or not. Changes of one folder's entries reach the disk in
their order, as on every file system with a journal; those of different folders, and what files
hold, in any.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

Call = dict[str, Any]
Entries = dict[str, "_File | _Folder"]


@dataclass
class _File:
    content: bytes = b""
    synced: bytes = b""


@dataclass
class _Folder:
    """Entries now, and as they were after every change since the folder was synced."""

    entries: Entries = field(default_factory=dict)
    versions: list[Entries] = field(default_factory=lambda: [{}])

    def note(self) -> None:
        """Something in it has changed."""
        self.versions.append(dict(self.entries))

    def sync(self) -> None:
        """What it holds now is safe."""
        self.versions = [dict(self.entries)]


class Left(StrEnum):
    """What is left of what was not synced."""

    NOTHING = "nothing"
    ENTRIES = "entries without contents"
    CONTENTS = "contents without entries"
    SOME = "some"


class Disk:
    """A disk on which the calls of a run are played.

    Args:
        folder: what is on it, safely, before the run.
    """

    def __init__(self, folder: Path) -> None:
        self._root = _read(folder)

    def play(self, call: Call) -> None:
        """Do what a call did, in the memory that the disk has not seen."""
        if "failed" in call or call["name"] == "past":
            return
        getattr(self, f"_{call['name']}")(PurePosixPath(call["path"]), call)

    def write(self, target: Path, left: Left, chance: random.Random) -> None:
        """Make a folder of what is on the disk when power fails now."""
        _write(
            self._root,
            target,
            lambda folder: _entries_left(folder, left, chance),
            lambda file: _content_left(file, left, chance),
        )

    def write_everything(self, target: Path) -> None:
        """Make a folder of all that was written, as if power had not failed."""
        _write(self._root, target, lambda folder: folder.entries, lambda file: file.content)

    def _find(self, path: PurePosixPath) -> _File | _Folder | None:
        found: _File | _Folder | None = self._root
        for name in path.parts:
            found = found.entries.get(name) if isinstance(found, _Folder) else None
        return found

    def _parent(self, path: PurePosixPath) -> _Folder:
        found = self._find(path.parent)
        assert isinstance(found, _Folder), path
        return found

    def _file(self, path: PurePosixPath) -> _File:
        """The file of that name; one that was removed while it was open is of no interest."""
        found = self._find(path)
        return found if isinstance(found, _File) else _File()

    def _open(self, path: PurePosixPath, call: Call) -> None:
        found = self._find(path)
        if found is None:
            self._parent(path).entries[path.name] = _File()
            self._parent(path).note()
        elif isinstance(found, _File) and call["truncates"]:
            found.content = b""

    def _write(self, path: PurePosixPath, call: Call) -> None:
        file, new, at = self._file(path), base64.b64decode(call["content"]), call["offset"]
        before = file.content.ljust(at, b"\0")
        file.content = before[:at] + new + before[at + len(new) :]

    _pwrite = _write

    def _ftruncate(self, path: PurePosixPath, call: Call) -> None:
        file = self._file(path)
        file.content = file.content[: call["size"]].ljust(call["size"], b"\0")

    def _fsync(self, path: PurePosixPath, call: Call) -> None:
        found = self._find(path)
        if isinstance(found, _Folder):
            found.sync()
        elif found is not None:
            found.synced = found.content

    def _mkdir(self, path: PurePosixPath, call: Call) -> None:
        self._parent(path).entries[path.name] = _Folder()
        self._parent(path).note()

    def _unlink(self, path: PurePosixPath, call: Call) -> None:
        del self._parent(path).entries[path.name]
        self._parent(path).note()

    _rmdir = _unlink

    def _replace(self, path: PurePosixPath, call: Call) -> None:
        source = PurePosixPath(call["from"])
        assert source.parent == path.parent, "a rename from folder to folder is not modelled"
        parent = self._parent(path)
        parent.entries[path.name] = parent.entries.pop(source.name)
        parent.note()

    _rename = _replace


def play(folder: Path, calls: Sequence[Call]) -> Disk:
    """A disk that held a folder, after some calls."""
    disk = Disk(folder)
    for call in calls:
        disk.play(call)
    return disk


def _entries_left(folder: _Folder, left: Left, chance: random.Random) -> Entries:
    if left is Left.SOME:
        return chance.choice(folder.versions)
    return folder.entries if left is Left.ENTRIES else folder.versions[0]


def _content_left(file: _File, left: Left, chance: random.Random) -> bytes:
    if left is Left.SOME and file.synced != file.content:
        half, zeros = file.content[: len(file.content) // 2], bytes(len(file.content))
        return chance.choice((file.synced, file.content, half, zeros))
    return file.content if left is Left.CONTENTS else file.synced


def _read(folder: Path) -> _Folder:
    found = _Folder()
    for path in folder.iterdir():
        if path.is_dir():
            found.entries[path.name] = _read(path)
        else:
            content = path.read_bytes()
            found.entries[path.name] = _File(content, content)
    found.sync()
    return found


def _write(
    folder: _Folder,
    target: Path,
    entries_of: Callable[[_Folder], Entries],
    content_of: Callable[[_File], bytes],
) -> None:
    target.mkdir()
    for name, found in entries_of(folder).items():
        if isinstance(found, _Folder):
            _write(found, target / name, entries_of, content_of)
        else:
            (target / name).write_bytes(content_of(found))
