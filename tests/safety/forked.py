"""Commands run in children of the zygote: real processes of the command line, at no start-up cost.

See `zygote.py` for the other side.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import Kind

ZYGOTE = Path(__file__).with_name("zygote.py")
MANY_COMMITS = {
    "jobs.sink.COMMIT_SECONDS": -1.0,
    "jobs.sink.COMMIT_SHARE": float("inf"),
    "jobs.stream.WINDOW_PASSAGES": 1,
}
"""Settings with which a build of a small corpus commits after every row group, whatever a commit
takes: the calls of two runs are the same ones."""


@dataclass(frozen=True)
class Fault:
    """A fault at one of the calls that change files under a folder."""

    folder: Path
    kind: Kind
    at: int = 0

    def to_json(self) -> dict[str, Any]:
        """What the zygote reads."""
        return {"folder": str(self.folder), "kind": self.kind.value, "at": self.at}


@dataclass(frozen=True)
class Ended:
    """How a command ended; the exit code is minus the number of the signal that killed it."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    cpu_seconds: float
    report: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_killed(self) -> bool:
        """Whether it was killed."""
        return self.returncode < 0


class Zygote:
    """The running zygote; several threads may use it at once.

    Args:
        address: path of the socket to make.
        modules: what it imports beside what builds of an index need.
    """

    def __init__(self, address: Path, modules: Sequence[str] = ()) -> None:
        self._address = str(address)
        settings = {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONMALLOC": "pymalloc",  # the development mode's own is slow
        }
        # That mode shows errors of files that are dropped, as Python 3.13 always does.
        self._process = subprocess.Popen(
            [sys.executable, "-X", "dev", str(ZYGOTE), self._address, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **settings},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self._own = threading.local()
        self._opened: list[tuple[Any, socket.socket]] = []

    def close(self) -> None:
        """End it and its connections."""
        for channel, connection in self._opened:
            channel.close()
            connection.close()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)

    def run(
        self,
        *arguments: str | Path,
        cwd: Path,
        fault: Fault | None = None,
        kill_after: float | None = None,
        settings: Mapping[str, Any] = MANY_COMMITS,
        environment: Mapping[str, str] | None = None,
        function: str = "jobs.cli.main",
    ) -> Ended:
        """Run the command line in a forked child, and wait until it has ended.

        Args:
            arguments: of the command line.
            cwd: working folder.
            fault: what goes wrong at which call.
            kill_after: seconds after which it is killed, however far it is.
            settings: module variables to set, by their dotted names.
            environment: variables to add.
            function: what runs instead of the command line, by its dotted name.
        """
        request = {
            "arguments": [str(a) for a in arguments],
            "cwd": str(cwd),
            "fault": fault and fault.to_json(),
            "kill_after": kill_after,
            "settings": dict(settings),
            "environment": dict(environment or {}),
            "function": function,
        }
        channel = self._channel()
        channel.write(json.dumps(request).encode() + b"\n")
        channel.flush()
        reply = json.loads(channel.readline())
        report = [json.loads(line) for line in reply.pop("report").splitlines()]
        return Ended(**reply, report=report)

    def _channel(self) -> Any:
        """This thread's connection."""
        if not hasattr(self._own, "channel"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(self._address)
            self._own.channel = connection.makefile("rwb")
            self._opened.append((self._own.channel, connection))
        return self._own.channel


@contextlib.contextmanager
def running_zygote(address: Path, modules: Sequence[str] = ()) -> Iterator[Zygote]:
    """A zygote while the body runs."""
    zygote = Zygote(address, modules)
    try:
        yield zygote
    finally:
        zygote.close()
