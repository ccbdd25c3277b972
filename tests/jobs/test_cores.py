"""Cores that may be used: as many as the process is scheduled on, or has the time of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from jobs.cores import core_share, count_cores, scheduled_cores


@pytest.mark.parametrize(
    ("membership", "files", "share"),
    [
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000"}, 1),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "100000 100000"}, 1),
        ("0::/a\n", {"b/cpu.max": "100000 100000"}, None),
        (
            "4:cpu,cpuacct:/a\n0::/\n",
            {"cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000"},
            4,
        ),
        (
            "4:cpuset:/\n3:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
        ("", {}, None),
    ],
)
def test_share_of_control_groups(
    tmp_path: Path, membership: str, files: Mapping[str, str], share: int | None
) -> None:
    """The least of all limits, of either version of control groups, rounded up."""
    (tmp_path / "membership").write_text(membership)
    for name, content in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    assert core_share(tmp_path / "groups", tmp_path / "membership") == share


def test_no_control_groups(tmp_path: Path) -> None:
    """Where the kernel shows none, nothing is limited."""
    assert core_share(tmp_path, tmp_path / "nothing") is None


def test_cores_of_this_process() -> None:
    """At least one, and no more than there are."""
    assert 1 <= count_cores() <= scheduled_cores() <= (os.cpu_count() or 1)
