"""A crash or a failing disk at every call that changes an index, one after another.

After each: what was committed can be read and is the state before or the state after, and the
same command, run again, ends byte-identical to a run that nothing disturbed.
"""

from __future__ import annotations

import itertools
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from contents import digest_entries, expected, read_entries, search_everything
from faults import WRITES, Kind
from forked import MANY_COMMITS, Ended, Fault, Zygote
from scenarios import INDEX, MAKERS, Scenario, Scenarios

from indexes.layout import Layout
from indexes.lock import hold_open
from indexes.manifest_file import read_manifest

KILLS = (Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.KILL_HALFWAY)
ERRORS = (Kind.NO_SPACE, Kind.NO_SPACE_FROM_NOW_ON, Kind.IO_ERROR)
OTHERS = (
    Kind.NO_SPACE,
    Kind.KILL_HALFWAY,
    Kind.IO_ERROR,
    Kind.NO_SPACE_FROM_NOW_ON,
    Kind.INTERRUPT,
)
"""What takes turns with being killed after a call."""

INTERRUPTED = 130
N_AT_ONCE = 2
N_DOUBLE = 16
SEED = 1729

Make = Callable[[str], Scenario]
Point = tuple[int, Kind]


@dataclass
class Trial:
    """Faults in one scenario, with what was found.

    Args:
        scenario: the scenario.
        zygote: runs the commands.
        folder: for the working folders.
        settings: of the runs with faults.
    """

    scenario: Scenario
    zygote: Zygote
    folder: Path
    settings: dict[str, Any] = field(default_factory=lambda: {**MANY_COMMITS})
    runs: Counter[Kind] = field(default_factory=Counter)
    n_lost: int = 0
    n_harmless: int = 0
    cpu_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    seen: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def calls(self) -> list[dict[str, Any]]:
        """The calls of an undisturbed run that change the index, in order."""
        written = self._start()
        done = self.zygote.run(
            *self.scenario.arguments,
            cwd=written.parent,
            fault=Fault(written.parent, Kind.RECORD),
            settings=self.settings,
        )
        assert done.returncode == 0, done
        assert read_entries(written) == self.scenario.entries
        return done.report

    def disturb(self, point: Point) -> None:
        """A run with a fault, and all that has to hold after it."""
        written = self._start()
        self._note(point, self._fault(written, point))
        shutil.rmtree(written.parent)

    def disturb_twice(self, points: tuple[Point, Point]) -> None:
        """A fault in a run, and another in the one that recovers from it."""
        written = self._start()
        self._note(points[0], self._fault(written, points[0]))
        self._note(points[1], self._fault(written, points[1], may_pass=True))
        shutil.rmtree(written.parent)

    def _start(self) -> Path:
        with self._lock:
            number = next(self._numbers)
        return self.scenario.start(self.folder / str(number))

    def _fault(self, written: Path, point: Point, *, may_pass: bool = False) -> list[str]:
        """Run with a fault; what is wrong afterwards."""
        at, kind = point
        done = self.zygote.run(
            *self.scenario.arguments,
            cwd=written.parent,
            fault=Fault(written.parent, kind, at),
            settings=self.settings,
        )
        with self._lock:
            self.runs[kind] += 1
            self.cpu_seconds += done.cpu_seconds
        found = self._wrong_ending(done, kind, written, may_pass=may_pass)
        entries = read_entries(written)
        state = digest_entries(entries)
        with self._lock:
            is_new = state not in self.seen
            self.seen.add(state)
        if is_new:  # else another fault has led to the same bytes, which have been looked at
            wrong = self.scenario.wrong(written)
            with self._lock:
                self.n_lost += bool(wrong)
            found += [*wrong, *self._unrecovered(written)]
        return found

    def _wrong_ending(self, done: Ended, kind: Kind, written: Path, *, may_pass: bool) -> list[str]:
        if not done.report:
            return [] if may_pass and done.returncode == 0 else [f"was not reached: {done}"]
        if kind in KILLS:
            return [] if done.is_killed else [f"was not killed: {done}"]
        if kind is Kind.INTERRUPT:  # the line on which a terminal shows ^C is ended first
            is_clear = done.returncode == INTERRUPTED and len(done.stderr.split("\n")) == 3
            return [] if is_clear else [f"ended with {done}"]
        if done.returncode == 0:
            self.n_harmless += 1
            is_done = all(
                (written / name).read_bytes() == self.scenario.entries[name]
                for name in self.scenario.results
            )
            return [] if is_done and not done.stderr else [f"is not done, and says {done}"]
        lines = done.stderr.splitlines()
        is_clear = done.returncode == 1 and len(lines) == 1 and lines[0].startswith("Error: ")
        return [] if is_clear and done.stdout == "" else [f"ended with {done}"]

    def _unrecovered(self, written: Path) -> list[str]:
        """What is wrong after the same command has been run again, on a copy."""
        again = written.parent.with_name(f"{written.parent.name}-again")
        shutil.copytree(written.parent, again)
        done = self.zygote.run(*self.scenario.arguments, cwd=again)
        with self._lock:
            self.cpu_seconds += done.cpu_seconds
        if done.returncode or done.stderr:
            return [f"the next run failed: {done}"]
        entries = read_entries(again / written.name)
        shutil.rmtree(again)
        differing = entries.keys() ^ self.scenario.entries.keys() or {
            name for name in entries if entries[name] != self.scenario.entries[name]
        }
        return [f"the next run left other files: {sorted(differing)}"] if differing else []

    def _note(self, point: Point, found: list[str]) -> None:
        with self._lock:
            self.problems += [f"{point[1]} at call {point[0]}: {what}" for what in found]


