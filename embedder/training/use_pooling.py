"""The vector of a word's use as torch computes it, so that an encoder can be trained on it.

What `embedder.occurrences.pool_occurrences` does in NumPy for all words of a text, here for one
word of each text of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from embedder.occurrences import OWN_WEIGHT, SIGMA, UsePieces
from embedder.tokens import plan_batches
from embedder.training.encoder import EVALUATION_TOKENS, TrainableEncoder
from embedder.vectors import Rows


class UseBatch(NamedTuple):
    """Uses of words as tensors, padded on the right.

    Args:
        piece_ids: int64, shape (n, length).
        attention_mask: int64, the same shape; 1 for a piece.
        is_text: bool, the same shape; false for special tokens and padding.
        is_word: bool, the same shape; true for the word's own pieces.
    """

    piece_ids: Tensor
    attention_mask: Tensor
    is_text: Tensor
    is_word: Tensor


def stack_uses(uses: Sequence[UsePieces], pad_id: int) -> UseBatch:
    """Uses in one batch, padded to the longest."""
    size = (len(uses), max(len(use.ids) for use in uses))
    piece_ids = torch.full(size, pad_id, dtype=torch.int64)
    attention_mask = torch.zeros(size, dtype=torch.int64)
    is_text = torch.zeros(size, dtype=torch.bool)
    is_word = torch.zeros(size, dtype=torch.bool)
    for row, use in enumerate(uses):
        n_pieces = len(use.ids)
        piece_ids[row, :n_pieces] = torch.from_numpy(use.ids)
        attention_mask[row, :n_pieces] = 1
        is_text[row, :n_pieces] = torch.from_numpy(use.is_text)
        is_word[row, int(use.ranges.first[0]) : int(use.ranges.last[0])] = True
    return UseBatch(piece_ids, attention_mask, is_text, is_word)


def pool_uses(states: Tensor, is_text: Tensor, is_word: Tensor) -> Tensor:
    """Unit vectors of uses, float32, shape (n, width).

    Args:
        states: of the pieces, shape (n, length, width).
        is_text: which pieces are neither special tokens nor padding, shape (n, length).
        is_word: which are the word's own, one stretch a text, shape (n, length).
    """
    states = states.float()
    places = torch.arange(states.shape[1], device=states.device, dtype=torch.float32)
    own = is_word.float()
    centres = (own * places).sum(1, keepdim=True) / own.sum(1, keepdim=True)
    weights = torch.exp((places - centres).square() * (-0.5 / SIGMA**2))
    weights = weights * (is_text & ~is_word)
    around = normalize(_sums(weights, states), dim=-1)  # zero where the word is all the text
    rows = normalize(_sums(own, states), dim=-1) * OWN_WEIGHT
    return normalize(rows + around, dim=-1)


def _sums(weights: Tensor, states: Tensor) -> Tensor:
    """Weighted sums of states, shape (n, width), in float32 whatever autocast says."""
    with torch.autocast(states.device.type, enabled=False):
        return torch.einsum("nl,nlw->nw", weights, states)


@torch.no_grad()
def encode_use_pieces(
    encoder: TrainableEncoder, uses: Sequence[UsePieces], *, batch_tokens: int = EVALUATION_TOKENS
) -> Rows:
    """Unit vectors of uses as the network makes them now, float32, shape (n, width).

    Args:
        encoder: the network.
        uses: the uses.
        batch_tokens: padded tokens of one forward pass.
    """
    parts: list[Rows] = []
    order: list[int] = []
    for indices, _ in plan_batches([len(use.ids) for use in uses], batch_tokens):
        batch = stack_uses([uses[i] for i in indices], encoder.tokenizer.pad_id)
        piece_ids, attention_mask, is_text, is_word = (t.to(encoder.device) for t in batch)
        _, states = encoder(piece_ids, attention_mask)
        parts.append(pool_uses(states, is_text, is_word).cpu().numpy())
        order += indices
    return np.concatenate(parts)[np.argsort(order)]
