"""Files for others: they appear when they are complete, and their columns have different names."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from io import BufferedWriter
from pathlib import Path
from typing import Any

from embedder.errors import OutputError
from indexes.durable import create_file, sync_folder, temporary_beside


def check_file_name(out: str | Path, reads: Iterable[str | Path] = ()) -> Path:
    """Where to write a file, which replaces one that is there.

    Args:
        out: its name.
        reads: files and folders that what is written is made from, whose contents stay as they
            are.

    Raises:
        OutputError: it is `-`, a folder or a device, lies in a folder that is not there, is one of
            `reads`, or lies in one.
    """
    final = Path(out)
    if str(out) == "-":
        raise OutputError("Results go to files, and - is none.", "Name a file with --out.")
    if not final.name or final.is_dir():
        raise OutputError(f"{out} cannot be written: it is a folder.", "Name a file with --out.")
    if not final.parent.is_dir():
        raise OutputError(
            f"{out} cannot be written: there is no folder {final.parent}.", "Make it first."
        )
    if final.exists() and not final.is_file():
        # It would be replaced by a file.
        raise OutputError(f"{out} is a device, not a file.", "Name a file with --out.")
    resolved = final.resolve()
    for read in reads:
        if resolved == Path(read).resolve():
            raise OutputError(f"{out} is one of the sources.", "Name another file with --out.")
        if Path(read).is_dir() and resolved.is_relative_to(Path(read).resolve()):
            raise OutputError(
                f"{out} lies in {read}, which is read.", "Name a file elsewhere with --out."
            )
    return final


def check_new_folder(out: str | Path) -> Path:
    """Where a new folder can be written.

    Raises:
        OutputError: something is there.
    """
    final = Path(out)
    if final.exists() or final.is_symlink() or not final.name:
        raise OutputError(f"{out} is there already.", "Remove it, or name another with --out.")
    return final


@contextlib.contextmanager
def appearing(*finals: Path) -> Iterator[list[BufferedWriter]]:
    """New files to write to, which appear when the body has ended well.

    They appear in the order given, and older files of their names go first, all but the first
    file's: so whenever the last file is there, all are, and they belong together.

    Raises:
        OutputError: one cannot be written.
    """
    temporaries = [temporary_beside(final) for final in finals]
    try:
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(create_file(path)) for path in temporaries]
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for final in finals[1:]:
            final.unlink(missing_ok=True)
        for temporary, final in zip(temporaries, finals, strict=True):
            temporary.replace(final)
            sync_folder(final.parent)
    except OSError as error:
        names = " and ".join(map(str, finals))
        raise OutputError(f"{names} cannot be written: {error.strerror or error}.") from error
    finally:
        for temporary in temporaries:
            with contextlib.suppress(OSError):
                temporary.unlink()


def column_names(own: Collection[str], fields: Sequence[str]) -> list[str]:
    """Names for metadata columns beside our own: one that is taken gets `metadata.` before it.

    Names that differ by case alone count as the same, as they do in SQL.
    """
    taken = {name.casefold() for name in (*own, *fields)}
    names = []
    for field in fields:
        name = field
        if field.casefold() in {name.casefold() for name in own}:
            while name.casefold() in taken:
                name = f"metadata.{name}"
            taken.add(name.casefold())
        names.append(name)
    return names


def finite(value: Any) -> Any:
    """A value without NaN and infinities, which JSON has not: null in their place."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value
