"""The lock: one writer at a time, named in the refusal, and gone when it dies."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedder.errors import IndexLockedError
from indexes.lock import hold_lock

HOLD = """
import sys, time
from pathlib import Path
from indexes.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def another_holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    """The lock refuses a second process and names the first by its process id."""
    path = tmp_path / "lock"
    with another_holder(path) as holder:
        refusal = rf"written by process {holder.pid} on "
        with pytest.raises(IndexLockedError, match=refusal), hold_lock(path):
            pytest.fail("two processes hold the lock")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_holder_blocks_nobody(tmp_path: Path, how: signal.Signals) -> None:
    """However the holder was ended, the lock is free at once."""
    path = tmp_path / "lock"
    with another_holder(path) as holder:
        holder.send_signal(how)
        holder.wait()
        with hold_lock(path):
            pass


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    """A lock whose body raised can be taken again, and names nobody in between."""
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), hold_lock(path):
        raise ZeroDivisionError
    assert path.read_bytes() == b""
    with hold_lock(path):
        pass


def test_a_refusal_does_not_break_the_holders_lock(tmp_path: Path) -> None:
    """A second writer is refused as often as it tries."""
    with hold_lock(tmp_path / "lock"):
        for _ in range(3):
            with pytest.raises(IndexLockedError), hold_lock(tmp_path / "lock"):
                pass
