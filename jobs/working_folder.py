"""Room beside a folder that is being made, for what is needed on the way."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from embedder.errors import OutputError
from indexes.durable import make_folder, temporary_beside
from indexes.lock import hold_lock


@contextlib.contextmanager
def working_beside(final: Path) -> Iterator[Path]:
    """A folder beside the final one for what is made on the way; gone afterwards.

    Raises:
        IndexLockedError: another run makes the same folder.
        OutputError: it cannot be written to, or the disk is full.
    """
    work = temporary_beside(final)
    try:
        make_folder(final.parent)
        work.mkdir(exist_ok=True)
        with hold_lock(work / "lock"):
            room = work / "room"
            shutil.rmtree(room, ignore_errors=True)  # of a run that was killed
            room.mkdir()
            try:
                yield room
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{final} cannot be written: {error.strerror or error}.") from error
