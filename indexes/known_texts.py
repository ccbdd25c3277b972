"""Which passage texts have a vector already, in a few bytes each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedder.records import TextHashes

Places = npt.NDArray[np.int64]
"""Where a text's vector lies: segment number and row in one integer, -1 for nowhere."""

ROW_BITS = 34


def place(segment: int, row: int) -> int:
    """Pack the number of a segment and a row in it."""
    return segment << ROW_BITS | row


def unpack(places: Places) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Segment numbers and rows of packed places."""
    return places >> ROW_BITS, places & ((1 << ROW_BITS) - 1)


MAX_RUN = 1 << 17
"""Longest run that is merged further: a merge needs a few times the memory of what it merges."""


@dataclass
class KnownTexts:
    """Content hashes with the places of their vectors, 24 bytes a text.

    Sorted runs that are merged when they reach each other's size (O'Neil 1996, the log-structured
    merge tree): adding is cheap, and there are few runs to look through.
    """

    _runs: list[tuple[TextHashes, Places]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(places) for _, places in self._runs)

    def find(self, hashes: TextHashes) -> Places:
        """The place of each text, -1 where it is not known, shape (n,)."""
        found = np.full(len(hashes), -1, dtype=np.int64)
        for keys, places in self._runs:
            at = np.searchsorted(keys[:, 0], hashes[:, 0])
            at[at == len(keys)] = 0
            # Two texts that share 64 bits and not 128: the second is encoded again.
            same = (keys[at] == hashes).all(1)
            found[same] = places[at[same]]
        return found

    def add(self, hashes: TextHashes, places: Places) -> None:
        """Add texts that are not known yet."""
        if not len(hashes):
            return
        order = np.argsort(hashes[:, 0], kind="stable")
        run = (hashes[order], places[order])
        while self._runs and len(self._runs[-1][1]) <= min(2 * len(run[1]), MAX_RUN):
            run = _merge(self._runs.pop(), run)
        self._runs.append(run)


def _merge(
    older: tuple[TextHashes, Places], newer: tuple[TextHashes, Places]
) -> tuple[TextHashes, Places]:
    hashes = np.concatenate([older[0], newer[0]])
    order = np.argsort(hashes[:, 0], kind="stable")
    return hashes[order], np.concatenate([older[1], newer[1]])[order]
