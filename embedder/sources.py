"""Names of sources to files: files, folders, globs, hive-partitioned folders and URLs."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from embedder.endings import PARQUET_ENDINGS
from embedder.errors import SourceError

LOCAL = "local"
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")


@dataclass(frozen=True)
class SourceFile:
    """One Parquet file.

    Args:
        name: what people read in messages: the path or URL.
        path: the file's path in its file system.
        label: what stands for it in ids of documents that have none: the end of its path.
        filesystem: where `path` lies.
        partitions: hive keys and values in the path, in order.
    """

    name: str
    path: str
    label: str
    filesystem: fs.FileSystem
    partitions: tuple[tuple[str, str | None], ...]

    @property
    def identity(self) -> str:
        """What tells it from every other file, however its path is written (but for links)."""
        return f"{_system_name(self.filesystem)}:{self.path}"


@dataclass(frozen=True)
class KnownFile:
    """A file that has a label.

    Args:
        label: the label.
        size: its bytes when it was read, None if that was not known.
    """

    label: str
    size: int | None


@dataclass(frozen=True)
class Labels:
    """Labels that files have already, which they keep however they are named.

    Args:
        known: those files by their identity.
        are_kept: whether files that are not named now go on having theirs, so that no other file
            can have it.
    """

    known: Mapping[str, KnownFile]
    are_kept: bool


NO_LABELS = Labels({}, are_kept=False)


def find_files(sources: Sequence[str], labels: Labels = NO_LABELS) -> list[SourceFile]:
    """The Parquet files that the sources name, in the order named, each folder sorted by path.

    Args:
        sources: files, folders, globs and URLs.
        labels: those that files have already.

    Raises:
        SourceError: nothing there, or a folder or pattern without Parquet files.
        TypeError: one text, whose letters are no sources.
    """
    if isinstance(sources, str):
        raise TypeError(f"sources are several names, as in ({sources!r},), and not one text")
    if not all(sources):
        raise SourceError("A source has an empty name.", "Name a file or a folder, as `.`.")
    found = [file for source in sources for file in _expand(source)]
    unique = {file.identity: file for file in found}
    return _told_apart(unique, labels)


def _told_apart(files: Mapping[str, SourceFile], labels: Labels) -> list[SourceFile]:
    """The files with a label each that no other has: so much of the end of its path."""
    absent = {i: known for i, known in labels.known.items() if i not in files}
    fixed = {i: labels.known[i].label for i in files if i in labels.known}
    fixed |= _moved({i: file for i, file in files.items() if i not in fixed}, absent)
    own = set(fixed.values())
    taken = [known.label for known in absent.values() if known.label not in own]
    given = {identity: fixed.get(identity, file.label) for identity, file in files.items()}
    while True:
        counts = Counter([*given.values(), *(taken if labels.are_kept else ())])
        alike = [
            identity
            for identity, label in given.items()
            if counts[label] > 1 and identity not in fixed and label != identity
        ]
        if not alike:
            return [replace(file, label=given[identity]) for identity, file in files.items()]
        for identity in alike:
            given[identity] = _longer(files[identity], given[identity])


def _moved(files: Mapping[str, SourceFile], absent: Mapping[str, KnownFile]) -> dict[str, str]:
    """Labels of files that were moved: one of their name and size is not any more where it was."""
    gone: dict[tuple[str, int | None], list[str]] = {}
    for identity, known in absent.items():
        kind, _, path = identity.partition(":")
        if kind == LOCAL and not os.path.lexists(path):
            gone.setdefault((path.rpartition("/")[2], known.size), []).append(known.label)
    found: dict[str, str] = {}
    for identity, file in files.items() if gone else ():
        info = file.filesystem.get_file_info(file.path)
        if labels := gone.get((info.base_name, info.size)):
            ends = [len(label) if f"/{file.path}".endswith(f"/{label}") else 0 for label in labels]
            found[identity] = labels.pop(ends.index(max(ends)))
    return found


def _longer(file: SourceFile, label: str) -> str:
    """One folder more of a file's path than a label has; its identity where there is none."""
    parts = file.path.strip("/").split("/")
    n_parts = label.count("/") + 2
    return "/".join(parts[-n_parts:]) if n_parts <= len(parts) else file.identity


