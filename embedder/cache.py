"""Where exported networks are kept between runs; a folder gets there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from embedder.errors import OutputError

CACHE_VARIABLE = "EMBEDDER_CACHE"


def cache_folder() -> Path:
    """The folder named by EMBEDDER_CACHE, else `embedder` in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "embedder"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embedder"


_scratch: list[Path] = []


@contextlib.contextmanager
def leave_cache_alone() -> Iterator[None]:
    """What the body would add to the cache goes to a temporary folder instead."""
    with tempfile.TemporaryDirectory(prefix="embedder-") as folder:
        _scratch.append(Path(folder))
        try:
            yield
        finally:
            _scratch.pop()


def cached_folder(key: str, fill: Callable[[Path], None]) -> Path:
    """The cache's folder `key`, filled by `fill` if it is not there yet.

    The folder is filled beside its final name and renamed, so a reader sees all of it or
    nothing, and of two processes that fill it at once one wins and both read the winner's.

    Raises:
        OutputError: the cache cannot be written.
    """
    final = cache_folder() / key
    if final.is_dir():
        return final
    if _scratch:
        final = _scratch[-1] / key
        if final.is_dir():
            return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    except OSError as error:
        raise OutputError(
            f"The cache folder {cache_folder()} cannot be written: {error.strerror or error}.",
            f"Name another in the environment variable {CACHE_VARIABLE}.",
        ) from error
    try:
        fill(made)
        try:
            made.rename(final)
        except OSError:
            if not final.is_dir():  # anything but a lost race
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return final
