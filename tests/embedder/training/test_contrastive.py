"""Contrastive losses and the gradient cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from embedder.training.contrastive import encode_in_chunks, ranking_loss, view_loss


def unit(*size: int) -> Tensor:
    """Random unit rows."""
    return normalize(torch.randn(*size, dtype=torch.float64), dim=-1).float()


def nothing(*size: int) -> Tensor:
    """Nothing is hidden."""
    return torch.zeros(*size, dtype=torch.bool)


def test_ranking_by_hand() -> None:
    """The loss is -log of the own candidate's share of exp(scale * cosine)."""
    torch.manual_seed(1)
    queries, candidates = unit(3, 5), unit(7, 5)
    shares = np.exp(4 * (queries @ candidates.T).numpy())
    wanted = -np.log(np.diag(shares) / shares.sum(1)).mean()
    found = ranking_loss(queries, candidates, nothing(3, 7), scale=4)
    assert found.item() == pytest.approx(wanted, rel=1e-5)
    square = shares[:, :3]
    other = -np.log(np.diag(square) / square.sum(0)).mean()
    both = ranking_loss(queries, candidates, nothing(3, 7), scale=4, is_symmetric=True)
    assert both.item() == pytest.approx((wanted + other) / 2, rel=1e-5)


def test_what_is_hidden_does_not_count() -> None:
    """A hidden candidate is as if it were not there; a query's own is never hidden."""
    torch.manual_seed(2)
    queries, candidates = unit(2, 4), unit(3, 4)
    hidden = torch.tensor([[True, False, True], [False, True, True]])
    found = ranking_loss(queries, candidates, hidden, scale=20)
    wanted = ranking_loss(queries, candidates[:2], nothing(2, 2), scale=20)
    assert found.item() == pytest.approx(wanted.item())


def test_views_by_hand() -> None:
    """A view is compared with both views of all others and the other of its own."""
    torch.manual_seed(3)
    first, second = unit(3, 6), unit(3, 6)
    rows = torch.cat([first, second]).numpy()
    shares = np.exp(5 * rows @ rows.T)
    np.fill_diagonal(shares, 0)
    wanted = np.mean([-np.log(shares[i, (i + 3) % 6] / shares[i].sum()) for i in range(6)])
    found = view_loss(first, second, nothing(3, 3), scale=5)
    assert found.item() == pytest.approx(float(wanted), rel=1e-5)


def test_hidden_views_by_hand() -> None:
    """Two things that are hidden from each other are compared with all others."""
    torch.manual_seed(4)
    first, second = unit(3, 6), unit(3, 6)
    hidden = nothing(3, 3)
    hidden[0, 1] = hidden[1, 0] = True
    rows = torch.cat([first, second]).numpy()
    shares = np.exp(5 * rows @ rows.T)
    np.fill_diagonal(shares, 0)
    for i in (0, 3):
        for j in (1, 4):
            shares[i, j] = shares[j, i] = 0
    wanted = np.mean([-np.log(shares[i, (i + 3) % 6] / shares[i].sum()) for i in range(6)])
    found = view_loss(first, second, hidden, scale=5)
    assert found.item() == pytest.approx(float(wanted), rel=1e-5)


class Toy(nn.Module):
    """A small encoder with dropout that remembers how many texts it saw at a time."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pieces = nn.Embedding(50, 16)
        self.inner = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Dropout(dropout))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, piece_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit rows of the mean of the pieces."""
        self.seen.append(tuple(piece_ids.shape))
        states = self.inner(self.pieces(piece_ids)) * attention_mask[..., None]
        return normalize(states.sum(1) / attention_mask.sum(1, keepdim=True), dim=-1)


def batch() -> tuple[Tensor, Tensor]:
    """Thirteen texts of one to nine pieces."""
    torch.manual_seed(5)
    piece_ids = torch.randint(1, 50, (13, 9))
    lengths = torch.randint(1, 10, (13,))
    mask = (torch.arange(9) < lengths[:, None]).long()
    return piece_ids * mask, mask


def gradients(model: Toy, chunk: int, seed: int = 7) -> list[Tensor]:
    """Gradients of a ranking loss between the first six texts and the others."""
    inputs = batch()
    torch.manual_seed(seed)
    rows = encode_in_chunks(model, *inputs, chunk)
    model.zero_grad()
    ranking_loss(rows[:6], rows[6:], nothing(6, 7), scale=20).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("chunk", [1, 4, 12, 13, 99])
def test_cached_gradients_are_the_plain_ones(chunk: int) -> None:
    """Whatever the chunk, the gradients are those of one large forward pass."""
    model = Toy(dropout=0)
    plain = gradients(model, 0)
    assert len(plain) == 3 and all(g.abs().sum() > 0 for g in plain)
    for found, wanted in zip(gradients(model, chunk), plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_dropout_is_the_same_when_a_chunk_is_encoded_again() -> None:
    """With dropout the gradients are those of the same chunks with everything kept."""
    model = Toy(dropout=0.5)
    found = gradients(model, 4)
    piece_ids, mask = batch()
    order = mask.sum(1).argsort(descending=True, stable=True)
    longest = mask.sum(1)[order[::4]].tolist()
    torch.manual_seed(7)
    parts = [
        model(piece_ids[part, :length], mask[part, :length])
        for part, length in zip(order.split(4), longest, strict=True)
    ]
    kept = torch.cat(parts)[order.argsort()]
    model.zero_grad()
    ranking_loss(kept[:6], kept[6:], nothing(6, 7), scale=20).backward()
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_a_pass_never_sees_more_than_a_chunk() -> None:
    """Each text is encoded twice, in passes of a chunk, padded to the longest of them alone."""
    model = Toy(dropout=0.1)
    gradients(model, 4)
    sizes = [size for size, _ in model.seen]
    assert max(sizes) == 4 and sum(sizes) == 2 * 13
    assert len({length for _, length in model.seen}) > 1


def test_memory_is_that_of_a_chunk() -> None:
    """What a forward pass keeps for its way back does not grow with the activations."""

    def kept(chunk: int) -> int:
        n_kept = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal n_kept
            n_kept += tensor.numel() * (tensor.dim() == 3)
            return tensor

        model = Toy(dropout=0.1)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            encode_in_chunks(model, *batch(), chunk)
        return n_kept

    assert kept(4) == 0 < kept(0)
