"""Options in the environment: each under the name that its flag has."""

from __future__ import annotations

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
