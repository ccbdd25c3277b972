"""The torch version of the vector of a word's use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from embedder.checkpoint import open_checkpoint
from embedder.encoders import EncoderOptions, open_encoder
from embedder.encoders.network import load_network
from embedder.errors import RequestError
from embedder.occurrences import Use, cut_uses, encode_uses, pool_occurrences
from embedder.specs import Engine
from embedder.tokens import Tokenizer
from embedder.training.use_pooling import pool_uses, stack_uses

LONG = "green river " * 60 + "bank " + "the interest rates " * 40
USES = [
    Use("the bank of the river was green", 4, 8),
    Use("the bank raised its interest rates again", 0, 3),
    Use("unbelievable", 0, 12),
    Use(LONG, LONG.index("bank"), LONG.index("bank") + 4),
]


def test_the_pool_is_numpys(tiny_model: Path) -> None:
    """On the same states it gives the same vectors, in any batch, whatever lies in the padding."""
    cut = cut_uses(Tokenizer(open_checkpoint(str(tiny_model))), USES, 64)
    batch = stack_uses(cut, pad_id=0)
    torch.manual_seed(0)
    states = torch.randn(*batch.piece_ids.shape, 32)
    found = pool_uses(states, batch.is_text, batch.is_word).numpy()
    for row, use in enumerate(cut):
        own = states[row, : len(use.ids)].numpy()
        [wanted] = pool_occurrences(own[None], [use])
        np.testing.assert_allclose(found[row : row + 1], wanted, atol=2e-6)


def test_uses_are_pooled_as_an_index_has_them(tiny_model: Path) -> None:
    """Through the network the vectors are those of `encode_uses`, long texts included."""
    checkpoint = open_checkpoint(str(tiny_model))
    options = EncoderOptions(model=str(tiny_model), engine=Engine.TORCH, device="cpu")
    wanted = encode_uses(open_encoder(options), USES)
    network = load_network(checkpoint, checkpoint.spec())
    batch = stack_uses(cut_uses(Tokenizer(checkpoint), USES, checkpoint.max_tokens), 0)
    with torch.no_grad():
        _, states = network(batch.piece_ids, batch.attention_mask)
        found = pool_uses(states, batch.is_text, batch.is_word).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_gradients_reach_the_word_and_its_neighbours_alone() -> None:
    """Special tokens and padding get no gradient; a word that is all the text gets a finite one."""
    states = torch.randn(2, 6, 4, requires_grad=True)
    is_text = torch.tensor([[0, 1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0]], dtype=torch.bool)
    is_word = torch.tensor([[0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0]], dtype=torch.bool)
    (pool_uses(states, is_text, is_word) * torch.randn(2, 4)).sum().backward()
    assert states.grad is not None and states.grad.isfinite().all()
    has_gradient = states.grad.abs().sum(-1) > 0
    assert torch.equal(has_gradient, is_text)


def test_a_use_without_a_word_is_an_error(tiny_model: Path) -> None:
    """Characters that no piece belongs to are named."""
    tokenizer = Tokenizer(open_checkpoint(str(tiny_model)))
    with pytest.raises(RequestError, match="characters 3 to 4"):
        cut_uses(tokenizer, [Use("the bank", 3, 4)], 64)
