"""Which pieces a masked language model has to find, and what it sees in their place.

As in Devlin et al. 2019: 15 % of the pieces, unless another share is asked for, are to be found;
80 % of these are masked, 10 % are exchanged for any piece, 10 % stay. What is drawn depends on the
seed, the epoch and the number of the example alone: not on batches, devices or a break in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from embedder.training.pretraining.special import PieceIds, SpecialPieces
from embedder.training.run import IGNORED

MASK_SHARE = 0.15
MASKED, EXCHANGED = 0.8, 0.1
Flags = npt.NDArray[np.bool_]


def draw_for(seed: int, epoch: int, example: int) -> np.random.Generator:
    """The draws of one example in one epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, (epoch << 40) + example]))


@dataclass(frozen=True)
class Masker:
    """Masks pieces of examples.

    Args:
        special: the tokenizer's special pieces.
        is_whole_word: all pieces of a word are to be found, or none.
        share: of the pieces, that is to be found.
    """

    special: SpecialPieces
    is_whole_word: bool = False
    share: float = MASK_SHARE

    @cached_property
    def _plain(self) -> PieceIds:
        # Made once: of a large vocabulary it takes longer than the rest of an example.
        return self.special.plain_ids

    def mask(
        self, pieces: PieceIds, starts: Flags | None, draw: np.random.Generator
    ) -> tuple[PieceIds, PieceIds]:
        """What the network sees, and the label of each piece, `IGNORED` for most.

        Args:
            pieces: ids of an example, shape (n_pieces,).
            starts: which pieces begin a word, the same shape; needed for whole words.
            draw: see `draw_for`.
        """
        chosen = self._choose(pieces, starts, draw)
        labels = np.full_like(pieces, IGNORED)
        labels[chosen] = pieces[chosen]
        fate = draw.random(len(chosen))
        drawn = self._plain[draw.integers(len(self._plain), size=len(chosen))]
        seen = pieces.copy()
        seen[chosen[fate < MASKED]] = self.special.mask
        is_exchanged = fate >= 1 - EXCHANGED
        seen[chosen[is_exchanged]] = drawn[is_exchanged]
        return seen, labels

    def n_to_find(self, n_pieces: int) -> int:
        """How many of an example's pieces are to be found: the share, and one at least."""
        return min(n_pieces, max(1, round(self.share * n_pieces)))

    def _choose(
        self, pieces: PieceIds, starts: Flags | None, draw: np.random.Generator
    ) -> npt.NDArray[np.intp]:
        candidates = np.flatnonzero(~self.special.is_special(pieces))
        n_wanted = self.n_to_find(len(candidates))
        if not self.is_whole_word:
            return np.sort(draw.permutation(candidates)[:n_wanted])
        assert starts is not None
        words = list(_words(candidates, starts))
        chosen: list[npt.NDArray[np.intp]] = []
        n_chosen = 0
        for number in draw.permutation(len(words)):
            if n_chosen >= n_wanted:
                break
            # One too long for what is left is passed over, unless there would be none at all.
            if not chosen or n_chosen + len(words[number]) <= n_wanted:
                chosen.append(words[number])
                n_chosen += len(words[number])
        return np.sort(np.concatenate(chosen)) if chosen else candidates[:0]


def _words(candidates: npt.NDArray[np.intp], starts: Flags) -> Iterator[npt.NDArray[np.intp]]:
    """The places of each word's pieces; special pieces end a word too."""
    is_first = starts[candidates].copy()
    is_first[1:] |= np.diff(candidates) > 1
    if len(is_first):
        is_first[0] = True
    yield from np.split(candidates, np.flatnonzero(is_first)[1:]) if len(candidates) else ()
