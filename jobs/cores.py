"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def count_cores() -> int:
    """Cores that this process is scheduled on, or fewer where its share of time is limited."""
    share = core_share()
    return scheduled_cores() if share is None else min(scheduled_cores(), share)


def scheduled_cores() -> int:
    """Cores that this process is scheduled on."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def core_share(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """The cores whose time this process gets, rounded up; None if its time is not limited.

    A container that may use two of sixty-four cores is scheduled on all of them, and is stopped
    for most of the time when it starts sixty-four threads. Libraries look at the cores alone.

    Args:
        cgroups: where the kernel shows control groups, of version 2 or 1.
        membership: the file that says which ones this process is in.
    """
    shares = [share for folder in _groups(cgroups, membership) if (share := _share(folder))]
    return max(1, math.ceil(min(shares))) if shares else None


def _groups(cgroups: Path, membership: Path) -> Iterator[Path]:
    """Folders of the groups that bound this process; those above them bound it too."""
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" or "cpu" in controllers.split(","):
            base = cgroups if number == "0" else cgroups / "cpu"
            folder = base / path.lstrip("/")
            groups = (folder, *folder.parents)
            yield from (group for group in groups if group.is_relative_to(base))


def _share(folder: Path) -> float | None:
    """Seconds of a core that a group gets in a second; None for as many as there are."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
            )
        return float(quota) / float(period) if float(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no limit there, or "max"
        return None
