"""Induction of senses on several cores: the same senses in the same order, only sooner.

Threads would wait for each other, for scipy's linkage holds the interpreter's lock. Processes of
multiprocessing import the caller's program again, and outlive it when it is killed; those here end
with the socket that they are asked through.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from embedder.senses import induce
from embedder.vectors import Rows

TASK_WORDS = 32
TASK_USES = 20_000
"""A task is full with so many words or uses: some hundredths of a second, and 8 MB."""

WORTHWHILE_WORDS = 500
"""A process takes as long to start as so many words to be grouped."""

CODE = (
    "import sys; sys.path += sys.argv[2:]; "
    "from jobs.induction_worker import serve; serve(int(sys.argv[1]))"
)
PACKAGES = ("embedder", "jobs", "numpy", "scipy")
T = TypeVar("T")

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}

Centroids = Rows | None
Task = Sequence[Rows | None]


class InductionPool:
    """Processes that find the senses of words, beside this one.

    Args:
        n_words: words that will come, about.
        n_cores: cores to use; this process takes one.
    """

    def __init__(self, n_words: int, n_cores: int) -> None:
        n_workers = min(n_cores - 1, n_words // WORTHWHILE_WORDS)
        self._workers = [_Worker() for _ in range(n_workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(max(1, n_workers), "induction")

    def __enter__(self) -> InductionPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def induce(self, words: Iterable[tuple[T, Rows | None]]) -> Iterator[tuple[T, Centroids]]:
        """Centroids of the senses of each word, as `embedder.senses.induce` finds them.

        Args:
            words: something that belongs to the word, and unit rows of its uses, shape
                (n_uses, d); None where no senses are wanted.
        """
        waiting: deque[tuple[list[T], Future[list[Centroids]]]] = deque()
        n_asked = 2 * len(self._workers)  # each has its next task ready
        for names, task in _tasks(words):
            if sum(not future.done() for _, future in waiting) < n_asked:
                waiting.append((names, self._threads.submit(self._ask, task)))
            else:
                done: Future[list[Centroids]] = Future()
                done.set_result(induce_task(task))
                waiting.append((names, done))
            while waiting and (waiting[0][1].done() or len(waiting) > 4 * n_asked):
                yield from _results(*waiting.popleft())
        for names, future in waiting:
            yield from _results(names, future)

    def _ask(self, task: Task) -> list[Centroids]:
        worker = self._idle.get()
        try:
            return worker.ask(task)
        finally:
            self._idle.put(worker)


class _Worker:
    """A process and the socket that it is asked through. If it has ended, this one does its work,
    as where none can be started."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._connection = Connection(ours.detach())
        self._process: subprocess.Popen[bytes] | None = None
        with theirs, contextlib.suppress(OSError):
            self._process = _start(theirs.fileno())

    def ask(self, task: Task) -> list[Centroids]:
        """The centroids of the words of a task."""
        try:
            self._connection.send(task)
            found: list[Centroids] = self._connection.recv()
        except (EOFError, OSError):
            return induce_task(task)
        return found

    def end(self) -> None:
        """End the process, whatever it does; who waits for its answer waits no longer."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()


def _start(channel: int) -> subprocess.Popen[bytes]:
    """Start a process. Ctrl-C does not reach it: it ends with this one's end of the socket."""
    specs = [importlib.util.find_spec(name) for name in PACKAGES]
    folders = {str(Path(spec.origin).parents[1]): None for spec in specs if spec and spec.origin}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", CODE, str(channel), *folders],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(channel,),
        process_group=0,
        env={**os.environ, **ONE_THREAD},
    )


def _tasks(words: Iterable[tuple[T, Rows | None]]) -> Iterator[tuple[list[T], Task]]:
    names: list[T] = []
    task: list[Rows | None] = []
    n_uses = 0
    for name, rows in words:
        names.append(name)
        task.append(rows)
        n_uses += 0 if rows is None else len(rows)
        if len(task) == TASK_WORDS or n_uses >= TASK_USES:
            yield names, task
            names, task, n_uses = [], [], 0
    if task:
        yield names, task


def _results(names: list[T], future: Future[list[Centroids]]) -> Iterator[tuple[T, Centroids]]:
    yield from zip(names, future.result(), strict=True)


def induce_task(task: Task) -> list[Centroids]:
    """The centroids of the words of a task, one after the other."""
    return [None if rows is None else induce(rows).centroids for rows in task]
