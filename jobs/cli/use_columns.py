"""The options that say where words stand in rows of labelled uses."""

from __future__ import annotations

from collections.abc import Callable

import click

USE_COLUMNS = (
    ("word", "Column of the word.  [default: word]"),
    ("text", "Column of the text.  [default: text]"),
    ("start", "Column of its first character.  [default: start]"),
    ("end", "Column of its end.  [default: end]"),
    ("tokens", "Column of the tokens.  [default: tokens]"),
    ("target_index", "Column of its number among the tokens.  [default: target_index]"),
    ("target", "Column of the word as it stands.  [default: target]"),
    ("label", "Column of the label.  [default: sense, class_id or label]"),
)
"""What columns hold, named as `embedder.labelled.LabelColumns` has it, and what is said of them."""


def use_column_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command."""
    for name, text in reversed(USE_COLUMNS):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, name, metavar="COLUMN", help=text)(command)
    return command
