"""Encoders with a linear layer for labels, as they are trained.

A text's label is read from the model's own vector of it (its pooling and its dense layers), not
from the first token: a sentence encoder says nothing of a text in its first token, and the mean of
BERT's states does as well in fine-tuning as its first one. The vector has unit length, and is
stretched to the length that it would have with components of variance one, so that a new layer
learns as fast above it as above the states themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedder.heads.linear import LinearHead
from embedder.heads.protocol import HeadFile
from embedder.tokens import Pieces, plan_batches
from embedder.training.encoder import EVALUATION_TOKENS, TrainableEncoder
from embedder.training.run import IGNORED, Batch

DROPOUT = 0.1
"""Of what the layer reads, as in BERT."""

WEIGHT_DEVIATION = 0.02
"""Of the new layer's weights, as in BERT."""


class TextClassifier(nn.Module):
    """A label for each text.

    Args:
        encoder: what is trained, beside the layer.
        n_labels: number of labels.
    """

    def __init__(self, encoder: TrainableEncoder, n_labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = nn.Linear(encoder.spec.width, n_labels)
        self.scale = math.sqrt(encoder.spec.width)

    def forward(
        self, piece_ids: Tensor, attention_mask: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """The mean cross-entropy of a batch.

        Args:
            piece_ids: int64, shape (n_texts, length).
            attention_mask: the same shape.
            labels: numbers of the labels, int64, shape (n_texts,).
        """
        scores = self.scores(piece_ids, attention_mask)
        return {"loss": nn.functional.cross_entropy(scores, labels)}

    def scores(self, piece_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits, float32, shape (n_texts, n_labels)."""
        vectors = self.vectors(piece_ids, attention_mask)
        scores: Tensor = self.linear(self.dropout(vectors)).float()
        return scores

    def vectors(self, piece_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the layer reads, shape (n_texts, width)."""
        rows, _ = self.encoder(piece_ids, attention_mask)
        stretched: Tensor = rows * self.scale
        return stretched

    def save(self, folder: Path, file: HeadFile) -> None:
        """Write it as the folder of a head; its layer reads vectors of unit length."""
        _save(self.encoder, self.linear, self.scale, file, folder)


class WordTagger(nn.Module):
    """A tag for each word, read from the state of its first piece (Devlin et al. 2019, 5.3).

    Args:
        encoder: what is trained, beside the layer.
        n_labels: number of tags.
    """

    def __init__(self, encoder: TrainableEncoder, n_labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.encoder.network.dense.requires_grad_(False)  # it comes after the states
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = nn.Linear(encoder.checkpoint.hidden_width, n_labels)

    def forward(
        self, piece_ids: Tensor, attention_mask: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """The mean cross-entropy of the words of a batch.

        Args:
            piece_ids: int64, shape (n_windows, length).
            attention_mask: the same shape.
            labels: numbers of the tags at the first pieces of words, `IGNORED` elsewhere, int64,
                the same shape.
        """
        scores = self.scores(piece_ids, attention_mask)
        loss = nn.functional.cross_entropy(
            scores.flatten(0, 1), labels.flatten(), ignore_index=IGNORED
        )
        return {"loss": loss}

    def scores(self, piece_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits, float32, shape (n_windows, length, n_labels)."""
        states = self.states(piece_ids, attention_mask)
        scores: Tensor = self.linear(self.dropout(states)).float()
        return scores

    def states(self, piece_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the layer reads, shape (n_windows, length, width)."""
        _, states = self.encoder(piece_ids, attention_mask)
        found: Tensor = states
        return found

    def save(self, folder: Path, file: HeadFile) -> None:
        """Write it as the folder of a head."""
        _save(self.encoder, self.linear, 1.0, file, folder)


def collate_labels(rows: Sequence[Sequence[int]], length: int) -> Tensor:
    """Labels of pieces as one tensor, int64, shape (len(rows), length), `IGNORED` at the end."""
    labels = np.full((len(rows), length), IGNORED, dtype=np.int64)
    for number, row in enumerate(rows):
        labels[number, : len(row)] = row
    return torch.from_numpy(labels)


def piece_batches(
    encoder: TrainableEncoder, pieces: Sequence[Pieces]
) -> Iterator[tuple[list[int], Batch]]:
    """Tokenised texts in batches of one length each, where the encoder is: their numbers, and
    `piece_ids` and `attention_mask`."""
    for indices, length in plan_batches([len(ids) for ids in pieces], EVALUATION_TOKENS):
        batch = encoder.tokenizer.batch([pieces[i] for i in indices], length)
        arrays = {"piece_ids": batch.piece_ids, "attention_mask": batch.attention_mask}
        yield indices, {k: torch.from_numpy(v).to(encoder.device) for k, v in arrays.items()}


@torch.no_grad()
def set_layer(
    layer: nn.Linear, weight: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]
) -> None:
    """Give a layer other weights, of the shapes that its own have."""
    layer.weight.copy_(torch.from_numpy(weight))
    layer.bias.copy_(torch.from_numpy(bias))


def new_linear(width: int, n_labels: int, seed: int) -> nn.Linear:
    """A layer to train; the seed alone decides its weights."""
    layer = nn.Linear(width, n_labels)
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(layer.weight, std=WEIGHT_DEVIATION, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def _save(
    encoder: TrainableEncoder, layer: nn.Linear, scale: float, file: HeadFile, folder: Path
) -> None:
    encoder.save(folder)
    weight = (layer.weight.detach().float() * scale).cpu().numpy()
    LinearHead(weight, layer.bias.detach().float().cpu().numpy()).save(folder)
    file.write(folder)
