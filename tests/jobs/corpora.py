"""Small corpora, commands that are disturbed while they run, and snapshots of folders."""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from indexes.layout import DOCUMENTS_FILE, VECTORS_FILE, Layout
from indexes.manifest_file import read_manifest

Tree = dict[str, bytes]
Done = subprocess.CompletedProcess[str]


def write_corpus(path: Path, texts: Sequence[str | None], rows: int = 50, **columns: Any) -> Path:
    """A Parquet file with the ids 0, 1, ..., the texts, and more columns; row groups of `rows`."""
    ids = columns.pop("ids", [f"d{i}" for i in range(len(texts))])
    table = pa.table({"id": ids, "text": pa.array(texts, pa.string()), **columns})
    pq.write_table(table, path, row_group_size=rows)
    return path


def tree(folder: Path) -> Tree:
    """Every file under a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def state(folder: Path) -> Tree:
    """Every file of an index, the manifest without the history of how it came to be."""
    files = tree(folder)
    content = json.loads(files["manifest.json"])
    files["manifest.json"] = repr({**content, "history": 0, "digest": 0}).encode()
    return files


def summary(done: Done) -> dict[str, Any]:
    """The JSON summary of a run of `index --format json` that went well."""
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def stored(index: Path) -> list[tuple[str, str, list[list[float]]]]:
    """Id, text and vectors of every document, in order; documents of one passage each."""
    layout, found = Layout(index), []
    for segment in read_manifest(layout).segments:
        folder = layout.segment(segment.id)
        rows = np.load(folder / VECTORS_FILE)
        table = pq.read_table(folder / DOCUMENTS_FILE)
        columns = (table["__id"].to_pylist(), table["__text"].to_pylist(), rows.tolist())
        found += list(zip(*columns, strict=True))
    return found


def start(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """The command line, running; Ctrl-C reaches it even where the tests' own parent ignores it."""
    return subprocess.Popen(
        [sys.executable, "-m", "jobs", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(
    process: subprocess.Popen[str], is_reached: Callable[[], bool], timeout: float = 120
) -> bool:
    """Whether something became true before the process ended."""
    ends = time.monotonic() + timeout
    while not is_reached():
        assert time.monotonic() < ends, "never reached"
        if process.poll() is not None:
            return False
        time.sleep(0.0005)
    return True


def run_with_file_limit(n_bytes: int, *arguments: str | Path) -> Done:
    """Run the command line where no file may grow beyond some bytes, as on a full disk."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return subprocess.run(
        [sys.executable, "-m", "jobs", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=limit,
    )


def run_in_two_processes(script: Path, *arguments: str | Path | int) -> Done:
    """Run a script in two processes that train together, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--master-port", str(port), str(script), *map(str, arguments)),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def count_entries(folder: Path, ending: str = "") -> int:
    """Entries of a folder that may not be there yet, the hidden ones left out."""
    try:
        return sum(not e.startswith(".") and e.endswith(ending) for e in os.listdir(folder))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return 0


def assert_refused(done: Done, *words: str) -> None:
    """The command failed with one line on stderr that holds the words, and no traceback."""
    assert done.returncode in (1, 2), (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    lines = [x for x in done.stderr.splitlines() if not x.startswith("exporting ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: "), done.stderr
    for word in words:
        assert word in lines[0], f"{word!r} is not in: {lines[0]}"


def weights(folder: Path) -> dict[str, Any]:
    """The weights of a model folder by name."""
    found: dict[str, Any] = load_file(folder / "model.safetensors")
    return found
