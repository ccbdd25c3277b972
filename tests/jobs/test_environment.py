"""Options in the environment: each under the name that its flag has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from jobs.cli import cli


def commands_in(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all commands, those in groups included."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_in(command, (*path, name))
        else:
            yield (*path, name)


def command_at(path: tuple[str, ...]) -> click.Command:
    """The command of a path."""
    found: click.Command = cli
    for name in path:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


OPTIONS = [
    (" ".join(path), option)
    for path in commands_in(cli)
    for option in command_at(path).params
    if isinstance(option, click.Option)
]


@pytest.mark.parametrize(
    ("command", "option"), OPTIONS, ids=[f"{name} {option.opts[-1]}" for name, option in OPTIONS]
)
def test_every_option_has_its_variable(
    command: str, option: click.Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMBEDDER_<COMMAND>_<OPTION> sets the option of that name."""
    flag = max(option.opts, key=len).lstrip("-")
    prefix = f"EMBEDDER_{command}".upper().replace("-", "_").replace(" ", "_")
    monkeypatch.setenv(f"{prefix}_{flag}".upper().replace("-", "_"), "7")
    context = click.Context(
        command_at(tuple(command.split())), info_name=command, auto_envvar_prefix=prefix
    )
    assert option.value_from_envvar(context) is not None


BOUND = """
import os
import click
from jobs.cli.threads_option import threads_option

@click.command()
@threads_option
def command(threads):
    import faiss
    print(threads, faiss.omp_get_max_threads(), os.environ["RAYON_NUM_THREADS"])

command(["--threads", "1"], standalone_mode=False)
print("RAYON_NUM_THREADS" in os.environ)
"""


def test_threads_bind_the_libraries_too() -> None:
    """--threads is for all that a command computes with, and for that command alone."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", BOUND], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 1 1\nFalse\n"


SHARED = """
import os, sys
import click
import jobs.cores
from jobs.cli.threads_option import threads_option

jobs.cores.scheduled_cores = lambda: 64
jobs.cores.core_share = lambda: 3

@click.command()
@threads_option
def command(threads):
    print(threads, os.environ["OMP_NUM_THREADS"])

command([], standalone_mode=False)
os.environ["OMP_NUM_THREADS"] = "5"
command([], standalone_mode=False)
command(["--threads", "7"], standalone_mode=False)
"""


def test_a_container_uses_no_more_threads_than_it_has_time_for() -> None:
    """Where the time of cores is limited, as many threads are the default as it is enough for;
    what the user says counts before."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", SHARED], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "3 3\nNone 5\n7 7\n"


WAITING = """
import os
from jobs.cli import main

try:
    main(["--version"])
finally:
    print(os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize("said", [None, "ACTIVE"])
def test_waiting_threads_leave_the_cores_to_others(said: str | None) -> None:
    """OpenMP's threads sleep while they wait, unless the user wants them to spin."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", WAITING],
        env=environment | ({"OMP_WAIT_POLICY": said} if said else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == (said or "PASSIVE")
