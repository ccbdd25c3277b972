"""Cases that do what the harness has to notice, at seed 5."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def crash(folder: Path, seed: int) -> str:
    """End the process as a failed assertion in C++ does."""
    if seed == 5:
        os.abort()
    return "fine"


def hang(folder: Path, seed: int) -> str:
    """Never come back."""
    if seed == 5:
        signal.alarm(1)  # as the harness has done, for longer
        time.sleep(600)
    return "fine"


def raise_something(folder: Path, seed: int) -> str:
    """Raise what no case should let through."""
    if seed == 5:
        raise KeyError(seed)
    return "fine"
