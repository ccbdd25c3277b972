"""The process that evaluates filters, as its parent sees it: asked, waited for, and ended."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from embedder.errors import EmbedderError, FilterError, IndexFormatError
from indexes.child_process import start_python
from indexes.filters import MEMORY_BYTES, cause, shown
from indexes.layout import Layout

CODE = "from indexes.filter_server import serve; serve(sys.argv[1])"
PACKAGES = ("duckdb", "embedder", "indexes")

_SIMPLER = "Make it simpler, or make what it computes a column of the corpus."


class FilterProcess:
    """A process that evaluates filters over the documents of one index.

    It starts with the first filter, and anew with the next one after it had to be ended.

    Args:
        layout: the index.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._running is not None:
            self._running.end()
            self._running = None

    def evaluate(self, where: str, sql: str, columns: Sequence[str], seconds: float) -> str:
        """The result of a query around a filter: a text of one 0 or 1 for each document.

        It is empty if the filter holds for no document.

        Args:
            where: the filter.
            sql: the query.
            columns: what the filter sees.
            seconds: how long it may take.

        Raises:
            FilterError: the filter is refused, does not work, or needs too much time or memory.
            IndexFormatError: the documents are damaged.
            EmbedderError: the process cannot be started.
        """
        request = {"where": where, "sql": sql, "columns": columns}
        with self._lock:
            answer = self._ask(request, seconds)
        if "refused" in answer:
            raise FilterError(answer["refused"], answer["hint"])
        if "damaged" in answer:
            raise IndexFormatError(
                f"The documents cannot be read: {cause(answer['damaged'])}",
                "Run embedder index again to restore them.",
            )
        if "failed" in answer:
            raise FilterError(
                f"The filter {shown(where)} does not work: {cause(answer['failed'])}",
                f"It can use the columns {_listed(columns)}.",
            )
        allowed: str = answer["allowed"]
        return allowed

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to a request. Whatever goes wrong, the process is ended with it."""
        if self._running is None or not self._running.is_alive:
            self._running = _Running(self._layout)
        running, where = self._running, shown(request["where"])
        try:
            reply = running.exchange(json.dumps(request).encode() + b"\n", seconds)
        except TimeoutError:
            self.close()
            problem = f"took longer than {seconds:g} s and was ended"
            raise FilterError(f"The filter {where} {problem}.", _SIMPLER) from None
        except BaseException:  # Ctrl-C: nobody waits for the answer any more
            self.close()
            raise
        answer: dict[str, Any] = json.loads(reply) if reply.endswith(b"\n") else {}
        if not answer:
            self.close()
            problem = f"ended its process ({running.how}), by the memory it needs or a fault"
            raise FilterError(f"The filter {where} {problem} of DuckDB.", _SIMPLER)
        if answer.get("is_too_large"):
            self.close()  # what it could not get may still be missing
            problem = f"needs more memory than {MEMORY_BYTES >> 30} GB"
            raise FilterError(f"The filter {where} {problem}.", _SIMPLER)
        return answer


class _Running:
    """A started process and the socket that is its stdin and stdout."""

    def __init__(self, layout: Layout) -> None:
        self._channel, theirs = socket.socketpair()
        try:
            self._process = _start(layout, theirs.fileno())
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()
        self._replies = self._channel.makefile("rb")
        # Also where nobody closes it: when it is collected, or the interpreter exits.
        self.end = weakref.finalize(self, _end, self._process, self._replies, self._channel)

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    @property
    def how(self) -> str:
        """How it ended."""
        return f"exit code {self._process.returncode}"

    def exchange(self, message: bytes, seconds: float) -> bytes:
        """The reply to a message; without its end if the process has ended.

        Raises:
            TimeoutError: it took too long.
        """
        self._channel.settimeout(seconds)
        try:
            self._channel.sendall(message)
            return self._replies.readline()
        except ConnectionError:
            return b""


def _start(layout: Layout, channel: int) -> subprocess.Popen[bytes]:
    try:
        return start_python(CODE, str(layout.segments), packages=PACKAGES, channel=channel)
    except OSError as error:
        raise EmbedderError(f"The process for filters cannot be started: {error}.") from error


def _listed(names: Sequence[str]) -> str:
    """Names on one line of bounded length."""
    text = ", ".join(name if name.isprintable() else repr(name) for name in names)
    return text if len(text) <= 500 else f"{text[:500]}..."


def _end(process: subprocess.Popen[bytes], *ends: Any) -> None:
    process.kill()
    # One that waits for a disk that is gone cannot be ended, and is not waited for.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    for end in ends:
        end.close()
