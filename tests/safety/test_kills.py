"""Writers killed at random moments, also while somebody searches: nothing committed is lost."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from contents import Answer, expected, read_entries
from forked import MANY_COMMITS, Ended, Zygote
from scenarios import INDEX, Scenario, Scenarios

from indexes.layout import Layout
from indexes.leftovers import find_leftovers
from indexes.manifest_file import read_manifest

N_KILLS = 50
"""Of each command."""

N_ROUNDS = 4
N_KILLS_A_STEP = 3
N_AT_ONCE = 2
SEED = 1729


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new", "update", "delete --where", "compact"])
def test_a_kill_at_any_moment(
    scenario: Callable[[str], Scenario],
    zygote: Zygote,
    quick_folder: Path,
    record_property: Callable[[str, object], None],
    name: str,
) -> None:
    """Killed at any moment, a command leaves the state before or after it, and its next run ends
    as if nothing had happened."""
    found, folder = scenario(name), quick_folder / f"kills {name}"
    undisturbed = [
        zygote.run(*found.arguments, cwd=found.start(folder / f"usual {n}").parent)
        for n in range(N_AT_ONCE)
    ]
    usual = min(done.seconds for done in undisturbed)
    chance = random.Random(SEED)
    moments = [chance.uniform(0, usual) for _ in range(N_KILLS)]

    def kill(number: int) -> list[str]:
        written, moment = found.start(folder / str(number)), moments[number]
        while not zygote.run(*found.arguments, cwd=written.parent, kill_after=moment).is_killed:
            shutil.rmtree(written.parent)  # it was quicker than usual
            written, moment = found.start(folder / str(number)), moment * 0.8
        problems = found.wrong(written)
        again = zygote.run(*found.arguments, cwd=written.parent)
        if again.returncode or again.stderr:
            problems.append(f"the next run failed: {again}")
        elif read_entries(written) != found.entries:
            problems.append("the next run left other files")
        shutil.rmtree(written.parent)
        return [f"killed after {moment:.3f} s: {problem}" for problem in problems]

    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        problems = list(itertools.chain(*pool.map(kill, range(N_KILLS))))
    line = (
        f"kills: command={name.replace(' ', '-')} killed={N_KILLS} within={usual:.2f}s "
        f"lost={len(problems)}"
    )
    print(f"\n{line}")
    record_property("kills", line)
    assert not problems, "\n".join(problems[:10])


@pytest.mark.slow
def test_kills_while_somebody_searches(
    zygote: Zygote,
    quick_folder: Path,
    small_model: Path,
    texts: list[str],
    record_property: Callable[[str, object], None],
) -> None:
    """While writers are killed again and again, every search succeeds and finds the state that
    some finished run left."""
    folder = quick_folder / "searched"
    steps = Scenarios(folder, zygote, small_model, texts).cycle()
    index = folder / "work" / INDEX
    index.parent.mkdir()
    states = _undisturbed(zygote, steps, folder / "undisturbed")
    _run(zygote, steps[0], index.parent)

    ends, reads = folder / "ends", []

    def read() -> None:
        arguments = (str(index), str(ends))
        done = zygote.run(*arguments, cwd=folder, function="reader.search_until")
        reads.append(done)

    reader = threading.Thread(target=read)
    reader.start()
    chance, n_killed = random.Random(SEED), 0
    try:
        for number in range(1, N_ROUNDS * len(steps) + 1):
            step = steps[number % len(steps)]
            seconds = 0.3
            for _ in range(N_KILLS_A_STEP):
                moment = chance.uniform(0, 1.2 * seconds)
                done = zygote.run(*step, cwd=index.parent, kill_after=moment)
                n_killed += done.is_killed
                if not done.is_killed:
                    assert (done.returncode, done.stderr) == (0, "")
            seconds = _run(zygote, step, index.parent).seconds
            assert expected(index).is_like(states[number % len(steps)])
    finally:
        ends.touch()
        reader.join()
    [done] = reads
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    answers = [Answer.from_json(values) for values in found["answers"]]
    line = (
        f"kills: with a reader, killed={n_killed} searches={found['n_searches']} "
        f"states={len(answers)} lost=0"
    )
    print(f"\n{line}")
    record_property("kills", line)
    assert all(any(answer.is_like(state) for state in states) for answer in answers)
    assert len(answers) > 1
    _run(zygote, steps[-1], index.parent)  # the first run that nobody's reading keeps from it
    layout = Layout(index)
    assert list(find_leftovers(layout, read_manifest(layout))) == []


def _undisturbed(zygote: Zygote, steps: list[tuple[str, ...]], folder: Path) -> list[Answer]:
    """What a search finds after each step, once all have been run before."""
    folder.mkdir()
    for step in steps:
        _run(zygote, step, folder)
    states = []
    for step in steps:
        _run(zygote, step, folder)
        states.append(expected(folder / INDEX))
    return states


def _run(zygote: Zygote, step: tuple[str, ...], folder: Path) -> Ended:
    done = zygote.run(*step, cwd=folder, settings=MANY_COMMITS)
    assert (done.returncode, done.stderr) == (0, "")
    return done
