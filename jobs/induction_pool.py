"""Induction of senses on several cores: the same senses in the same order, only sooner.

Threads would wait for each other, for scipy's linkage holds the interpreter's lock. Processes of
multiprocessing import the caller's program again, and outlive it when it is killed; those here end
with the socket that they are asked through.
"""

from __future__ import annotations

import io
import os
import queue
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import TypeVar

import numpy as np

from embedder.senses import induce
from embedder.vectors import Rows
from indexes.child_process import start_python
from indexes.npy import npy_bytes

TASK_WORDS = 32
TASK_USES = 20_000
"""A task is full with so many words or uses: some tenths of a second, and 8 MB."""

WORTHWHILE_WORDS = 500
"""A process takes as long to start as so many words to be grouped."""

MOST_WORKERS = 16
"""More would wait for what one process reads and writes."""

CODE = "from jobs.induction_worker import serve; serve()"
PACKAGES = ("embedder", "indexes", "jobs", "numpy", "scipy")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}

T = TypeVar("T", bound=Sized)
Answer = Future[list[Rows]]


class InductionPool:
    """Processes that find the senses of words, beside this one.

    Args:
        n_words: words that will come, about.
        n_cores: cores to use; this process takes one.
    """

    def __init__(self, n_words: int, n_cores: int) -> None:
        wanted = min(n_cores - 1, n_words // WORTHWHILE_WORDS, MOST_WORKERS)
        self._workers = _start_workers(wanted)
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(max(1, len(self._workers)), "induction")

    @property
    def n_lost(self) -> int:
        """Processes that ended by themselves; this one did their work."""
        return sum(worker.is_lost for worker in self._workers)

    def close(self) -> None:
        """End the processes, whatever they do."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.end()
        self._threads.shutdown()
        for worker in self._workers:
            worker.close()

    def induce(self, words: Iterable[tuple[T, Rows | None]]) -> Iterator[tuple[T, Rows | None]]:
        """Centroids of the senses of each word, as `embedder.senses.induce` finds them.

        Args:
            words: something that belongs to a word and has its uses' number as length, and unit
                rows that stand for them, shape (n, d); None where no senses are wanted.
        """
        waiting: deque[tuple[list[tuple[T, bool]], Answer]] = deque()
        n_asked = 2 * len(self._workers)  # each has its next task ready
        for names, task in _tasks(words):
            if task and sum(not answer.done() for _, answer in waiting) < n_asked:
                answer = self._threads.submit(self._ask, task)
            else:
                answer = Future()
                answer.set_result(induce_all(task))
            waiting.append((names, answer))
            while waiting and (waiting[0][1].done() or len(waiting) > 2 * n_asked):
                yield from _results(*waiting.popleft())
        for names, answer in waiting:
            yield from _results(names, answer)

    def _ask(self, task: Sequence[Rows]) -> list[Rows]:
        worker = self._idle.get()
        try:
            return worker.ask(task)
        finally:
            self._idle.put(worker)


class _Worker:
    """A process and the socket that it is asked through. If it ends, this one does its work.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.process = start_python(
                CODE,
                packages=PACKAGES,
                channel=theirs.fileno(),
                environment={**os.environ, **ONE_THREAD},
            )
            self._connection = Connection(ours.detach())
        self._is_wanted = True
        self.is_lost = False

    def ask(self, task: Sequence[Rows]) -> list[Rows]:
        """The centroids of the words of a task; of none where nobody wants them any more."""
        try:
            self._connection.send_bytes(pack(task))
            return unpack(self._connection.recv_bytes())
        except (EOFError, OSError):
            if not self._is_wanted:
                return []
            self.is_lost = True
            return induce_all(task)

    def end(self) -> None:
        """End the process, whatever it does; who waits for its answer waits no longer."""
        self._is_wanted = False
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()


def _start_workers(n: int) -> list[_Worker]:
    """At most so many; fewer where the system allows no more processes or files."""
    workers: list[_Worker] = []
    try:
        while len(workers) < n:
            workers.append(_Worker())
    except OSError:
        pass
    return workers


def _tasks(
    words: Iterable[tuple[T, Rows | None]],
) -> Iterator[tuple[list[tuple[T, bool]], list[Rows]]]:
    """Words some at a time: what belongs to each and whether it is to be grouped, and the rows of
    those that are."""
    names: list[tuple[T, bool]] = []
    task: list[Rows] = []
    n_uses = 0
    for name, rows in words:
        names.append((name, rows is not None))
        if rows is not None:
            task.append(rows)
        n_uses += len(name)
        if len(names) == TASK_WORDS or n_uses >= TASK_USES:
            yield names, task
            names, task, n_uses = [], [], 0
    if names:
        yield names, task


def _results(names: list[tuple[T, bool]], answer: Answer) -> Iterator[tuple[T, Rows | None]]:
    found = iter(answer.result())
    for name, is_grouped in names:
        yield name, next(found) if is_grouped else None


def induce_all(task: Iterable[Rows]) -> list[Rows]:
    """The centroids of some words, one after the other."""
    return [induce(rows).centroids for rows in task]


def pack(arrays: Sequence[Rows]) -> bytes:
    """Arrays of one width as bytes, of which `unpack` makes arrays without running anything."""
    counts = np.array([len(rows) for rows in arrays])
    return npy_bytes(counts) + npy_bytes(np.concatenate(arrays))


def unpack(content: bytes) -> list[Rows]:
    """What was packed."""
    file = io.BytesIO(content)
    counts, rows = (np.load(file, allow_pickle=False) for _ in range(2))
    return np.split(rows, np.cumsum(counts)[:-1])
