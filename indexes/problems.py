"""What is wrong with an index: one file each, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.errors import EmbedderError, IndexFormatError

RESTORE = "Run embedder index again to restore it."
REBUILD = "Remove the folder of the index and run embedder index again."


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one file of an index.

    Args:
        file: the file's path.
        message: what is wrong, a sentence that names the file.
        repair: what to do about it.
    """

    file: str
    message: str
    repair: str

    @classmethod
    def of_error(cls, file: Path, error: EmbedderError, repair: str = "") -> Problem:
        """What an error says about a file, with another way out if there is one."""
        return cls(str(file), error.message, repair or error.hint or REBUILD)

    @classmethod
    def of(cls, file: Path, what: str, repair: str = REBUILD) -> Problem:
        """The file, a colon, and what is wrong with it."""
        return cls(str(file), f"{file}: {what}.", repair)


class Faults:
    """Counts of what is wrong in the rows of one file, with the first of each kind.

    Args:
        file: the file.
        noun: what a row is.
        repair: what to do about it.
    """

    def __init__(self, file: Path, noun: str, repair: str = REBUILD) -> None:
        self._file, self._noun, self._repair = file, noun, repair
        self._found: dict[str, tuple[int, int]] = {}  # how many, and the first

    def note(self, what: str, numbers: npt.NDArray[np.integer[Any]]) -> None:
        """Count wrong rows, by their numbers in the file."""
        if len(numbers):
            n, least = self._found.get(what, (0, int(numbers.min())))
            self._found[what] = (n + len(numbers), min(least, int(numbers.min())))

    def problems(self) -> Iterator[Problem]:
        """A problem for each kind."""
        for what, (n, first) in self._found.items():
            text = f"{self._noun} {first} {what}"
            if n > 1:
                text = f"{n:,} {self._noun}s, the first is number {first}: each {what}"
            yield Problem.of(self._file, text, self._repair)


def guarded(path: Path, check: Callable[[Path], Iterator[Problem]]) -> Iterator[Problem]:
    """The problems that a check of a file finds, and the one that ends it."""
    try:
        yield from check(path)
    except IndexFormatError as error:
        yield Problem.of_error(path, error)
