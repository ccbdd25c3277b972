"""Full and read-only disks, sources that change while they are read, other writers, odd clocks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from contents import Entries, ask, expected, expected_while_new, read_entries
from forked import Ended, Zygote
from interference import ACTIONS
from scenarios import INDEX, IndexScenario, Scenario

from embedder.errors import IndexNotFoundError
from indexes.layout import Layout
from indexes.lock import hold_lock
from indexes.manifest_file import read_manifest
from jobs.query import open_index

Make = Callable[[str], Scenario]
WRITERS = ("update", "delete --ids", "delete --where", "compact")


def assert_one_line(done: Ended, *words: str) -> None:
    """The command failed with one line that holds some words."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


# --- disks ---


@contextlib.contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[Path]:
    """A file system in memory of so many bytes, as far as this process may make one."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command, so no small file system")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def n_bytes_on_disk(folder: Path) -> int:
    """What a folder takes on a file system in memory: whole pages."""
    return sum(
        -(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new", *WRITERS])
def test_a_full_file_system(
    scenario: Make,
    zygote: Zygote,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    name: str,
) -> None:
    """On a disk of any size too small a command ends with one line, a search goes on, and with
    more room the next run ends as if there had always been enough."""
    found = scenario(name)
    n_before = n_bytes_on_disk(found.start(tmp_path / "before")) if name != "new" else 0
    n_after = n_bytes_on_disk(found.after) if isinstance(found, IndexScenario) else 0
    n_room = max(n_after, n_before) + 64_000
    sizes = range(n_before, n_room, max(4096, (n_room - n_before) // 12 // 4096 * 4096))
    n_failed = 0
    for size in sizes:
        with small_disk(tmp_path / str(size), max(size, 4096)) as disk:
            written = found.start(disk / "work")
            done = zygote.run(*found.arguments, cwd=written.parent)
            if done.returncode:
                n_failed += 1
                assert_one_line(done, "cannot be written: No space left on device")
            assert found.wrong(written) == []
            remount(disk, "size=50m")
            again = zygote.run(*found.arguments, cwd=written.parent)
            assert (again.returncode, again.stderr) == (0, "")
            assert read_entries(written) == found.entries
    line = (
        f"full disk: command={name.replace(' ', '-')} sizes={len(sizes)} failed={n_failed} lost=0"
    )
    print(f"\n{line}")
    record_property("full disk", line)
    assert n_failed > 0


@contextlib.contextmanager
def read_only(folder: Path, found: Scenario) -> Iterator[Path]:
    """A scenario's start in a folder that nobody can write; who is root needs a mount for it."""
    if os.getuid() == 0:
        with small_disk(folder, 50 << 20) as disk:
            written = found.start(disk / "work")
            remount(disk, "ro")
            yield written
        return
    written = found.start(folder / "work")
    paths = [written.parent, written, *written.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths if path.exists()}
    try:
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        yield written
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@pytest.mark.parametrize("name", ["new", *WRITERS])
def test_a_read_only_folder_cannot_be_written(
    scenario: Make, zygote: Zygote, tmp_path: Path, name: str
) -> None:
    """In a folder that cannot be written, what writes ends with one line and changes nothing."""
    found = scenario(name)
    with read_only(tmp_path / "disk", found) as written:
        before = read_entries(written)
        done = zygote.run(*found.arguments, cwd=written.parent)
        assert_one_line(done, INDEX, "cannot be written")
        assert read_entries(written) == before


def test_a_read_only_index_can_be_searched(scenario: Make, zygote: Zygote, tmp_path: Path) -> None:
    """In a folder that cannot be written, what only reads an index works."""
    with read_only(tmp_path / "disk", scenario("compact")) as index:
        search = ("search", "river", "--index", INDEX, "--format", "json")
        everything = zygote.run(*search, "-k", "100", cwd=index.parent)
        filtered = zygote.run(*search, "-k", "100", "--where", "n < 9", cwd=index.parent)
        out = tmp_path / "all.parquet"
        exported = zygote.run("export", INDEX, "--out", out, "-q", cwd=index.parent)
        shown = zygote.run("info", "--index", INDEX, cwd=index.parent)
        n_documents = read_manifest(Layout(index)).n_documents
    for done in (everything, filtered, exported, shown):
        assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(everything.stdout)) == n_documents
    assert {hit["metadata"]["n"] for hit in json.loads(filtered.stdout)} == {0, *range(2, 9)}
    assert len(set(pq.read_table(out)["id"].to_pylist())) == n_documents


