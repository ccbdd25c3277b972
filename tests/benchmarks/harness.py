"""What every benchmark needs: a process's time and memory, alternating rounds, one table.

The benchmark itself imports the standard library only, for two reasons: all measured work is done
in fresh processes, and a process starts with the memory peak of the one that started it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "jobs" / "sample" / "corpus.parquet"
SEED = 1
CACHE_VARIABLE = "EMBEDDER_CACHE"
CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
LIBRARIES = ("torch", "transformers", "sentence-transformers", "openvino", "nncf", "faiss-cpu")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # what getrusage(2) counts in
MAX_REASON = 160


class ChildFailedError(Exception):
    """A measured process failed; the message is the last line that it wrote to stderr."""


@dataclass(frozen=True)
class Measured:
    """What one process took.

    Args:
        seconds: wall time from before its start until it ended.
        peak_bytes: largest resident memory of the process, or of one that it started.
        output: what it wrote to stdout.
    """

    seconds: float
    peak_bytes: int
    output: str

    def json(self) -> Any:
        """The output, read as JSON; lines before the first `{` belong to libraries."""
        return json.loads(self.output[self.output.index("{") :])


def measure(command: Sequence[str | Path], env: Mapping[str, str]) -> Measured:
    """Run a process to its end.

    Raises:
        ChildFailedError: it exited with another status than 0.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=env,
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [f"exit status {child.returncode}"]
            raise ChildFailedError(lines[-1].strip()[:MAX_REASON])
        output.seek(0)
        return Measured(seconds, usage.ru_maxrss * RSS_UNIT, output.read())


def environment(**changes: str | Path) -> dict[str, str]:
    """The environment without the user's settings of the tool (but with the cache) and offline."""
    kept = {
        k: v for k, v in os.environ.items() if k == CACHE_VARIABLE or not k.startswith("EMBEDDER_")
    }
    return {**kept, "HF_HUB_OFFLINE": "1", **{k: str(v) for k, v in changes.items()}}


def tool(*arguments: str | Path) -> list[str | Path]:
    """The project's command line."""
    return [sys.executable, "-m", "jobs", *arguments]


def child(script: str, name: str, *arguments: object, python: str = sys.executable) -> list[str]:
    """A command that runs a function of a benchmark in a process of its own."""
    return [python, script, "--child", name, *map(str, arguments)]


def run_child(functions: Mapping[str, Callable[..., None]]) -> bool:
    """Run the function that the command line names with `--child`; False when it names none."""
    if sys.argv[1:2] != ["--child"]:
        return False
    functions[sys.argv[2]](*sys.argv[3:])
    return True


def alternate(
    runs: Mapping[str, Callable[[], Measured]], n_rounds: int
) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    """Run each in turn, round after round; what fails once is left out from then on.

    Returns:
        What each run took, in the order of the rounds, and why the others failed.
    """
    results: dict[str, list[Measured]] = {name: [] for name in runs}
    failed: dict[str, str] = {}
    for number in range(n_rounds):
        for name, run in runs.items():
            if name in failed:
                continue
            print(f"round {number + 1} of {n_rounds}: {name}", file=sys.stderr, flush=True)
            try:
                results[name].append(run())
            except ChildFailedError as error:
                failed[name] = str(error)
    return {name: found for name, found in results.items() if name not in failed}, failed


def ratio_of_pairs(numerators: Sequence[float], denominators: Sequence[float]) -> str:
    """Median and range of the ratios within each round."""
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)], ".2f")


def spread(values: Sequence[float], form: str) -> str:
    """Median, and the range where there are several values."""
    median = f"{statistics.median(values):{form}}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):{form}} to {max(values):{form}})"


def peak(runs: Sequence[Measured]) -> str:
    """Largest peak memory of some runs, in MiB."""
    return f"{max(run.peak_bytes for run in runs) / 2**20:,.0f}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * width for width in widths], *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(cells)} |")


def print_machine() -> None:
    """Print the processor, the accelerator and the versions, to stand under the table."""
    print(f"\nMachine: {_processor()}, {_n_cores()} cores{_accelerator()}; {platform.system()}.")
    print(f"Python {platform.python_version()}, {versions(LIBRARIES)}.")


def versions(libraries: Sequence[str]) -> str:
    """Name and version of the libraries that are installed."""
    found = []
    for library in libraries:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _n_cores() -> int:
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in path.read_text().splitlines())
    values = {name.strip(): value.strip() for name, _, value in lines}
    flags = set(values.get("flags", "").split())
    found = ", ".join(flag for flag in CPU_FLAGS if flag in flags)
    return f"{values.get('model name', platform.machine())} ({found})"


def _accelerator() -> str:
    if not shutil.which("nvidia-smi"):
        return ""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(query, capture_output=True, text=True).stdout.strip().splitlines()
    return f", {', '.join(names)}" if names else ""


def parse_options(parser: argparse.ArgumentParser, rest: str) -> argparse.Namespace:
    """The options of a benchmark, and as `rest` what stands after `--`, for a command."""
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:end])
    setattr(options, rest, sys.argv[end + 1 :])
    return options


def evaluate(*asked: str | Path) -> Any:
    """What `embedder evaluate` prints as JSON; lines before it belong to libraries."""
    output = measure(tool("evaluate", *asked, "--format", "json"), environment()).output
    return json.loads(output[min(i for c in "[{" if (i := output.find(c)) >= 0) :])


def find_measure(found: Any, name: str) -> float:
    """A measure in what `evaluate` gave: of its summary, or of its only row."""
    values = found[0] if isinstance(found, list) else found.get("summary", found)
    return float(values[name])


def draw(path: str, n_rows: str, out: str) -> None:
    """Write some rows of a file, in an order of chance."""
    import numpy as np
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    chosen = np.random.default_rng(SEED).permutation(table.num_rows)[: int(n_rows)]
    pq.write_table(table.take(chosen), out)
