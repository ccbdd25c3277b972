"""Contrastive losses: each vector is to be nearer to its own counterpart than to all others.

Multiple negatives ranking (Henderson et al. 2017) with cosines, which is InfoNCE (van den Oord et
al. 2018) with a temperature of 1 / scale.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

Encode = Callable[[Tensor, Tensor], Tensor]
"""Unit vectors (n, width) of piece ids and attention mask, both of shape (n, length)."""


def ranking_loss(
    queries: Tensor,
    candidates: Tensor,
    is_hidden: Tensor,
    *,
    scale: float,
    is_symmetric: bool = False,
) -> Tensor:
    """Mean cross-entropy of picking each query's own candidate among all, a scalar.

    Args:
        queries: unit rows, shape (n, width).
        candidates: unit rows, shape (m, width), of which the first n are the queries' own.
        is_hidden: candidates that a query may not be compared with, because they are as good as
            its own or are none, bool, shape (n, m); what it says of a query's own is not heeded.
        scale: what cosines are multiplied with.
        is_symmetric: pick also each own candidate's query among the queries; the mean of both.
    """
    n = len(queries)
    own = torch.arange(n, device=queries.device)
    is_own = own[:, None] == torch.arange(len(candidates), device=queries.device)
    with torch.autocast(queries.device.type, enabled=False):
        scores = queries.float() @ candidates.float().T * scale
    scores = scores.masked_fill(is_hidden & ~is_own, float("-inf"))
    loss = cross_entropy(scores, own)
    if is_symmetric:
        loss = (loss + cross_entropy(scores[:, :n].T, own)) / 2
    return loss


def view_loss(first: Tensor, second: Tensor, is_hidden: Tensor, *, scale: float) -> Tensor:
    """Mean cross-entropy of finding the other view of a thing among both views of all others.

    The NT-Xent loss of SimCLR (Chen et al. 2020), a scalar.

    Args:
        first: unit rows, shape (n, width).
        second: the other views of the same things, shape (n, width).
        is_hidden: things that may not be compared with each other, bool, shape (n, n).
        scale: what cosines are multiplied with.
    """
    n = len(first)
    rows = torch.cat([first, second]).float()
    with torch.autocast(rows.device.type, enabled=False):
        scores = rows @ rows.T * scale
    places = torch.arange(2 * n, device=rows.device)
    other = (places + n) % (2 * n)
    is_other = other[:, None] == places
    is_self = places[:, None] == places
    return cross_entropy(
        scores.masked_fill(is_self | (is_hidden.repeat(2, 2) & ~is_other), float("-inf")), other
    )


def encode_in_chunks(
    encode: Encode, piece_ids: Tensor, attention_mask: Tensor, chunk: int
) -> Tensor:
    """Unit vectors of many texts, shape (n, width), of which few are in memory while encoded.

    The gradient cache of Gao et al. 2021: activations are kept of no text; when the loss over all
    vectors goes backward, each chunk is encoded again, with the same dropout, and its gradients
    added up. So a batch takes the memory of a chunk, and one more forward pass. Torch's activation
    checkpoints are just that, if each holds one chunk.

    Args:
        encode: the encoder.
        piece_ids: int64, shape (n, length), padded on the right.
        attention_mask: int64, the same shape.
        chunk: texts of one forward pass; 0 for all at once, with everything kept.
    """
    if not chunk or chunk >= len(piece_ids):
        return encode(piece_ids, attention_mask)
    lengths = attention_mask.sum(1)
    order = lengths.argsort(descending=True, stable=True)
    rows = []
    for part in torch.split(order, chunk):
        longest = int(lengths[part[0]])
        inputs = (piece_ids[part, :longest], attention_mask[part, :longest])
        if torch.is_grad_enabled():
            rows.append(checkpoint(encode, *inputs, use_reentrant=False))
        else:
            rows.append(encode(*inputs))
    return torch.cat(rows)[order.argsort()]