# --- sources ---


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1, 2, 4])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_source_that_changes_while_it_is_read(
    scenario: Make, zygote: Zygote, quick_folder: Path, action: str, at: int
) -> None:
    """What happens to a file while it is read ends the run with one line that names the file, no
    row that is half one thing and half another is kept, and the next run follows what is there."""
    found = scenario("new")
    assert isinstance(found, IndexScenario)
    folder = quick_folder / f"{action} {at}"
    sources = shutil.copytree(found.arguments[1], folder / "sources")
    # The components of senses rest on the sources as they were first, and would differ.
    arguments = ("index", str(sources), *found.arguments[2:], "--no-senses")
    changed = sources / "a.parquet"
    original = changed.read_bytes()
    other = folder / "other.parquet"
    pq.write_table(pq.read_table(sources / "b.parquet"), other, row_group_size=8)
    before = _built(zygote, arguments, folder / "before")

    index = folder / "work" / INDEX
    index.parent.mkdir()
    interfering = (action, str(changed), str(other), str(at), *arguments)
    done = zygote.run(*interfering, cwd=index.parent, function="interference.run")
    if done.returncode == 0:  # it was read to its end before that
        assert at > 2
    else:
        assert_one_line(done, "a.parquet")
        allowed = expected_while_new(folder / "before" / INDEX)
        with contextlib.suppress(IndexNotFoundError):
            assert any(expected(index).is_like(answer) for answer in allowed)

    if action in ("is replaced", "is rewritten"):
        after = _built(zygote, arguments, folder / "after")
        assert after != before
        assert _run(zygote, arguments, index.parent) == after
    changed.write_bytes(original)
    assert _run(zygote, arguments, index.parent) == before


def _built(zygote: Zygote, arguments: tuple[str, ...], folder: Path) -> Entries:
    """An index of the sources as they are now, built in one go."""
    folder.mkdir()
    return _run(zygote, arguments, folder)


