"""Options in the environment: each under the name that its flag has."""

from __future__ import annotations

import click
import pytest

from jobs.cli import cli

OPTIONS = [
    (name, option)
    for name, command in cli.commands.items()
    for option in command.params
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
    monkeypatch.setenv(f"EMBEDDER_{command}_{flag}".upper().replace("-", "_"), "7")
    context = click.Context(
        cli.commands[command], info_name=command, auto_envvar_prefix=f"EMBEDDER_{command}".upper()
    )
    assert option.value_from_envvar(context) is not None
