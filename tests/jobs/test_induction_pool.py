"""Senses found by several processes are those that one finds, whatever happens to the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from embedder.senses import induce
from embedder.vectors import Rows, normalise
from jobs import induction_pool
from jobs.induction_pool import InductionPool

N_WORDS = 200

Words = list[tuple[str, Rows | None]]


@pytest.fixture(scope="module")
def words() -> Words:
    """Uses of words around one to three centres; every seventh word is not to be grouped."""
    draw = np.random.default_rng(1)
    found: Words = []
    for number in range(N_WORDS):
        centres = draw.standard_normal((1 + number % 3, 8))
        rows = np.repeat(centres, draw.integers(10, 40, len(centres)), axis=0)
        rows += 0.3 * draw.standard_normal(rows.shape)
        wanted = normalise(rows.astype(np.float32)) if number % 7 else None
        found.append((f"word {number}", wanted))
    return found


@pytest.fixture(autouse=True)
def many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many workers as there are cores, for ever so few words."""
    monkeypatch.setattr(induction_pool, "WORTHWHILE_WORDS", 1)


def assert_right(found: Words, words: Words) -> None:
    """Each word in its place, with the centroids that this process finds."""
    assert [name for name, _ in found] == [name for name, _ in words]
    for (_, centroids), (_, rows) in zip(found, words, strict=True):
        if rows is None:
            assert centroids is None
        else:
            assert centroids is not None
            np.testing.assert_array_equal(centroids, induce(rows).centroids)


@pytest.mark.parametrize("n_cores", [1, 2, 4])
def test_senses_do_not_depend_on_the_cores(words: Words, n_cores: int) -> None:
    """To the last bit, and in the order of the words."""
    with closing(InductionPool(N_WORDS, n_cores)) as pool:
        assert_right(list(pool.induce(words)), words)
        assert_right(list(pool.induce(words[:1])), words[:1])
        assert list(pool.induce([])) == []
        assert pool.n_lost == 0


def test_work_of_a_killed_process_is_done_here(words: Words) -> None:
    """Before its first task, or in the middle."""
    with closing(InductionPool(N_WORDS, 3)) as pool:
        first, second = (worker.process for worker in pool._workers)
        first.kill()
        found = []
        for number, item in enumerate(pool.induce(words)):
            found.append(item)
            if number == 40:
                second.kill()
        assert_right(found, words)
        assert pool.n_lost >= 1  # one whose work is done is missed by nobody


def test_a_process_does_the_work_that_it_is_asked_to_do(
    words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the one that asks."""
    task = [rows for _, rows in words if rows is not None]
    wanted = [induce(rows).centroids for rows in task]
    monkeypatch.setattr(induction_pool, "induce_all", None)
    worker = induction_pool._Worker()
    try:
        for found, centroids in zip(worker.ask(task), wanted, strict=True):
            np.testing.assert_array_equal(found, centroids)
    finally:
        worker.end()
        worker.close()


def test_work_in_hand_is_dropped_when_nobody_wants_it(
    words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl-C: neither what a process was asked nor what waits is done here."""
    done: list[object] = []
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with closing(InductionPool(N_WORDS, 3)) as pool:
            asked = pool.induce(words)
            next(asked)
            monkeypatch.setattr(induction_pool, "induce_all", done.append)
            raise KeyboardInterrupt
    assert done == []


def test_where_no_process_can_be_started_this_one_does_all(
    words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the system allows no more of them."""

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with closing(InductionPool(N_WORDS, 3)) as pool:
        assert_right(list(pool.induce(words)), words)


def test_processes_end_with_the_work(words: Words) -> None:
    """When it is done, and when it fails."""
    with closing(InductionPool(N_WORDS, 2)) as pool:
        [done] = (worker.process for worker in pool._workers)

    def failing() -> Iterator[tuple[str, Rows | None]]:
        yield from words
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):  # noqa: SIM117
        with closing(InductionPool(N_WORDS, 2)) as pool:
            [failed] = (worker.process for worker in pool._workers)
            list(pool.induce(failing()))
    for process in (done, failed):
        assert process.returncode is not None


def test_no_process_is_left_when_their_parent_is_killed() -> None:
    """They end with the socket that it held."""
    code = (
        "import time; from jobs import induction_pool as pool; pool.WORTHWHILE_WORDS = 1\n"
        "found = pool.InductionPool(9, 3)\n"
        "print(*(worker.process.pid for worker in found._workers), flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)
    assert len(pids) == 2
    deadline = time.monotonic() + 30
    while any(_is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] != "Z"  # ended, and nobody has waited for it
