"""Room beside a folder that is being made, for what is needed on the way."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from embedder.errors import OutputError
from indexes.durable import make_folder, sync_file, sync_folder, temporary_beside
from indexes.lock import hold_lock
from jobs.output import check_new_folder


def training_room_of(final: Path) -> Path:
    """The folder in which the training of a model keeps what it is resumed from."""
    return final.with_name(f"{final.name}.training")


def refuse_foreign(folder: Path, is_known: Callable[[str], bool]) -> None:
    """Refuse a folder that somebody else made: ours may go with all that is in it.

    Args:
        folder: what a run goes on in; it need not be there.
        is_known: whether a file's name is one that a run leaves.

    Raises:
        OutputError: it has other files, and no lock.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if "lock" not in names and not all(map(is_known, names)):
        raise OutputError(
            f"{folder} has files that are not of an earlier run, and a run keeps its own there.",
            "Move it, or name another output with --out.",
        )


def publish_model(made: Path, final: Path) -> None:
    """Rename a finished model folder to its final name, durably.

    Raises:
        OutputError: something has that name.
    """
    for path in sorted(made.rglob("*")):
        if path.is_file():
            path.chmod(made.stat().st_mode & 0o666)  # safetensors lets nobody else read its files
            sync_file(path)
        else:
            sync_folder(path)
    sync_folder(made)
    check_new_folder(final)
    made.rename(final)
    sync_folder(final.parent)


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
