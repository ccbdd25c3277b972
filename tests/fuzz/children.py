"""Cases run in child processes, so that a crash or a hang is the failure of one seed.

As a script it is such a child: `children.py MODULE FUNCTION FOLDER FIRST LAST`.
"""

from __future__ import annotations

import importlib
import resource
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CASE_SECONDS = 20
"""How long one case may take before it counts as a hang."""

CASE_MEGABYTES = 300
"""How much more memory one case may take than all cases before it."""

N_CHILDREN = 2


def run_cases(module: str, function: str, folder: Path, n_cases: int) -> Counter[str]:
    """How often `function(folder, seed)` came to what, for the seeds below `n_cases`.

    What starts with `bad` is a failure: another exception, a crash, a hang or too much memory.
    """
    step = -(-n_cases // N_CHILDREN)
    parts = [(i, min(i + step, n_cases)) for i in range(0, n_cases, step)]
    with ThreadPoolExecutor(len(parts)) as pool:
        found = pool.map(lambda part: _run_part(module, function, folder, *part), parts)
    return sum(found, Counter[str]())


def _run_part(module: str, function: str, folder: Path, first: int, last: int) -> Counter[str]:
    """The outcomes of some seeds; after a crash the rest goes to a new child."""
    outcomes: list[str] = []
    while first + len(outcomes) < last:
        start = first + len(outcomes)
        arguments = [module, function, str(folder), str(start), str(last)]
        command = [sys.executable, "-X", "faulthandler", __file__, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        outcomes += done.stdout.splitlines()
        if done.returncode:
            seed = first + len(outcomes)
            outcomes.append(f"bad: seed {seed} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Counter(outcomes)


def _child(module: str, function: str, folder: str, first: str, last: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path.insert(0, str(Path(__file__).parents[2]))
    case = getattr(importlib.import_module(module), function)
    for seed in range(int(first), int(last)):
        before = _peak_megabytes()
        signal.alarm(CASE_SECONDS)
        outcome = case(Path(folder), seed)
        signal.alarm(0)
        grown = _peak_megabytes() - before
        if grown > CASE_MEGABYTES and seed > int(first):
            outcome = f"bad: seed {seed} took {grown} MB"
        print(outcome.replace("\n", " "), flush=True)


def _peak_megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    _child(*sys.argv[1:])
