"""An encoder with the layer that says where answers start and end, as it is trained."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor, nn

from embedder.answer_windows import WindowSpec
from embedder.answered_questions import AnswerColumns
from embedder.heads.answer import AnswerSettings
from embedder.heads.answer_reader import AnswerReader, window_states
from embedder.heads.linear import LinearHead
from embedder.heads.protocol import HeadFile, HeadTask
from embedder.training.encoder import EVALUATION_TOKENS, TrainableEncoder
from embedder.training.label_models import new_linear

NOWHERE = torch.finfo(torch.float32).min
"""The score of a piece that no answer can start or end at."""


class AnswerModel(nn.Module):
    """An encoder with a layer that says where answers start and end.

    Args:
        encoder: what is trained, beside the layer.
        settings: how texts are cut and answers chosen; the threshold is the model's own.
        seed: of the new layer's weights.
    """

    def __init__(self, encoder: TrainableEncoder, settings: AnswerSettings, *, seed: int) -> None:
        super().__init__()
        self.encoder, self.settings = encoder, settings
        self.encoder.network.dense.requires_grad_(False)  # it comes after the states
        self.linear = new_linear(encoder.checkpoint.hidden_width, 2, seed)
        # With the weights, so that the threshold of the best checkpoint comes back with them.
        self.register_buffer("null_threshold", torch.tensor(-math.inf))

    @property
    def spec(self) -> WindowSpec:
        """How texts are cut."""
        return self.settings.spec(self.encoder.spec.max_tokens)

    def forward(
        self,
        piece_ids: Tensor,
        attention_mask: Tensor,
        segment_ids: Tensor,
        can_hold_answer: Tensor,
        firsts: Tensor,
        lasts: Tensor,
    ) -> dict[str, Tensor]:
        """The mean cross-entropy of starts and ends.

        Args:
            piece_ids: int64, shape (n, length).
            attention_mask: int64, the same shape.
            segment_ids: int64, the same shape, 0 for the question and 1 for the text.
            can_hold_answer: bool, the same shape: the pieces of the text, and the first.
            firsts: int64, shape (n,): the first piece of the answer, 0 for none.
            lasts: int64, shape (n,): its last piece.
        """
        states = window_states(self.encoder.transformer, piece_ids, attention_mask, segment_ids)
        scores = self.linear(states).float().masked_fill(~can_hold_answer[..., None], NOWHERE)
        starts, ends = scores.unbind(-1)
        entropy = nn.functional.cross_entropy
        return {"loss": (entropy(starts, firsts) + entropy(ends, lasts)) / 2}

    def reader(self) -> AnswerReader:
        """What finds answers with the weights as they are."""
        return AnswerReader(
            transformer=self.encoder.transformer,
            layer=self.layer(),
            tokenizer=self.encoder.tokenizer,
            spec=self.spec,
            most_pieces=self.settings.max_answer_tokens,
            max_batch_tokens=EVALUATION_TOKENS,
        )

    def layer(self) -> LinearHead:
        """The layer as the head has it."""
        weight, bias = (part.detach().float().cpu().numpy() for part in self.linear.parameters())
        return LinearHead(weight, bias)

    def save(self, folder: Path, columns: AnswerColumns) -> None:
        """Write it as the folder of a head."""
        threshold = float(self.null_threshold)  # type: ignore[arg-type]
        kept = threshold if math.isfinite(threshold) else None
        self.encoder.save(folder)
        self.layer().save(folder)
        HeadFile(
            task=HeadTask.ANSWER,
            max_tokens=self.encoder.spec.max_tokens,
            columns={field.name: getattr(columns, field.name) for field in fields(columns)},
            settings={**self.settings.to_json(), "null_threshold": kept},
        ).write(folder)