def every_point(scenario: Scenario, calls: list[dict[str, Any]]) -> list[Point]:
    """Faults at every call; only a write can be cut in half, and only it fills a disk.

    Where a run takes long, there is a kill after every call, and each other kind at some of them:
    before a call is after the one before it, and an error is handled the same whatever its number.
    """
    takes_long = scenario.arguments[0] in ("index", "compact") or "--where" in scenario.arguments
    found: list[Point] = []
    for call in calls:
        kinds = {*KILLS, *ERRORS, Kind.INTERRUPT}
        if takes_long and call["n"] > 1:
            others = {OTHERS[call["n"] // 2 % len(OTHERS)]} if call["n"] % 2 else set()
            kinds = {Kind.KILL_AFTER, *others}
        if call["name"] not in WRITES:
            kinds -= {Kind.KILL_HALFWAY, Kind.NO_SPACE_FROM_NOW_ON}
        found += [(call["n"], kind) for kind in sorted(kinds)]
    return found


def double_points(n_points: int) -> list[tuple[Point, Point]]:
    """Pairs of faults, drawn from all of them."""
    chance = random.Random(SEED)
    kinds = [kind for kind in (*KILLS, *ERRORS) if kind is not Kind.KILL_HALFWAY]

    def draw() -> Point:
        return chance.randint(1, n_points), chance.choice(kinds)

    return [(draw(), draw()) for _ in range(N_DOUBLE)]


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_fault_at_every_call(
    scenario: Make,
    zygote: Zygote,
    quick_folder: Path,
    record_property: Callable[[str, object], None],
    name: str,
) -> None:
    """Whatever call is the last one or fails, nothing committed is lost, and the next run ends
    as if nothing had happened."""
    trial = Trial(scenario(name), zygote, quick_folder / name)
    calls = trial.calls()
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        list(pool.map(trial.disturb, every_point(trial.scenario, calls)))
        list(pool.map(trial.disturb_twice, double_points(len(calls))))
    runs = " ".join(f"{kind.replace(' ', '-')}={n}" for kind, n in sorted(trial.runs.items()))
    line = (
        f"faults: command={name.replace(' ', '-')} points={len(calls)} kinds={len(trial.runs)} "
        f"runs={trial.runs.total()} lost={trial.n_lost} states={len(trial.seen)} "
        f"harmless={trial.n_harmless}"
    )
    print(f"\n{line} cpu_seconds={trial.cpu_seconds:.0f} {runs}")
    record_property("faults", line)
    assert not trial.problems, f"{len(trial.problems)}:\n" + "\n".join(trial.problems[:20])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new", "compact", "export parquet", "export npy"])
def test_a_disk_that_stays_full_is_said_once(
    scenario: Make, zygote: Zygote, quick_folder: Path, name: str
) -> None:
    """When a file is written in many pieces, as a large one is, a full disk is still one line."""
    settings = {**MANY_COMMITS, "indexes.durable.WRITE_BUFFER_BYTES": 512}
    trial = Trial(scenario(name), zygote, quick_folder / f"full {name}", settings)
    writes = [call["n"] for call in trial.calls() if call["name"] in WRITES]
    assert len(writes) > 5
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        list(pool.map(trial.disturb, [(n, Kind.NO_SPACE_FROM_NOW_ON) for n in writes[::2]]))
    assert not trial.problems, "\n".join(trial.problems[:20])


@pytest.mark.slow
def test_a_fault_takes_nothing_from_a_reader(
    zygote: Zygote, quick_folder: Path, small_model: Path, texts: list[str]
) -> None:
    """Who has an index open goes on finding what was there when a run that writes the same
    segments again fails."""
    folder = quick_folder / "with a reader"
    back, forth, *_ = Scenarios(folder, zygote, small_model, texts).cycle()
    start = folder / "start" / INDEX
    start.parent.mkdir()
    zygote.run(*back, cwd=start.parent)
    opened, answer = read_manifest(Layout(start)), expected(start)
    with hold_open(Layout(start).readers):
        zygote.run(*forth, cwd=start.parent)

    def go_back(point: Point) -> Ended:
        """Build what was there again, while it is being read."""
        index = shutil.copytree(start.parent, folder / f"{point[1]} {point[0]}") / INDEX
        with hold_open(Layout(index).readers):
            fault = Fault(index, point[1], point[0])
            done = zygote.run(*back, cwd=index.parent, fault=fault)
            assert search_everything(Layout(index), opened).is_like(answer), point
        shutil.rmtree(index.parent)
        return done

    calls = go_back((0, Kind.RECORD)).report
    assert any(call["name"] == "mkdir" for call in calls)
    points = [(call["n"], Kind.IO_ERROR) for call in calls]
    points += [(call["n"], Kind.KILL_AFTER) for call in calls[::4]]
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        assert all(done.report for done in pool.map(go_back, points))
