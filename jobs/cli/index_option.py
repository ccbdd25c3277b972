"""The option that says which index a command is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def index_option(command: str, text: str = "The index.") -> Callable[[Command], Command]:
    """`--index`, which the environment gives too, for this command or for all.

    Args:
        command: its name.
        text: which index it is.
    """
    return click.option(
        "--index",
        envvar=[f"EMBEDDER_{command.upper()}_INDEX", "EMBEDDER_INDEX"],
        metavar="FOLDER",
        help=f"{text}  [default: the only one in the working folder]",
    )
