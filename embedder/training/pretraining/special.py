"""The pieces of a tokenizer that stand for no text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.errors import ModelError
from embedder.tokens import MASKS, Tokenizer

PieceIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SpecialPieces:
    """What surrounds a text, and what stands in place of a piece.

    Args:
        before: ids before a text, int64.
        after: ids after it.
        mask: id of the mask.
        pad: id that fills a batch.
        n_pieces: ids of the vocabulary, the special ones included.
        ids: all special ids: none of them is ever masked, predicted or drawn.
    """

    before: PieceIds
    after: PieceIds
    mask: int
    pad: int
    n_pieces: int
    ids: PieceIds

    @property
    def n_around(self) -> int:
        """Pieces that surround one text."""
        return len(self.before) + len(self.after)

    @property
    def plain_ids(self) -> PieceIds:
        """All ids but the special ones, in order."""
        return np.setdiff1d(np.arange(self.n_pieces), self.ids)

    def around(self, pieces: PieceIds) -> PieceIds:
        """A text with what surrounds it."""
        return np.concatenate([self.before, pieces, self.after])

    def is_special(self, pieces: PieceIds) -> npt.NDArray[np.bool_]:
        """Which of the pieces are special."""
        return np.isin(pieces, self.ids)


def read_special(tokenizer: Tokenizer, name: str) -> SpecialPieces:
    """The special pieces of a model's tokenizer.

    Args:
        tokenizer: the tokenizer.
        name: what the user called it.

    Raises:
        ModelError: it has no mask, so its model was never one that finds masked pieces.
    """
    mask = tokenizer.mask_id
    if mask is None:
        raise ModelError(
            f"The tokenizer of {name} has no mask ({' or '.join(MASKS)}).",
            "Name a model of the kind of BERT.",
        )
    [around] = tokenizer.encode([""])
    n_after = tokenizer.n_after
    cut = len(around) - n_after
    ids = np.union1d(tokenizer.special_ids, [*around, mask, tokenizer.pad_id])
    return SpecialPieces(
        before=around[:cut],
        after=around[cut:],
        mask=mask,
        pad=tokenizer.pad_id,
        n_pieces=tokenizer.n_pieces,
        ids=ids.astype(np.int64),
    )
