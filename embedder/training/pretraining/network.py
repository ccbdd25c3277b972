"""The network that is pre-trained, with its losses, and what it is worth on held-out text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from embedder.training.pretraining.language_model import piece_scores, transformer_of
from embedder.training.pretraining.options import Objective
from embedder.training.run import IGNORED, Batch, Measures


class PretrainingNetwork(nn.Module):
    """A language model with the losses of pre-training.

    The loss of the pieces is their sum over the number of examples and the mean number that an
    example is asked for: in the mean that is the loss of a piece, and the gradients of batches add
    up to those of their union, however devices or accumulation cut it.

    Args:
        model: from `embedder.training.pretraining.language_model`.
        n_to_find: the mean number of pieces to find in an example.
    """

    def __init__(self, model: Any, n_to_find: float) -> None:
        super().__init__()
        self.model = model
        self.n_to_find = n_to_find

    def forward(
        self,
        piece_ids: Tensor,
        attention_mask: Tensor,
        segments: Tensor,
        labels: Tensor,
        is_random: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of a batch, and the sums that validation adds up.

        Args:
            piece_ids: int64, shape (n_examples, length).
            attention_mask: the same shape, 1 for a piece and 0 for padding.
            segments: the same shape, 0 and 1 for the first and second segment.
            labels: the same shape: the piece to find, `IGNORED` where there is none.
            is_random: shape (n_examples,), 1 if the second segment is from elsewhere; None
                without pairs.

        Returns:
            `loss`, and detached: `piece_loss`, `n_pieces`, `n_found` and with pairs `pair_loss`,
            `n_told`: sums of losses and of right answers.
        """
        inputs = {"input_ids": piece_ids, "attention_mask": attention_mask}
        if is_random is not None:
            inputs["token_type_ids"] = segments
        output = transformer_of(self.model)(**inputs)
        is_asked = labels != IGNORED
        scores = piece_scores(self.model, output.last_hidden_state[is_asked]).float()
        wanted = labels[is_asked]
        piece_loss = cross_entropy(scores, wanted, reduction="sum")
        loss = piece_loss / (len(piece_ids) * self.n_to_find)
        found = {
            "piece_loss": piece_loss.detach(),
            "n_pieces": is_asked.sum(),
            "n_found": (scores.detach().argmax(-1) == wanted).sum(),
        }
        if is_random is not None:
            told = self.model.cls.seq_relationship(output.pooler_output).float()
            pair_loss = cross_entropy(told, is_random, reduction="sum")
            loss = loss + pair_loss / len(piece_ids)
            found["pair_loss"] = pair_loss.detach()
            found["n_told"] = (told.detach().argmax(-1) == is_random).sum()
        return {"loss": loss, **found}


def sum_outputs(network: nn.Module, batches: Iterable[Batch]) -> tuple[dict[str, float], int]:
    """What a network gives for batches of pieces, summed, and the number of examples."""
    device = next(network.parameters()).device
    totals: dict[str, float] = {}
    n_examples = 0
    for batch in batches:
        found = network(**{name: value.to(device) for name, value in batch.items()})
        n_examples += len(batch["piece_ids"])
        for name, value in found.items():
            totals[name] = totals.get(name, 0.0) + float(value)
    return totals, n_examples


def measure(
    network: nn.Module, batches: Callable[[], Iterable[Batch]], objective: Objective
) -> Measures:
    """What a network is worth on held-out text.

    Args:
        network: a `PretrainingNetwork`, in evaluation mode.
        batches: starts going through the text.
        objective: what it is to find; names the measures.

    Returns:
        `loss`, the sum of `mlm_loss` or `causal_loss` (a piece, in nats) and with pairs
        `nsp_loss`; `perplexity`; `masked_accuracy` or `next_accuracy` of pieces; `nsp_accuracy`.
    """
    totals, n_examples = sum_outputs(network, batches())
    piece_loss = totals["piece_loss"] / max(1.0, totals["n_pieces"])
    accuracy = totals["n_found"] / max(1.0, totals["n_pieces"])
    names = (
        ("mlm_loss", "masked_accuracy")
        if objective is Objective.MLM
        else (
            "causal_loss",
            "next_accuracy",
        )
    )
    measures = {
        "loss": piece_loss,
        names[0]: piece_loss,
        names[1]: accuracy,
        "perplexity": math.exp(min(piece_loss, 700.0)),
    }
    if "pair_loss" in totals:
        pair_loss = totals["pair_loss"] / n_examples
        measures |= {"nsp_loss": pair_loss, "nsp_accuracy": totals["n_told"] / n_examples}
        measures["loss"] += pair_loss
    return measures
