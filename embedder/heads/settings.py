"""What head.json keeps of a task, in the way in which the task reads it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from embedder.errors import ModelError
from embedder.heads.protocol import HEAD_FILE, HeadFile, HeadOptions

Settings = TypeVar("Settings")


def read_settings(
    kind: type[Settings], folder: Path, file: HeadFile, options: HeadOptions
) -> Settings:
    """The settings of a head, those that were asked for in place of its own.

    Args:
        kind: a dataclass with a field for each.
        folder: the head's, for errors.
        file: what head.json says.
        options: how the head is run.

    Raises:
        ModelError: head.json lacks one.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    given = {**file.settings, **options.settings}
    missing = sorted(names - set(given))
    if missing:
        raise ModelError(
            f"{folder / HEAD_FILE} lacks the settings {', '.join(missing)} of {file.task}.",
            "Copy the folder again.",
        )
    return kind(**{name: given[name] for name in names})
