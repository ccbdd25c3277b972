"""A long array on disk, of which parts are read.

Mapped into memory, all of it that was ever touched would count as the process's memory.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt


def append_array(file: IO[bytes], array: npt.NDArray[Any]) -> None:
    """Write numbers to the end of a file.

    `numpy.ndarray.tofile` has a buffer of its own, and says nothing if the disk takes no more.

    Raises:
        OSError: the disk takes no more, which may also show when the file is closed.
    """
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a small array as `numpy.save` does.

    Raises:
        OSError: the disk takes no more.
    """
    content = io.BytesIO()
    np.save(content, array)
    path.write_bytes(content.getvalue())


class ArrayFile:
    """Numbers of one type in a file that holds nothing else.

    Args:
        path: the file.
        kind: their type.

    Raises:
        OSError: there is no such file.
    """

    def __init__(self, path: Path, kind: npt.DTypeLike) -> None:
        self._path, self._kind = path, np.dtype(kind)
        self._n = path.stat().st_size // self._kind.itemsize

    def __len__(self) -> int:
        return self._n

    def read(self, start: int, end: int) -> npt.NDArray[Any]:
        """The numbers from `start` to `end`, or to the end of the file."""
        n, offset = max(0, min(end, self._n) - start), start * self._kind.itemsize
        return np.fromfile(self._path, self._kind, n, offset=offset)

    def rank(self, key: int) -> int:
        """How many of the numbers, which are in order, are less than a key."""
        first, last = 0, self._n
        while first < last:
            middle = (first + last) // 2
            if int(self.read(middle, middle + 1)[0]) < key:
                first = middle + 1
            else:
                last = middle
        return first
