"""Senses: the vectors of two uses of a word get near where they mean the same, and far where not.

The vector of a use is pooled as an index pools it (`embedder.training.use_pooling`), so that what
is learned is what `embedder senses` sees. The data are those of WiC (Pilehvar & Camacho-Collados
2019); the loss is CoSENT's over labels of one and zero: all pairs of one sense in a batch get
higher cosines than all pairs of two.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from embedder.threshold import best_threshold
from embedder.training.encoder import TrainableEncoder, open_trainable
from embedder.training.run import Batch, Measures, TrainingRun
from embedder.training.sense_pairs import SensePair, matches, pair_cosines, read_sense_pairs
from embedder.training.task import TaskRequest, hold_out
from embedder.training.tasks.similarity import order_loss
from embedder.training.use_pooling import pool_uses, stack_uses

FITTED_PAIRS = 2000
"""Training pairs that the threshold of an evaluation is fitted on."""


def prepare_senses(request: TaskRequest) -> TrainingRun:
    """The training run for pairs of uses.

    Columns: those of `embedder.labelled.LabelColumns`. Settings: `window`.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        ModelError: the model cannot be.
    """
    encoder = open_trainable(request.model)
    window = min(request.settings.get("window", encoder.spec.max_tokens), encoder.spec.max_tokens)

    def read(path: Path) -> list[SensePair]:
        return read_sense_pairs(path, encoder.tokenizer, window, request.columns)

    pairs = read(request.only_train)
    if request.dev is None:
        pairs, dev = hold_out(pairs, request.options.seed)
    else:
        dev = read(request.dev)
    fitted = random.Random(request.options.seed).sample(pairs, min(len(pairs), FITTED_PAIRS))
    return TrainingRun(
        model=SenseModel(encoder),
        transformer=encoder.transformer,
        examples=pairs,  # type: ignore[arg-type]
        collate=lambda batch: collate_senses(encoder, batch),
        evaluate=lambda: measure_senses(encoder, fitted, dev),
        goal="accuracy",
        save=encoder.save,
        facts={
            "training pairs": len(pairs),
            "of one sense": int(matches(pairs).sum()),
            "evaluation pairs": len(dev),
        },
    )


class SenseModel(nn.Module):
    """An encoder with the loss of pairs of uses.

    Args:
        encoder: what is trained.
    """

    def __init__(self, encoder: TrainableEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self,
        piece_ids: Tensor,
        attention_mask: Tensor,
        is_text: Tensor,
        is_word: Tensor,
        is_match: Tensor,
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            piece_ids: first uses, then second ones, shape (2 n_pairs, length).
            attention_mask: the same shape.
            is_text: which pieces are no special tokens, the same shape.
            is_word: which are the words' own, the same shape.
            is_match: 1 where a pair has one sense, else 0, shape (n_pairs,).
        """
        _, states = self.encoder(piece_ids, attention_mask)
        first, second = pool_uses(states, is_text, is_word).chunk(2)
        return {"loss": order_loss((first * second).sum(1), is_match)}


def collate_senses(encoder: TrainableEncoder, pairs: Sequence[SensePair]) -> Batch:
    """Pairs as a batch of `SenseModel`."""
    uses = [pair.first for pair in pairs] + [pair.second for pair in pairs]
    batch = stack_uses(uses, encoder.tokenizer.pad_id)
    labels = torch.tensor([float(pair.is_match) for pair in pairs])
    return {**batch._asdict(), "is_match": labels}


def measure_senses(
    encoder: TrainableEncoder, fitted: Sequence[SensePair], pairs: Sequence[SensePair]
) -> Measures:
    """Accuracy of a threshold on the cosines of pairs, which is fitted on others."""
    threshold = best_threshold(pair_cosines(encoder, fitted), matches(fitted))
    found = pair_cosines(encoder, pairs) >= threshold
    return {"accuracy": float((found == matches(pairs)).mean()), "threshold": threshold}
