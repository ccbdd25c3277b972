"""Names of sources to files: files, folders, globs, hive-partitioned folders and URLs."""

from __future__ import annotations

import glob
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
        """The same for a file however it is named, and another for every other file."""
        return f"{self.filesystem.type_name}:{self.path}"


@dataclass(frozen=True)
class Labels:
    """Labels that files have already, which they keep however they are named.

    Args:
        known: label of each file by its identity.
        are_kept: whether files that are not named now go on having theirs, so that no other file
            can have it.
    """

    known: Mapping[str, str]
    are_kept: bool


NO_LABELS = Labels({}, are_kept=False)


def find_files(sources: Sequence[str], labels: Labels = NO_LABELS) -> list[SourceFile]:
    """The Parquet files that the sources name, in the order named, each folder sorted by path.

    Args:
        sources: files, folders, globs and URLs.
        labels: those that files have already.

    Raises:
        SourceError: nothing there, or a folder or pattern without Parquet files.
    """
    found = [file for source in sources for file in _expand(source)]
    unique = {file.identity: file for file in found}
    return _told_apart(unique, labels)


def _told_apart(files: Mapping[str, SourceFile], labels: Labels) -> list[SourceFile]:
    """The files with a label each that no other has: so much of the end of its path."""
    given = {identity: labels.known.get(identity, file.label) for identity, file in files.items()}
    absent = labels.known.keys() - files.keys() if labels.are_kept else ()
    taken = [labels.known[identity] for identity in absent]
    while True:
        counts = Counter([*given.values(), *taken])
        alike = [
            identity
            for identity, label in given.items()
            if counts[label] > 1 and identity not in labels.known and label != identity
        ]
        if not alike:
            return [replace(file, label=given[identity]) for identity, file in files.items()]
        for identity in alike:
            given[identity] = _longer(files[identity], given[identity])


def _longer(file: SourceFile, label: str) -> str:
    """One folder more of a file's path than a label has; its identity where there is none."""
    parts = file.path.strip("/").split("/")
    n_parts = label.count("/") + 2
    return "/".join(parts[-n_parts:]) if n_parts <= len(parts) else file.identity


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
    full = Path(os.path.abspath(path)).as_posix()  # noqa: PTH100 - Path.absolute leaves `..`
    given = path.as_posix()
    return _files_under(fs.LocalFileSystem(), full, shown=source, prefix="", given=given)


def _expand_url(source: str) -> list[SourceFile]:
    filesystem, path = _open_url(source)
    prefix = source[: len(source) - len(path)] if source.endswith(path) else ""
    magic = re.search(r"[*\[]", path)  # a question mark starts a URL's query
    if magic:
        root = path[: magic.start()].rpartition("/")[0]
        files = _files_under(filesystem, root, shown=source, prefix=prefix, given=root)
        matched = [file for file in files if PurePosixPath(file.path).match(path)]
        if not matched:
            raise SourceError(f"No file matches {source!r}.", "Check the pattern and its quotes.")
        return matched
    return _files_under(filesystem, path, shown=source, prefix=prefix, given=path)


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
    filesystem: fs.FileSystem, path: str, *, shown: str, prefix: str, given: str
) -> list[SourceFile]:
    """The files at a path: itself, or those in the folder.

    Args:
        filesystem: where it is.
        path: its path there.
        shown: what the user named.
        prefix: of the files' paths in messages.
        given: the path as the user named it, whose folders can have hive keys.
    """
    try:
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise SourceError(f"There is no file or folder {shown}.", "Check the path.")
        if info.type == fs.FileType.File:
            label = path.rpartition("/")[2]
            return [SourceFile(shown, path, label, filesystem, _partitions(given))]
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
        SourceFile(prefix + full, full, relative, filesystem, _partitions(f"{given}/{relative}"))
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
