"""Sentence distillation: the student's vectors of texts come to be those of its teacher.

The loss is 1 - cosine of the vectors, and beside it 1 - cosine of the states of pieces after each
layer of the student and the layer of the teacher that it is to be like. For unit vectors 1 - cosine
is half their squared distance, so there is no other loss of distance beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embedder.pairs import ScoredPair, correlations
from embedder.tokens import Pieces
from embedder.training.encoder import TrainableEncoder
from embedder.training.run import Measures
from embedder.vectors import Rows


class Teacher:
    """A network that is only asked. It is no part of the student: it is neither trained nor saved,
    and follows the batches to their device.

    Args:
        network: the network.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval().requires_grad_(False)
        self._device = torch.device("cpu")

    def on(self, device: torch.device) -> Any:
        """The network, on a device."""
        if device != self._device:
            self._network.to(device)
            self._device = device
        return self._network


class SentenceDistillation(nn.Module):
    """A student with the loss against its teacher.

    Args:
        student: what is trained.
        teacher: the encoder it learns from.
        matched: for each layer of the student, the teacher's layer; see `match_layers`.
    """

    def __init__(
        self, student: TrainableEncoder, teacher: TrainableEncoder, matched: Sequence[int]
    ) -> None:
        super().__init__()
        self.student = student
        self._teacher = Teacher(teacher)
        self._matched = list(matched)

    def forward(self, piece_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            piece_ids: shape (n_texts, length).
            attention_mask: the same shape.
        """
        teacher: TrainableEncoder = self._teacher.on(piece_ids.device)
        with torch.no_grad():
            wanted, states = _run(teacher, piece_ids, attention_mask)
        found, own = _run(self.student, piece_ids, attention_mask)
        hidden = hidden_loss(own, [states[number] for number in self._matched], attention_mask)
        return {"loss": (1 - (found * wanted).sum(-1)).mean() + hidden}

    def teacher_rows(self, pieces: Sequence[Pieces]) -> Rows:
        """The teacher's vectors of tokenised texts, unit rows."""
        teacher: TrainableEncoder = self._teacher.on(self.student.device)
        return teacher.encode_pieces(pieces)

    def teacher_measures(self, pairs: Sequence[ScoredPair]) -> Measures:
        """How well the teacher's cosines follow scored pairs."""
        return measure_scored(self._teacher.on(self.student.device), pairs)


def _run(
    encoder: TrainableEncoder, piece_ids: Tensor, attention_mask: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Unit vectors, and the states after each layer, float32."""
    output = encoder.transformer(
        input_ids=piece_ids, attention_mask=attention_mask, output_hidden_states=True
    )
    states = layer_states(output)
    return encoder.network.pool(states[-1], attention_mask), states


def layer_states(output: Any) -> list[Tensor]:
    """The states after each layer, float32, out of what a Hugging Face network gives; the last
    ones as an encoder uses them, with a norm after the last layer where there is one."""
    return [*(s.float() for s in output.hidden_states[1:-1]), output.last_hidden_state.float()]


def hidden_loss(own: Sequence[Tensor], wanted: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """1 - cosine of states, meaned over pieces and layers.

    Args:
        own: states of shape (n_texts, length, width), one for each layer.
        wanted: as many.
        attention_mask: shape (n_texts, length).
    """
    is_piece = attention_mask.bool()
    cosines = [
        nn.functional.cosine_similarity(a[is_piece], b[is_piece], dim=-1).mean()
        for a, b in zip(own, wanted, strict=True)
    ]
    return 1 - torch.stack(cosines).mean()


def measure_rows(rows: Rows, reference: Rows) -> Measures:
    """The mean and the least cosine of matching rows."""
    cosines = np.einsum("ij,ij->i", rows, reference, dtype=np.float64)
    return {"cosine": float(cosines.mean()), "least_cosine": float(cosines.min())}


def measure_scored(encoder: TrainableEncoder, pairs: Sequence[ScoredPair]) -> Measures:
    """Spearman correlation of cosines with the scores of pairs; nothing where there are none."""
    if not pairs:
        return {}
    rows = encoder.encode([pair.text1 for pair in pairs] + [pair.text2 for pair in pairs])
    cosines = (rows[: len(pairs)] * rows[len(pairs) :]).sum(1)
    return {"spearman": correlations(cosines, [pair.score for pair in pairs])["spearman"]}
