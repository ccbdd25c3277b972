"""Power fails at any instant: what was not flushed may be gone, and nothing committed is.

The calls of one undisturbed run are recorded and played on a model of a disk, once up to each
call; what may be left of them then is written out and looked at as after a kill.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from contents import Entries, digest_entries, expected, read_entries
from disk import Disk, Left, play
from faults import Kind
from forked import Fault, Zygote
from scenarios import MAKERS, Scenario

SEED = 1729
N_MIXED = 3
RECOVERED_SHARE = {"index": 0.1, "delete": 0.5, "compact": 0.3, "export": 1.0}
"""How many of the states are run again; the others are only read."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_power_fails_at_every_call(
    scenario: Callable[[str], Scenario],
    zygote: Zygote,
    quick_folder: Path,
    record_property: Callable[[str, object], None],
    name: str,
) -> None:
    """Without all that was not synced, and with any part of it, the state before or the state
    after can be read, and the next run ends as if nothing had happened."""
    found, folder = scenario(name), quick_folder / f"power {name}"
    written = found.start(folder / "run")
    before = folder / "before"
    shutil.copytree(written.parent, before)
    done = zygote.run(
        *found.arguments, cwd=written.parent, fault=Fault(written.parent, Kind.RECORD)
    )
    assert done.returncode == 0, done
    disk, chance = Disk(before), random.Random(SEED)
    seen: set[str] = set()
    problems: list[str] = []
    n_lost = n_recovered = 0
    for number, call in enumerate(done.report, start=1):
        disk.play(call)
        for left in (*Left, *[Left.SOME] * (N_MIXED - 1)):
            shutil.rmtree(folder / "left", ignore_errors=True)
            disk.write(folder / "left", left, chance)
            state = digest_entries(read_entries(folder / "left"))
            if state in seen:
                continue
            seen.add(state)
            wrong = found.wrong(folder / "left" / written.name)
            n_lost += bool(wrong)
            if chance.random() < RECOVERED_SHARE[found.arguments[0]]:
                n_recovered += 1
                wrong += _unrecovered(zygote, found, folder / "left" / written.name)
            problems += [f"{left} after call {number}, {call}: {what}" for what in wrong]
    line = (
        f"power: command={name.replace(' ', '-')} points={len(done.report)} states={len(seen)} "
        f"recovered={n_recovered} lost={n_lost}"
    )
    print(f"\n{line}")
    record_property("power", line)
    assert not problems, f"{len(problems)}:\n" + "\n".join(p[:600] for p in problems[:12])


def _unrecovered(zygote: Zygote, scenario: Scenario, written: Path) -> list[str]:
    """What is wrong after the command has been run again."""
    done = zygote.run(*scenario.arguments, cwd=written.parent)
    if done.returncode or done.stderr:
        return [f"the next run failed: {done}"]
    return [] if read_entries(written) == scenario.entries else ["the next run left other files"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_command_that_has_ended_is_safe(
    scenario: Callable[[str], Scenario], zygote: Zygote, quick_folder: Path, name: str
) -> None:
    """When a command has ended well, power may fail at once: what it committed stays."""
    found, folder = scenario(name), quick_folder / f"ended {name}"
    written = found.start(folder / "run")
    before = folder / "before"
    shutil.copytree(written.parent, before)
    done = zygote.run(
        *found.arguments, cwd=written.parent, fault=Fault(written.parent, Kind.RECORD)
    )
    disk = play(before, done.report)
    disk.write_everything(folder / "all")
    assert read_entries(folder / "all" / written.name) == found.entries
    disk.write(folder / "left", Left.NOTHING, random.Random(SEED))
    left = folder / "left" / written.name
    assert left.exists()
    if "manifest.json" in found.entries:
        assert expected(left).is_like(expected(written))
    else:
        assert _complete(read_entries(left)) == found.entries


def _complete(entries: Entries) -> Entries:
    """Without what a killed run may leave, too."""
    return {name: content for name, content in entries.items() if not name.startswith(".tmp-")}