def _run(zygote: Zygote, arguments: tuple[str, ...], folder: Path) -> Entries:
    """What is in the index after one more run, the history left out."""
    done = zygote.run(*arguments, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return without_history(read_entries(folder / INDEX))


def without_history(entries: Entries) -> Entries:
    """An index's files, the manifest without the history of how it came to be."""
    content = json.loads(entries["manifest.json"] or b"")
    shown = repr({**content, "history": 0, "digest": 0, "sources": 0}).encode()
    return {**entries, "manifest.json": shown}


# --- other processes ---


@pytest.mark.parametrize("name", WRITERS)
def test_a_second_writer_is_refused(
    scenario: Make, zygote: Zygote, tmp_path: Path, name: str
) -> None:
    """While one process writes an index, every command that writes it is refused with its name
    and changes nothing, and commands that read it go on."""
    found = scenario(name)
    index = found.start(tmp_path / "work")
    with hold_lock(Layout(index).lock):
        before = read_entries(index)
        done = zygote.run(*found.arguments, cwd=index.parent)
        assert_one_line(done, f"is being written by process {os.getpid()} on ")
        search = ("search", "river", "--index", INDEX, "--format", "json")
        assert len(json.loads(zygote.run(*search, cwd=index.parent).stdout)) == 10
        assert read_entries(index) == before
    assert zygote.run(*found.arguments, cwd=index.parent).returncode == 0
    assert read_entries(index) == found.entries


def test_an_open_index_goes_on_while_it_is_written(
    scenario: Make, zygote: Zygote, tmp_path: Path
) -> None:
    """Who has an index open goes on finding what was there, whatever is deleted, compacted and
    updated meanwhile; what only he needs is removed by the first run after he has closed it."""
    update, compact = scenario("update"), scenario("compact")
    index = update.start(tmp_path / "work")
    before, old_names = expected(index), _names(index)
    with open_index(index) as opened:
        assert ask(opened.searcher, opened.manifest).is_like(before)
        for arguments in (
            update.arguments,
            ("delete", INDEX, "--where", "n % 3 = 1"),
            compact.arguments,
            (*update.arguments, "--undelete"),
        ):
            done = zygote.run(*arguments, cwd=index.parent)
            assert (done.returncode, done.stderr) == (0, "")
            assert ask(opened.searcher, opened.manifest).is_like(before)
            assert {h.metadata["n"] for h in opened.search("x", 99, where="n < 9")} == {*range(9)}
            assert old_names <= _names(index)
        with open_index(index) as second:
            assert ask(second.searcher, second.manifest).is_like(expected(index))
    assert zygote.run(*update.arguments, cwd=index.parent).returncode == 0
    assert _names(index) == _names(index, only_used=True)
    assert not old_names <= _names(index)


def _names(index: Path, *, only_used: bool = False) -> set[str]:
    """Segments and structures that lie in an index, or that its manifest names."""
    layout = Layout(index)
    if only_used:
        used = read_manifest(layout).file_names()
        return used["segments"] | used["ann"]
    return {path.name for folder in (layout.segments, layout.ann) for path in folder.iterdir()}


# --- clocks and copies ---


def test_a_clock_that_goes_backwards(scenario: Make, zygote: Zygote, tmp_path: Path) -> None:
    """A run at an earlier time than the last one does the same, and numbers go on."""
    found = scenario("update")
    index = found.start(tmp_path / "work")
    earlier = {"SOURCE_DATE_EPOCH": "1000"}
    done = zygote.run(*found.arguments, cwd=index.parent, environment=earlier)
    assert (done.returncode, done.stderr) == (0, "")
    history = read_manifest(Layout(index)).history
    assert [entry.number for entry in history] == [1, 2]
    assert [entry.at for entry in history] == [1_700_000_000, 1000]
    assert without_history(read_entries(index)) == without_history(found.entries)
    before = read_entries(index)
    assert zygote.run(*found.arguments, cwd=index.parent, environment=earlier).returncode == 0
    assert read_entries(index) == before


@pytest.mark.parametrize("seconds", [0, 4_000_000_000])
def test_times_of_files_mean_nothing(
    scenario: Make, zygote: Zygote, tmp_path: Path, seconds: int
) -> None:
    """Files of sources and index that are as old as time or come from the future change nothing."""
    found = scenario("update")
    index = found.start(tmp_path / "work")
    sources = shutil.copytree(found.arguments[1], tmp_path / "sources")
    arguments = ("index", str(sources), *found.arguments[2:])
    for path in (*sources.rglob("*"), *index.rglob("*"), sources, index):
        os.utime(path, (seconds, seconds))
    assert _run(zygote, arguments, index.parent) == without_history(found.entries)
    before = read_entries(index)
    for path in (*sources.rglob("*"), *index.rglob("*")):
        os.utime(path, (4_000_000_000 - seconds,) * 2)
    assert zygote.run(*arguments, cwd=index.parent).returncode == 0
    assert read_entries(index) == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_copy_of_what_the_manifest_names_is_an_index(
    scenario: Make, zygote: Zygote, tmp_path: Path, name: str
) -> None:
    """A copy without the files of locks is searched and written like the original."""
    found = scenario(name)
    index = found.start(tmp_path / "elsewhere")
    (index / "lock").unlink()
    (index / "readers").unlink()
    before = read_entries(index)
    assert found.wrong(index) == []
    assert zygote.run("search", "x", "--index", INDEX, cwd=index.parent).returncode == 0
    assert read_entries(index) == before
    assert zygote.run(*found.arguments, cwd=index.parent).returncode == 0
    assert read_entries(index) == found.entries
