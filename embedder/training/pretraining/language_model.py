"""Networks that find pieces: a transformer with the head of its kind, new or as it was saved."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers.utils import logging as reporting

from embedder.errors import ModelError, RequestError, cause_of
from embedder.training.pretraining.options import Objective
from embedder.training.pretraining.shapes import SHAPES, Size

POSITIONS = 512
"""Places that a text may have, as published, whatever length is trained on."""

Scores = Callable[[Any, Tensor], Tensor]

HEADS: dict[str, Scores] = {
    "bert": lambda model, states: model.cls.predictions(states),
    "camembert": lambda model, states: model.lm_head(states),
    "distilbert": lambda model, states: model.vocab_projector(
        model.vocab_layer_norm(model.activation(model.vocab_transform(states)))
    ),
    "electra": lambda model, states: model.generator_lm_head(model.generator_predictions(states)),
    "modernbert": lambda model, states: model.decoder(model.head(states)),
    "mpnet": lambda model, states: model.lm_head(states),
    "roberta": lambda model, states: model.lm_head(states),
    "xlm-roberta": lambda model, states: model.lm_head(states),
}
"""Scores of all pieces, shape (n, n_pieces), from states of shape (n, width), for each kind of
model. The library's own forward pass scores every place, which costs more than a small network
itself where 15 % of them are asked for."""


def bert_config(
    size: Size, n_pieces: int, *, is_one_sided: bool = False, pad_id: int = 0
) -> transformers.BertConfig:
    """The configuration of a BERT of a published shape.

    Args:
        size: which shape.
        n_pieces: pieces of its vocabulary.
        is_one_sided: whether a piece sees those before it alone, as a decoder's does.
        pad_id: the piece that fills a batch.
    """
    shape = SHAPES[size]
    return transformers.BertConfig(
        vocab_size=n_pieces,
        hidden_size=shape.width,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.width // 64,
        intermediate_size=4 * shape.width,
        max_position_embeddings=POSITIONS,
        pad_token_id=pad_id,
        is_decoder=is_one_sided,
        use_cache=False,  # a text is read once and whole
    )


def new_language_model(config: transformers.BertConfig, *, has_pairs: bool, seed: int) -> Any:
    """A BERT with its heads and random weights, which the seed decides."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _bert_class(config, has_pairs)(config)


def load_language_model(
    folder: Path, config: dict[str, Any], objective: Objective, *, has_pairs: bool, seed: int
) -> Any:
    """A model folder's network with its head; one that the folder lacks is new, and is tied to
    the network's embeddings.

    Args:
        folder: where config.json and the weights are.
        config: what config.json says.
        objective: what it is to find: decides whether it reads one way or both.
        has_pairs: whether it needs the head that says what follows what.
        seed: of new weights.

    Raises:
        RequestError: it is of a kind that cannot be trained in this way.
        ModelError: the weights cannot be read.
    """
    kind = check_kind(folder, config, objective, has_pairs=has_pairs)
    changes: dict[str, Any] = {}
    if kind == "bert":
        changes = {"is_decoder": objective is Objective.CAUSAL, "use_cache": False}
    try:
        settings = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **changes
        )
        loader: Any = transformers.AutoModelForMaskedLM
        loader = _bert_class(settings, has_pairs) if kind == "bert" else loader
        with quietly(), torch.random.fork_rng():
            torch.manual_seed(seed)
            return loader.from_pretrained(
                folder,
                config=settings,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"The model {folder} cannot be loaded: {cause_of(error)}.") from error


def check_kind(
    folder: Path, config: dict[str, Any], objective: Objective, *, has_pairs: bool
) -> str:
    """The kind of a model, which can be trained in this way.

    Raises:
        RequestError: it cannot.
    """
    kind = str(config.get("model_type"))
    if kind not in HEADS:
        raise RequestError(
            f"{folder} is a model of kind {kind}; masked pieces are found by "
            f"{', '.join(sorted(HEADS))}.",
            "Name a model of one of these kinds.",
        )
    if kind != "bert" and (has_pairs or objective is Objective.CAUSAL):
        name = "--next-sentence" if has_pairs else "--objective causal"
        raise RequestError(f"{folder} is a model of kind {kind}, and {name} is for BERT alone.")
    return kind


def transformer_of(model: Any) -> nn.Module:
    """The network without its heads."""
    base: nn.Module = model.base_model
    return base


def piece_scores(model: Any, states: Tensor) -> Tensor:
    """Scores of all pieces at some places.

    Args:
        model: a language model.
        states: the transformer's, shape (n, width).

    Returns:
        Shape (n, n_pieces).
    """
    return HEADS[model.config.model_type](model, states)


def _bert_class(config: Any, has_pairs: bool) -> Any:
    if has_pairs:
        return transformers.BertForPreTraining
    return transformers.BertLMHeadModel if config.is_decoder else transformers.BertForMaskedLM


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the library from reporting heads that are new, and from showing bars."""
    before, had_bar = reporting.get_verbosity(), reporting.is_progress_bar_enabled()
    reporting.set_verbosity_error()  # type: ignore[no-untyped-call]
    reporting.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        reporting.set_verbosity(before)
        if had_bar:
            reporting.enable_progress_bar()  # type: ignore[no-untyped-call]
