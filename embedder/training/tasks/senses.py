"""Senses: the vectors of two uses of a word get near where they mean the same, and far where not.

The vector of a use is pooled as an index pools it (`embedder.training.use_pooling`), so that what
is learned is what `embedder senses` sees. The data are those of WiC (Pilehvar & Camacho-Collados
2019); the loss is CoSENT's over labels of one and zero: all pairs of one sense in a batch get
higher cosines than all pairs of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from embedder.errors import RequestError
from embedder.threshold import best_threshold, cross_fitted_accuracy
from embedder.training.encoder import TrainableEncoder, open_trainable
from embedder.training.run import Batch, Measures, TrainingRun
from embedder.training.sense_pairs import (
    SensePair,
    matches,
    pair_cosines,
    read_sense_pairs,
    use_window,
)
from embedder.training.task import TaskRequest, hold_out
from embedder.training.tasks.similarity import order_loss
from embedder.training.use_pooling import pool_uses, stack_uses


def prepare_senses(request: TaskRequest) -> TrainingRun:
    """The training run for pairs of uses.

    Columns: those of `embedder.labelled.LabelColumns`. Settings: `window`.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        RequestError: there is one pair to evaluate on.
        ModelError: the model cannot be used.
    """
    encoder = open_trainable(request.model)
    window = use_window(encoder, request.settings.get("window"))

    def read(path: Path) -> list[SensePair]:
        return read_sense_pairs(
            path, encoder.tokenizer, window, request.columns, seed=request.options.seed
        )

    pairs = read(request.only_train)
    if request.dev is None:
        pairs, dev = hold_out_words(pairs, request.options.seed)
    else:
        dev = read(request.dev)
    check_several(dev)
    return TrainingRun(
        model=SenseModel(encoder),
        transformer=encoder.transformer,
        examples=pairs,
        collate=lambda batch: collate_senses(encoder, batch),
        evaluate=lambda: measure_senses(encoder, dev),
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


def hold_out_words(
    pairs: Sequence[SensePair], seed: int
) -> tuple[list[SensePair], list[SensePair]]:
    """Pairs to train on and to evaluate on; no word is on both sides, if there are several: what
    is learnt of single words says nothing of others.

    Raises:
        RequestError: there are too few.
    """
    return hold_out(pairs, seed, lambda pair: pair.word)


def check_several(pairs: Sequence[SensePair]) -> None:
    """Raise RequestError unless there are pairs to fit a threshold on and others to try it on."""
    if len(pairs) < 2:
        raise RequestError(
            "There is only one pair to evaluate on, and a threshold is fitted on half of them.",
            "Name a file with more pairs in --eval.",
        )


def measure_senses(encoder: TrainableEncoder, pairs: Sequence[SensePair]) -> Measures:
    """Accuracy of a threshold on the cosines of pairs, fitted on half of them and tried on the
    other, and the one that is best for all."""
    cosines, is_match = pair_cosines(encoder, pairs), matches(pairs)
    return {
        "accuracy": cross_fitted_accuracy(cosines, is_match),
        "threshold": best_threshold(cosines, is_match),
    }
