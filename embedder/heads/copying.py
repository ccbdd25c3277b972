"""A decoder that can also copy pieces of what it reads, as pointer-generator networks do (See et
al. 2017).

Names, numbers and rare words need not be learnt to be written, and few examples are enough to learn
which part of a text its target is made of.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

LEAST = 1e-30
"""In place of a probability of nothing, whose logarithm has no gradient."""


class CopyLayer(nn.Module):
    """Which piece of the text would be copied next, and whether one is to be.

    Args:
        width: of the states.
        n_pieces: of the vocabulary.
        unread: pieces that are not copied: those around a text, and padding.
    """

    unread: Tensor

    def __init__(self, width: int, n_pieces: int, unread: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, 1)
        is_unread = torch.zeros(n_pieces, dtype=torch.uint8)
        is_unread[list(unread)] = 1
        self.register_buffer("unread", is_unread)

    def start(self) -> None:
        """Begin with the pieces whose states are like the decoder's own, as often as not."""
        nn.init.eye_(self.query.weight)
        nn.init.eye_(self.key.weight)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(
        self, states: Tensor, read: Tensor, source_ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Shares of the text's pieces in a copy, and the logarithms of the probabilities that the
        next piece is a copy, and that it is not.

        Args:
            states: of the decoder, shape (n, target_length, width).
            read: of the encoder, shape (n, length, width).
            source_ids: the pieces that were read, shape (n, length).

        Returns:
            Shapes (n, target_length, length), and twice (n, target_length), float32.
        """
        scores = self.query(states) @ self.key(read).transpose(1, 2) / states.shape[-1] ** 0.5
        is_unread = self.unread[source_ids].bool()[:, None, :]
        scores = scores.float().masked_fill(is_unread, torch.finfo(torch.float32).min)
        gate = self.gate(states).squeeze(-1).float()
        return scores.softmax(-1), logsigmoid(gate), logsigmoid(-gate)

    def loss(
        self,
        scores: Tensor,
        labels: Tensor,
        is_next: Tensor,
        outputs: tuple[Tensor, ...],
        source_ids: Tensor,
    ) -> Tensor:
        """The mean cross-entropy of the next pieces, each copied or written.

        Args:
            scores: of all pieces where one is to come, shape (n_next, n_pieces).
            labels: the pieces that come next, shape (n, target_length).
            is_next: where one does, the same shape.
            outputs: what `forward` gave.
            source_ids: the pieces that were read, shape (n, length).
        """
        shares, to_copy, to_write = outputs
        is_it = source_ids[:, None, :] == labels[:, :, None]
        copied = (shares * is_it).sum(-1)[is_next].clamp_min(LEAST).log() + to_copy[is_next]
        written = nn.functional.cross_entropy(scores.float(), labels[is_next], reduction="none")
        return -torch.logaddexp(copied, to_write[is_next] - written).mean()

    def mix(self, logits: Tensor, outputs: tuple[Tensor, ...], source_ids: Tensor) -> Tensor:
        """Logarithms of the probabilities of all pieces, copied or written, float32, shape
        (n, target_length, n_pieces).

        Args:
            logits: of the decoder, the same shape.
            outputs: what `forward` gave.
            source_ids: the pieces that were read, shape (n, length).
        """
        shares, to_copy, to_write = outputs
        copied = torch.zeros_like(logits, dtype=torch.float32)
        places = source_ids[:, None, :].expand_as(shares)
        copied.scatter_add_(2, places, shares)
        copied = copied.clamp_min(LEAST).log() + to_copy[..., None]
        return torch.logaddexp(copied, log_softmax(logits.float(), -1) + to_write[..., None])


class CopyingModel(transformers.EncoderDecoderModel):  # type: ignore[no-untyped-call]
    """An encoder and a decoder that can copy. Its logits are logarithms of probabilities."""

    def __init__(self, config: Any = None, encoder: Any = None, decoder: Any = None) -> None:
        super().__init__(config=config, encoder=encoder, decoder=decoder)
        shape: Any = self.config.decoder
        self.copy = CopyLayer(shape.hidden_size, shape.vocab_size)

    def forward(self, *args: Any, decoder_source_ids: Tensor, **kwargs: Any) -> Any:
        """What an EncoderDecoderModel gives, with copies among its logits.

        Args:
            args: its own.
            decoder_source_ids: the pieces that are read, shape (n, length).
            kwargs: its own.
        """
        kwargs |= {"output_hidden_states": True, "return_dict": True}
        output = super().forward(*args, **kwargs)
        states, read = output.decoder_hidden_states[-1], output.encoder_last_hidden_state
        outputs = self.copy(states, read, decoder_source_ids)
        output.logits = self.copy.mix(output.logits, outputs, decoder_source_ids)
        return output
