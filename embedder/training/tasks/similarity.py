"""Similarity: pairs of texts with scores; the cosines of the vectors get the order of the scores.

The loss is CoSENT's (Su 2022; sentence-transformers has it as CoSENTLoss): for all pairs of pairs
in a batch of which one has the higher score, log(1 + sum exp(scale (cos_lower - cos_higher))).
It asks for an order and not for values, as the measure does: Spearman's correlation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from embedder.pairs import (
    PAIR_COLUMNS,
    ScoredPair,
    correlations,
    read_scored_pairs,
    refuse_equal_scores,
)
from embedder.training.encoder import TrainableEncoder, open_trainable
from embedder.training.run import Batch, Measures, TrainingRun
from embedder.training.task import TaskRequest, hold_out

SCALE = 20.0
"""Of cosines in the loss, as sentence-transformers has it."""


def prepare_similarity(request: TaskRequest) -> TrainingRun:
    """The training run for scored pairs.

    Columns: text1, text2, score.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        ModelError: the model cannot be.
    """
    pairs = read_scored_pairs(request.only_train, request.columns)
    if request.dev is None:
        n_pairs = len(pairs)
        pairs, dev = hold_out(pairs, request.options.seed, lambda p: frozenset((p.text1, p.text2)))
        score = request.columns.get("score", PAIR_COLUMNS["score"])
        refuse_equal_scores(dev, f"the {len(dev)} of {n_pairs} pairs that are held out", score)
    else:
        dev = read_scored_pairs(request.dev, request.columns)
    encoder = open_trainable(request.model, max_tokens=request.settings.get("window"))
    return TrainingRun(
        model=SimilarityModel(encoder),
        transformer=encoder.transformer,
        examples=pairs,
        collate=lambda batch: collate_pairs(encoder, batch),
        evaluate=lambda: measure_pairs(encoder, dev),
        goal="spearman",
        save=encoder.save,
        facts={"training pairs": len(pairs), "evaluation pairs": len(dev)},
    )


class SimilarityModel(nn.Module):
    """An encoder with the loss of scored pairs.

    Args:
        encoder: what is trained.
    """

    def __init__(self, encoder: TrainableEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, piece_ids: Tensor, attention_mask: Tensor, scores: Tensor
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            piece_ids: first texts, then second ones, shape (2 n_pairs, length).
            attention_mask: the same shape.
            scores: shape (n_pairs,).
        """
        rows, _ = self.encoder(piece_ids, attention_mask)
        first, second = rows.chunk(2)
        return {"loss": order_loss((first * second).sum(1), scores)}


def order_loss(cosines: Tensor, scores: Tensor) -> Tensor:
    """CoSENT's loss.

    Args:
        cosines: of each pair, shape (n_pairs,).
        scores: of each pair, the same shape.
    """
    differences = SCALE * (cosines[:, None] - cosines[None, :])  # of the lower and the higher
    is_ordered = scores[:, None] < scores[None, :]
    wrong = differences.masked_fill(~is_ordered, float("-inf")).flatten()
    return torch.logsumexp(torch.cat([wrong.new_zeros(1), wrong]), 0)


def collate_pairs(encoder: TrainableEncoder, pairs: Sequence[ScoredPair]) -> Batch:
    """Scored pairs as a batch of `SimilarityModel`; first texts stand before second ones."""
    batch: dict[str, Any] = encoder.collate_texts(
        [pair.text1 for pair in pairs] + [pair.text2 for pair in pairs]
    )
    return {**batch, "scores": torch.tensor([pair.score for pair in pairs])}


def measure_pairs(encoder: TrainableEncoder, pairs: Sequence[ScoredPair]) -> Measures:
    """Correlations of cosines and scores; 0 for cosines that are all the same."""
    rows = encoder.encode([pair.text1 for pair in pairs] + [pair.text2 for pair in pairs])
    cosines = (rows[: len(pairs)] * rows[len(pairs) :]).sum(1)
    found = correlations(cosines, [pair.score for pair in pairs])
    return {name: 0.0 if math.isnan(value) else value for name, value in found.items()}
