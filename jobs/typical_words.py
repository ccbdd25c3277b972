"""Words that are typical of the contexts of a sense."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from indexes.sense_inventory import SenseInventory, WordSenses
from indexes.sense_uses import SenseUses, Uses

RADIUS = 10
"""Content words to either side that count as context."""

LEAST_CONTEXTS = 2
"""A typical word stands near at least so many uses."""

Counts = npt.NDArray[np.float64]


class TypicalWords:
    """Finds words that stand near the uses of a sense more often than elsewhere.

    Args:
        inventory: the words that count, with their frequencies.
        uses: where they stand.
    """

    def __init__(self, inventory: SenseInventory, uses: SenseUses) -> None:
        self._uses = uses
        firsts = inventory.starts[:-1]
        self._order = np.argsort(inventory.words[firsts], kind="stable")
        self._words = inventory.words[firsts][self._order]
        self._forms = [inventory.forms[first] for first in firsts[self._order].tolist()]
        self._n_found = inventory.n_found[firsts][self._order].astype(np.float64)

    def of(self, word: WordSenses, uses: Mapping[int, Uses], n: int) -> dict[int, list[str]]:
        """The n most typical words of each sense, most typical first.

        Args:
            word: the word, which is none of its own.
            uses: uses of each of its senses.
            n: most words a sense.
        """
        counts = {number: self._counts(own) for number, own in uses.items()}
        every = np.sum(list(counts.values()), axis=0) if counts else np.zeros(len(self._words))
        own_place = int(np.searchsorted(self._words, np.uint64(word.word)))
        found = {}
        for number, near in counts.items():
            scores = log_likelihood(near, self._n_found)
            rest = every - near
            is_more = near * max(rest.sum(), 1) > rest * near.sum()
            scores[~is_more | (near < LEAST_CONTEXTS)] = 0
            scores[own_place] = 0
            best = np.argsort(-scores, kind="stable")[:n]
            found[number] = [self._forms[i] for i in best.tolist() if scores[i] > 0]
        return found

    def _counts(self, uses: Uses) -> Counts:
        """Of each word of the inventory near how many of some uses it stands."""
        which, words = self._uses.around(uses, RADIUS)
        places = np.searchsorted(self._words, words)
        places[places == len(self._words)] = 0
        is_one = self._words[places] == words
        pairs = np.unique(np.stack([which[is_one], places[is_one]]), axis=1)
        return np.bincount(pairs[1], minlength=len(self._words)).astype(np.float64)


def log_likelihood(near: Counts, everywhere: Counts) -> Counts:
    """How surely each word is more frequent in a part than in the whole (Dunning 1993, G2).

    Args:
        near: uses of each word in the part, shape (n_words,).
        everywhere: uses in the whole.

    Returns:
        G2 of each word, 0 where it is not more frequent in the part.
    """
    n_near, n_all = max(near.sum(), 1.0), max(everywhere.sum(), 1.0)
    share = (near + everywhere) / (n_near + n_all)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(near > 0, near * np.log(near / (n_near * share)), 0.0)
        second = np.where(everywhere > 0, everywhere * np.log(everywhere / (n_all * share)), 0.0)
    return np.where(near / n_near > everywhere / n_all, 2 * (first + second), 0.0)
