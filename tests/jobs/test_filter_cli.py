"""Filters on the command line: columns of any name, and an end in time."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from corpora import Done, assert_refused, start, tree, write_corpus

Run = Callable[..., Done]
ENDLESS = "levenshtein(repeat(text, 300), repeat(text, 300)) > 0"
NAMES = [
    "it's",
    'the "best"',
    "two words",
    "a.b",
    "x'); DROP TABLE documents; --",
    "1 = 1 OR true",
    "*",
    "select",
    "größe",
    "名前",
    "😀",
    "Year",
    "documents",
    "current_schema",
    "random",
    "$1",
    "{}",
    "%s",
    "a, b",
    '"',
]


@pytest.fixture(scope="module")
def odd_index(
    tmp_path_factory: pytest.TempPathFactory, run: Run, short_texts: list[str], tiny_model: Path
) -> Path:
    """Four documents in two segments; each column has one name of NAMES and other numbers."""
    folder = tmp_path_factory.mktemp("odd")
    columns = {name: [10 * i + row for row in range(4)] for i, name in enumerate(NAMES)}
    source = write_corpus(folder / "odd.parquet", short_texts[:4], rows=2, **columns)
    out = folder / "odd.index"
    done = run("index", source, "--out", out, "--model", tiny_model, "-q")
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_a_column_of_any_name(run: Run, odd_index: Path, number: int) -> None:
    """A column is filtered by its name in quotes, and named in --fields as CSV has it."""
    name = NAMES[number]
    quoted = '"' + name.replace('"', '""') + '"'
    where = f"{quoted} = {10 * number + 3}"
    done = run(
        *("search", "x", "--index", odd_index, "--format", "jsonl"),
        *("--where", where, "--fields", quoted if "," in name or name == '"' else name),
    )
    assert done.returncode == 0, done.stderr
    (hit,) = map(json.loads, done.stdout.splitlines())
    assert (hit["id"], hit["metadata"]) == ("d3", {name: 10 * number + 3})


def test_all_columns_come_back(run: Run, odd_index: Path) -> None:
    """Without --fields every column is returned under its own name."""
    done = run("search", "x", "--index", odd_index, "--format", "jsonl", "--where", "Year < 112")
    hits = {hit["id"]: hit["metadata"] for hit in map(json.loads, done.stdout.splitlines())}
    assert hits == {f"d{r}": {n: 10 * i + r for i, n in enumerate(NAMES)} for r in (0, 1)}


def test_ctrl_c_ends_a_filter(tiny_index: Path) -> None:
    """Ctrl-C in the middle of a filter ends the command and the filter's process at once."""
    process = start("search", "x", "--index", tiny_index, "--where", ENDLESS)
    child = wait_for_child(process)
    time.sleep(0.5)  # until it is in the middle of the function
    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert time.monotonic() - interrupted < 5
    assert (process.returncode, stderr.strip()) == (130, "Interrupted.")
    assert has_ended(child)


def test_nothing_is_left_of_a_killed_command(tiny_index: Path) -> None:
    """A command that is killed in the middle of a filter takes the filter's process with it."""
    process = start("search", "x", "--index", tiny_index, "--where", ENDLESS)
    child = wait_for_child(process)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    assert has_ended(child)


@pytest.mark.slow
def test_an_endless_filter_ends(run: Run, tiny_index: Path) -> None:
    """A filter that takes too long ends the command with one line, soon after its time is up."""
    before, started = tree(tiny_index), time.monotonic()
    done = run("search", "x", "--index", tiny_index, "--where", ENDLESS)
    assert_refused(done, "longer than 30 s", "Make it simpler")
    assert done.returncode == 2
    assert time.monotonic() - started < 60
    assert tree(tiny_index) == before


def test_a_filter_that_is_too_large(run: Run, tiny_index: Path) -> None:
    """A filter that needs gigabytes ends the command with one line."""
    where = "len(range(1000000000)) > 0"
    assert_refused(run("search", "x", "--index", tiny_index, "--where", where), "2 GB")


def wait_for_child(process: subprocess.Popen[str]) -> psutil.Process:
    """The process that a running command has started."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends and process.poll() is None:
        if children := psutil.Process(process.pid).children():
            return children[0]
        time.sleep(0.01)
    raise AssertionError("it has started no process")


def has_ended(process: psutil.Process) -> bool:
    """Whether a process ends within seconds; one that nobody waits for counts."""
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False
