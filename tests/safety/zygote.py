"""A process that has imported everything and forks a child for each command it is asked to run.

Importing takes most of a second and forking a hundredth, so thousands of runs are affordable. The
children are processes of their own that run the command line's own entry. Forking happens before
any library has started a thread, as is checked.

Asked through a socket, one JSON line a request and one a reply; a connection's requests are run
one after another, those of several connections at once.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
MODULES = (
    "pyarrow.parquet",
    "faiss",
    "duckdb",
    "openvino",
    "tokenizers",
    "scipy.cluster.hierarchy",
    "scipy.optimize",
    "embedder.encoders.openvino_encoder",
    "jobs.build",
    "jobs.compact",
    "jobs.delete",
    "jobs.ids",
    "jobs.progress",
    "jobs.query",
    "jobs.verify",
    "jobs.results",
    "jobs.cli",
    "jobs.export",
    "faults",
    "interference",
    "reader",
)


def serve(address: str, *modules: str) -> NoReturn:
    """Accept connections until stdin is closed; each gets a process of its own."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # it starts a thread
    for name in (*MODULES, *modules):
        importlib.import_module(name)
    names = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    # Arrow's allocator has a thread that knows how to be forked.
    if threading.active_count() > 1 or len(names - {"jemalloc_bg_thd"}) > 1:
        raise SystemExit(f"threads run before the first fork: {names}")
    gc.collect()
    gc.freeze()  # children need no copies of what the collector would only look at
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # connections' processes are not waited for
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                os._exit(0)
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer_all(connection)
            connection.close()


def _answer_all(connection: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("rwb") as channel:
        for line in channel:
            reply = _run(json.loads(line))
            channel.write(json.dumps(reply).encode() + b"\n")
            channel.flush()
    os._exit(0)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """Fork a child, wait until it has ended, and say how."""
    streams = {name: os.memfd_create(name) for name in ("stdout", "stderr", "report")}
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(request, streams)
    if request["kill_after"] is not None:
        _kill_after(child, request["kill_after"])
    _, status, used = os.wait4(child, 0)
    reply: dict[str, Any] = {
        "returncode": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }
    for name, handle in streams.items():
        with os.fdopen(handle, "rb") as file:
            file.seek(0)
            reply[name] = file.read().decode("utf-8", "replace")
    return reply


def _kill_after(child: int, seconds: float) -> None:
    handle = os.pidfd_open(child)
    try:
        select.select([handle], [], [], seconds)
        os.kill(child, signal.SIGKILL)  # it is not reaped yet, so the number is still its own
    finally:
        os.close(handle)


def _become(request: dict[str, Any], streams: dict[str, int]) -> NoReturn:
    """Turn this process into the command, and end as the interpreter would."""
    try:
        _prepare(request, streams)
        module, _, name = request["function"].rpartition(".")
        getattr(importlib.import_module(module), name)(request["arguments"])
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - shown as the interpreter would show it
        traceback.print_exc()
        code = 70
    atexit._run_exitfuncs()
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _prepare(request: dict[str, Any], streams: dict[str, int]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests' parent does
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(streams["stdout"], 1)
    os.dup2(streams["stderr"], 2)
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    for name, value in request["settings"].items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
    if request["fault"] is not None:
        from faults import Faults, Kind

        fault = request["fault"]
        folder = Path(fault["folder"])
        Faults(folder, Kind(fault["kind"]), fault["at"], streams["report"]).install()


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    serve(*sys.argv[1:])
