"""The option that says which index a command is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

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


def named_index(folder: str | None, index: str | None) -> Path:
    """The index that a command is about, which takes it as an argument too.

    Raises:
        RequestError: two are named.
        IndexNotFoundError: none is named, and there is none or several.
    """
    from embedder.errors import RequestError
    from jobs.find import find_index

    source = click.get_current_context().get_parameter_source("index")
    if folder and index and source is ParameterSource.COMMANDLINE and Path(folder) != Path(index):
        raise RequestError(f"Two indexes are named, {folder} and {index}.", "Name the one meant.")
    return find_index(folder or index)
