"""Durable writing: the old state or the new one, never a mixture."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import pytest

from embedder.errors import IndexFormatError
from indexes.durable import (
    FileRecord,
    check_files,
    create_file,
    publish_folder,
    record_file,
    replace_file,
    temporary_beside,
)

REPLACE_FOREVER = """
import sys
from pathlib import Path
from indexes.durable import replace_file
while True:
    for letter in b"ab":
        replace_file(Path(sys.argv[1]), bytes([letter]) * 200_000)
"""
REPLACE_BEYOND_LIMIT = """
import resource, sys
from pathlib import Path
from indexes.durable import replace_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
replace_file(Path(sys.argv[1]), b"new" * 1000)
"""


def test_a_file_record(tmp_path: Path) -> None:
    """A file's record holds its size and sha256."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    record = record_file(path)
    assert record == FileRecord(7, hashlib.sha256(b"content").hexdigest())


@pytest.mark.parametrize("before", [None, b"", b"old"])
def test_replace_file_leaves_only_the_new_content(tmp_path: Path, before: bytes | None) -> None:
    """A replaced file has the new content, whatever was there, and nothing lies beside it."""
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    temporary_beside(path).write_bytes(b"left by a process that was killed")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_one_whole_content(tmp_path: Path) -> None:
    """While a file is being replaced, and after its writer is killed, it is whole."""
    path = tmp_path / "file"
    whole = {b"a" * 200_000, b"b" * 200_000}
    writer = subprocess.Popen([sys.executable, "-c", REPLACE_FOREVER, str(path)])
    try:
        while not path.exists():
            time.sleep(0.005)
        seen = {path.read_bytes() for _ in range(500)}
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert seen <= whole
    assert path.read_bytes() in whole


def test_a_failed_replacement_leaves_the_old_content(tmp_path: Path) -> None:
    """When the new content cannot be written, the old stays."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", REPLACE_BEYOND_LIMIT, str(path)], capture_output=True, text=True
    )
    assert "File too large" in done.stderr
    assert path.read_bytes() == b"old"


def test_publish_folder_replaces_what_a_killed_run_left(tmp_path: Path) -> None:
    """A published folder holds its own files only, and records every one of them."""
    final = tmp_path / "final"
    final.mkdir()
    (final / "stale").write_text("left by a run that was killed")
    temporary = temporary_beside(final)
    temporary.mkdir()
    (temporary / "a").write_bytes(b"1")
    (temporary / "b").write_bytes(b"22")
    records = publish_folder(temporary, final)
    assert sorted(path.name for path in final.iterdir()) == sorted(records) == ["a", "b"]
    assert records["b"] == record_file(final / "b")
    assert list(tmp_path.iterdir()) == [final]
    check_files(final, records)


def test_check_files_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    """A missing or changed file is named, with what to run."""
    with pytest.raises(IndexFormatError, match=r"x is missing.*embedder index"):
        check_files(tmp_path, {"x": FileRecord(1, "")})
    (tmp_path / "x").write_bytes(b"12")
    with pytest.raises(IndexFormatError, match="has 2 bytes, and 1 were written"):
        check_files(tmp_path, {"x": FileRecord(1, "")})


def test_making_a_file_runs_no_code_that_could_lose_an_interrupt(tmp_path: Path) -> None:
    """Where CPython makes a buffer and drops a Ctrl-C that arrives in Python code, none runs."""
    begun: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        caller = frame.f_back
        if event == "call" and caller is not None and caller.f_code is create_file.__code__:
            begun.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        file = create_file(tmp_path / "new")
    finally:
        sys.setprofile(None)
    file.write(b"all of it")
    assert file.tell() == 9
    file.close()
    # What is raised in `writable` is passed on; what is raised in `seek` is not.
    assert "writable" in begun and not {"seek", "tell"} & {*begun}
    assert (tmp_path / "new").read_bytes() == b"all of it"


def test_a_file_that_a_signal_left_unmade_is_dropped_in_silence(tmp_path: Path) -> None:
    """Its end raises nothing, which Python would print in the middle of a command's message."""
    kind = type(create_file(tmp_path / "new"))
    kind.__del__(kind.__new__(kind))
