"""Writing so that a crash at any instant leaves the old state or the new one, never a mixture.

Everything that is written into an index goes through here, to the system's own calls one by one,
so that a test can make each of them fail.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedder.errors import IndexFormatError

TEMPORARY_PREFIX = ".tmp-"

NPY_ERRORS = (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError)
"""What numpy.load raises on a damaged file; it parses the header as Python."""


@dataclass(frozen=True)
class FileRecord:
    """What the manifest knows about a file: size in bytes and hex sha256."""

    size: int
    sha256: str


def record_file(path: Path) -> FileRecord:
    """Size and digest of a file as it lies on disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRecord(os.fstat(file.fileno()).st_size, digest)


def record_bytes(content: bytes) -> FileRecord:
    """Size and digest of what is to become a file."""
    return FileRecord(len(content), hashlib.sha256(content).hexdigest())


class _NewFile(io.RawIOBase):
    """A file that is written through the system's calls, without a layer that hides an error."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        # `io.BufferedWriter` asks for the place when it is made and drops whatever that raises: a
        # Ctrl-C too, which CPython raises where Python code begins to run. So none does.
        self.tell = functools.partial(  # type: ignore[method-assign]
            os.lseek, handle, 0, os.SEEK_CUR
        )

    def fileno(self) -> int:
        return self._handle

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return os.write(self._handle, content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._handle, offset, whence)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self._handle, size)
        return size

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                os.close(self._handle)


class _BufferedFile(io.BufferedWriter):
    """Who drops it without closing it has met an error, and does not want another one."""

    def __del__(self) -> None:
        if self.raw is not None:  # as when a signal came before it had one
            self.raw.close()


WRITE_BUFFER_BYTES = 1 << 20


def create_file(path: Path) -> io.BufferedWriter:
    """A new, empty file to write to; what was there under its name is lost.

    Every write, also the last one at `close`, raises OSError if the disk does not take it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    return _BufferedFile(_NewFile(handle), WRITE_BUFFER_BYTES)


def temporary_beside(final: Path) -> Path:
    """The name under which `final` is written before it is renamed."""
    return final.with_name(f"{TEMPORARY_PREFIX}{final.name}")


def sync_file(path: Path) -> None:
    """Flush a file's contents to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, durably; it may be there already."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def replace_file(final: Path, content: bytes) -> None:
    """Put `content` in place of a file, atomically and durably."""
    temporary = temporary_beside(final)
    with create_file(temporary) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(final)
    sync_folder(final.parent)


def start_folder(final: Path) -> Path:
    """An empty folder to be filled and published; the one above it may be new."""
    make_folder(final.parent)
    temporary = temporary_beside(final)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    return temporary


def publish_contents(final: Path, contents: Mapping[str, bytes]) -> dict[str, FileRecord]:
    """Make a folder with these files, durably, and record them; the folder above it may be new."""
    temporary = start_folder(final)
    for name, content in contents.items():
        with create_file(temporary / name) as file:
            file.write(content)
    return publish_folder(temporary, final)


def publish_folder(temporary: Path, final: Path) -> dict[str, FileRecord]:
    """Rename a finished folder to its final name, durably, and record its files.

    A folder that already has the final name was left by a run that was killed before its commit,
    or belongs to an earlier state that somebody still reads. If it holds the same, it stays.
    """
    records = {}
    for path in sorted(temporary.iterdir()):
        sync_file(path)
        records[path.name] = record_file(path)
    sync_folder(temporary)
    if final.exists() and _holds(final, records):
        shutil.rmtree(temporary)
    else:
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
    sync_folder(final.parent)  # also where a run was killed just before it did
    return records


def _holds(folder: Path, records: dict[str, FileRecord]) -> bool:
    """Whether a folder has these files and no others."""
    try:
        check_files(folder, records, with_digests=True)
    except IndexFormatError:
        return False
    return {path.name for path in folder.iterdir()} == set(records)


def check_files(
    folder: Path, records: dict[str, FileRecord], *, with_digests: bool = False
) -> None:
    """Raise IndexFormatError unless every recorded file is there as it was written.

    Args:
        folder: where the files are.
        records: what was written.
        with_digests: read the files and compare their digests, not only their sizes.
    """
    repair = "Run embedder index again to restore it."
    for name, record in records.items():
        path = folder / name
        try:
            size = path.stat().st_size
            is_same = not with_digests or size != record.size or record_file(path) == record
        except FileNotFoundError:
            raise IndexFormatError(f"{path} is missing.", repair) from None
        except OSError as error:
            raise IndexFormatError(f"{path} cannot be read: {error.strerror}.") from error
        if size != record.size:
            raise IndexFormatError(
                f"{path} has {size} bytes, and {record.size} were written.", repair
            )
        if not is_same:
            raise IndexFormatError(f"{path} is damaged: its digest is wrong.", repair)
