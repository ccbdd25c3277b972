"""The options that say where words stand in rows of labelled uses."""

from __future__ import annotations

from collections.abc import Callable

import click

USE_COLUMNS = (
    ("word", "Column of the word."),
    ("text", "Column of the text."),
    ("start", "Column of its first character."),
    ("end", "Column of its end."),
    ("tokens", "Column of the tokens."),
    ("target_index", "Column of its number among the tokens."),
    ("target", "Column of the word as it stands."),
)
"""What columns hold, named as `embedder.labelled.LabelColumns` has it, and what is said of them."""


LABEL = "label"

Command = Callable[..., None]


def use_column_options(labels: str) -> Callable[[Command], Command]:
    """Options for these columns and that of the label.

    Args:
        labels: the usual names of the label's column, as people read them.
    """
    options = [(name, f"{text}  [default: {name}]") for name, text in USE_COLUMNS]
    options.append((LABEL, f"Column of the label.  [default: {labels}]"))

    def add(command: Command) -> Command:
        for name, text in reversed(options):
            option = f"--{name.replace('_', '-')}"
            command = click.option(option, name, metavar="COLUMN", help=text)(command)
        return command

    return add
