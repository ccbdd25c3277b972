"""The mean of two encoders' weights.

A model that was trained further from another lies near it, and between the two is one that does
most of what was learnt and forgets less of what it could do before (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models"; for encoders of text Xiao et al. 2023, "LM-Cocktail").
"""

from __future__ import annotations

import torch

from embedder.errors import RequestError
from embedder.training.encoder import TrainableEncoder


@torch.no_grad()
def blend_weights(encoder: TrainableEncoder, other: TrainableEncoder, share: float) -> None:
    """Move the weights of an encoder towards those of another.

    Args:
        encoder: what is changed.
        other: of the same shape, with the same pieces, pooling and prompts.
        share: of the other's weights in the result, from 0 to 1.

    Raises:
        RequestError: their vectors cannot be compared.
    """
    _check_alike(encoder, other)
    theirs = dict(other.named_parameters())
    for name, weight in encoder.named_parameters():
        weight.lerp_(theirs[name], share)


def _check_alike(encoder: TrainableEncoder, other: TrainableEncoder) -> None:
    """Raise RequestError unless the mean of two encoders is an encoder."""
    names = f"{encoder.checkpoint.name} and {other.checkpoint.name}"
    advice = "Blend a model with the one that it was trained from."
    shapes = [{n: tuple(w.shape) for n, w in e.named_parameters()} for e in (encoder, other)]
    kinds = [e.checkpoint.config.get("model_type") for e in (encoder, other)]
    if kinds[0] != kinds[1] or shapes[0] != shapes[1]:
        raise RequestError(f"{names} are networks of different shapes.", advice)
    if not encoder.tokenizer.has_pieces_of(other.tokenizer):
        raise RequestError(f"{names} have different vocabularies.", advice)
    for name in ("pooling", "query_prompt", "passage_prompt"):
        mine, theirs = getattr(encoder.spec, name), getattr(other.spec, name)
        if mine != theirs:
            what = name.replace("_", " ")
            raise RequestError(f"{names} differ in their {what}: {mine!r} and {theirs!r}.", advice)