def _system_name(filesystem: fs.FileSystem) -> str:
    """What tells a file system from others: archives of one kind are as many systems."""
    handler = filesystem.handler if isinstance(filesystem, fs.PyFileSystem) else None
    if not isinstance(handler, fs.FSSpecHandler):
        return str(filesystem.type_name)
    settings = handler.fs.to_json(include_password=False)
    return f"{filesystem.type_name}+{hashlib.sha256(settings.encode()).hexdigest()[:12]}"


def _expand(source: str) -> list[SourceFile]:
    if _SCHEME.match(source):
        return _expand_url(source)
    if glob.has_magic(source) and not Path(source).exists():
        matches = glob.glob(source, recursive=True)  # noqa: PTH207 - Path.glob refuses absolute ones
        paths = sorted(path for path in matches if not _is_hidden(path))
        if not paths:
            raise SourceError(f"No file matches {source!r}.", "Check the pattern and its quotes.")
        return [file for path in paths for file in _expand_local(path)]
    return _expand_local(source)


def _expand_local(source: str) -> list[SourceFile]:
    path = Path(source)
    if not path.exists():
        raise SourceError(f"There is no file or folder {source}.", "Check the path.")
    full = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute leaves `..`
    if not full.exists() or not full.samefile(path):  # `..` behind a link
        full = path.resolve()
    return _files_under(fs.LocalFileSystem(), full.as_posix(), shown=source, prefix="")


def _expand_url(source: str) -> list[SourceFile]:
    filesystem, path = _open_url(source)
    prefix = source[: len(source) - len(path)] if source.endswith(path) else ""
    magic = re.search(r"[*\[]", path)  # a question mark starts a URL's query
    if magic:
        root = path[: magic.start()].rpartition("/")[0]
        files = _files_under(filesystem, root, shown=source, prefix=prefix)
        matched = [file for file in files if PurePosixPath(file.path).match(path)]
        if not matched:
            raise SourceError(f"No file matches {source!r}.", "Check the pattern and its quotes.")
        return matched
    return _files_under(filesystem, path, shown=source, prefix=prefix)


def _open_url(source: str) -> tuple[fs.FileSystem, str]:
    try:
        filesystem, path = fs.FileSystem.from_uri(source)
        return filesystem, path
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # not a scheme of Arrow's own; fsspec knows more
    except OSError as error:
        raise SourceError(f"{source} cannot be reached: {error}.") from error
    try:
        import fsspec

        remote, path = fsspec.core.url_to_fs(source)
    except (ImportError, ValueError, OSError) as error:
        raise SourceError(f"{source} cannot be opened: {error}.") from error
    return fs.PyFileSystem(fs.FSSpecHandler(remote)), path


def _files_under(
    filesystem: fs.FileSystem, path: str, *, shown: str, prefix: str
) -> list[SourceFile]:
    try:
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise SourceError(f"There is no file or folder {shown}.", "Check the path.")
        if info.type == fs.FileType.File:
            label = path.rpartition("/")[2]
            return [SourceFile(shown, path, label, filesystem, _partitions(path))]
        entries = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, UnicodeError) as error:
        raise SourceError(f"{shown!r} cannot be listed: {error}.") from error
    root = path.rstrip("/")
    files = sorted(
        (entry.path, entry.path[len(root) + 1 :])
        for entry in entries
        if entry.type == fs.FileType.File and entry.path.lower().endswith(PARQUET_ENDINGS)
    )
    # Folders that are indexes of ours hold Parquet too, and it is no source.
    indexes = [
        e.path.removesuffix("manifest.json") for e in entries if e.base_name == "manifest.json"
    ]
    own = tuple(f"{index}segments/" for index in indexes)
    kept = [(f, rel) for f, rel in files if not _is_hidden(rel) and not f.startswith(own)]
    if not kept:
        raise SourceError(
            f"The folder {shown} holds no Parquet files ({', '.join(PARQUET_ENDINGS)}).",
            "Name a folder that does, or the files themselves.",
        )
    return [
        SourceFile(prefix + full, full, relative, filesystem, _partitions(full))
        for full, relative in kept
    ]


def _partitions(path: str) -> tuple[tuple[str, str | None], ...]:
    """Hive keys in the folders of a path: `year=2020/lang=en/x.parquet`."""
    parts = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return tuple(
        (unquote(key), None if value == HIVE_NULL else unquote(value)) for key, _, value in parts
    )


def _is_hidden(relative: str) -> bool:
    """Whether a path has a part that Parquet tools pass over, as `_SUCCESS` or `.crc`."""
    parts = [part for part in relative.split("/") if part not in ("", ".", "..")]
    return any(part.startswith((".", "_")) and "=" not in part for part in parts)
