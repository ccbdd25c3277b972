"""A checkpoint as one torch module: transformer, layer average, pooling and dense layers.

Every engine runs this module or a graph exported from it, so pooling exists once.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from embedder.checkpoint import Checkpoint
from embedder.errors import ModelError, cause_of
from embedder.specs import EncoderSpec, Pooling

log = logging.getLogger(__name__)

MIDDLE_WEIGHT = 0.5
"""Weight of the middle layer in the states of pieces. The last layer of a sentence encoder knows
what the text is about; half way up the states know more of the words beside them. Both together say
better what a word means there (`tests/benchmarks/senses.py`)."""

HEADS = (
    "pooler.",
    "cls.",
    "lm_head.",
    "head.",
    "classifier.",
    "mlm.",
    "discriminator_predictions.",
    "generator_",
)
"""Weights that an encoder does not use: heads of pre-training and of tasks."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "Identity": nn.Identity,
    "Tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Sigmoid": nn.Sigmoid,
}


class SentenceNetwork(nn.Module):
    """Piece ids to unit vectors.

    Args:
        transformer: a Hugging Face encoder.
        dense: layers after pooling.
        pooling: how token states become one vector.
        layers: number of last layers averaged before pooling.
    """

    def __init__(self, transformer: nn.Module, dense: nn.Module, pooling: Pooling, layers: int):
        super().__init__()
        self.transformer = transformer
        self.dense = dense
        self.pooling = pooling
        self.layers = layers

    def forward(self, piece_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors, float32, shape (n_texts, width), and the states of the pieces, float32,
        shape (n_texts, length, width), with some of the middle layer in them.

        Args:
            piece_ids: int64, shape (n_texts, length).
            attention_mask: int64, shape (n_texts, length), 1 for a piece and 0 for padding.
        """
        last, layers = self._layers(piece_ids, attention_mask, with_all=True)
        middle = layers[len(layers) // 2].float()
        return self.pool(last, attention_mask), _mix(last, middle)

    def rows(self, piece_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The vectors of `forward` alone, without keeping the states of all layers until then."""
        last, _ = self._layers(piece_ids, attention_mask, with_all=self.layers > 1)
        return self.pool(last, attention_mask)

    def _layers(
        self, piece_ids: Tensor, attention_mask: Tensor, *, with_all: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The states that are pooled, float32, and those of all layers if they are asked for."""
        output = self.transformer(
            input_ids=piece_ids, attention_mask=attention_mask, output_hidden_states=with_all
        )
        layers: tuple[Tensor, ...] = output.hidden_states or ()
        if self.layers > 1:
            return torch.stack(layers[-self.layers :]).mean(0).float(), layers
        return output.last_hidden_state.float(), layers

    def pool(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors, shape (n_texts, width), of states of shape (n_texts, length, width)."""
        pooled = self.dense(_pool(states, attention_mask, self.pooling))
        return nn.functional.normalize(pooled, dim=-1)


def _mix(last: Tensor, middle: Tensor) -> Tensor:
    """Last states and middle ones, these at `MIDDLE_WEIGHT` of the length of those, which keep
    theirs; all of shape (n_texts, length, width)."""
    of_last, of_middle = (states.norm(dim=-1, keepdim=True) for states in (last, middle))
    mixed: Tensor = last + middle * (MIDDLE_WEIGHT * of_last / of_middle.clamp(min=1e-12))
    return mixed


def _pool(states: Tensor, attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector a text, shape (n_texts, width), from states of shape (n_texts, length, width)."""
    if pooling is Pooling.CLS:
        return states[:, 0]
    weights = attention_mask.unsqueeze(-1).to(states.dtype)
    if pooling is Pooling.MAX:
        return (states + (1 - weights) * torch.finfo(torch.float32).min / 2).amax(1)
    if pooling is Pooling.WEIGHTED:
        weights = weights * weights.cumsum(1)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def load_network(
    checkpoint: Checkpoint, spec: EncoderSpec, dtype: torch.dtype = torch.float32
) -> SentenceNetwork:
    """Load a checkpoint with the pooling and layers of a spec, in evaluation mode.

    Raises:
        ModelError: the weights cannot be read, or do not fill the network; or there is none.
    """
    if checkpoint.is_static:
        raise ModelError(
            f"{checkpoint.name} is a static model: it has vectors of pieces and no network.",
            "Name the model that it was distilled from, or another one, in --model.",
        )
    transformer = _load_transformer(checkpoint, dtype)
    dense = nn.Sequential(*[_load_dense(folder) for folder in checkpoint.dense_folders])
    return SentenceNetwork(transformer, dense, spec.pooling, spec.layers).eval()


def _load_transformer(checkpoint: Checkpoint, dtype: torch.dtype) -> nn.Module:
    import transformers

    network, info = load_pretrained(transformers.AutoModel, checkpoint.folder, dtype)
    _check_weights(checkpoint, info)
    return network


def load_pretrained(
    kind: Any, folder: Path, dtype: torch.dtype, **settings: Any
) -> tuple[nn.Module, dict[str, Any]]:
    """A network of transformers out of a model folder, and what the weights there lack.

    Args:
        kind: the class that opens it, such as `AutoModel`.
        folder: the model folder.
        dtype: of the weights.
        settings: what else the class takes.

    Returns:
        The network, and `missing_keys`, `unexpected_keys` and `mismatched_keys`, which the caller
        has to look at.

    Raises:
        ModelError: it cannot be loaded.
    """
    import transformers

    captured = io.StringIO()
    try:
        with quiet_transformers(transformers), contextlib.redirect_stderr(captured):
            network, info = kind.from_pretrained(
                folder,
                dtype=dtype,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                **settings,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"The model {folder} cannot be loaded: {cause_of(error)}.",
            "Copy the model folder again, or name another one in --model.",
        ) from error
    return network, info


@contextlib.contextmanager
def quiet_transformers(transformers: Any) -> Any:
    """Silence the library's own report: what matters of it is checked and said here."""
    reporting = transformers.utils.logging
    before = reporting.get_verbosity()
    had_bar = reporting.is_progress_bar_enabled()
    reporting.set_verbosity_error()
    reporting.disable_progress_bar()
    try:
        yield
    finally:
        reporting.set_verbosity(before)
        if had_bar:
            reporting.enable_progress_bar()


def _check_weights(checkpoint: Checkpoint, info: dict[str, Any]) -> None:
    """Raise on weights that are missing; name those that nobody knows a use for."""
    missing = sorted(k for k in info["missing_keys"] if not k.startswith(HEADS))
    mismatched = sorted(str(k[0] if isinstance(k, tuple) else k) for k in info["mismatched_keys"])
    if missing or mismatched:
        raise ModelError(
            f"The model {checkpoint.folder} lacks weights that its config.json calls for: "
            f"{_some(missing + mismatched)}.",
            "Copy the model folder again, or correct config.json.",
        )
    unused = sorted(k for k in info["unexpected_keys"] if not k.startswith(HEADS))
    if unused:
        log.warning("%s: weights not used by the encoder: %s", checkpoint.name, _some(unused))


def _some(names: list[str], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _load_dense(folder: Path) -> nn.Module:
    try:
        values = json.loads((folder / "config.json").read_text("utf-8"))
        weights = load_file(folder / "model.safetensors")
        activation = ACTIVATIONS[str(values["activation_function"]).rpartition(".")[2]]
        linear = nn.Linear(values["in_features"], values["out_features"], values.get("bias", True))
        linear.load_state_dict({k.removeprefix("linear."): v for k, v in weights.items()})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"The dense layer {folder} cannot be loaded: {error}.") from error
    return nn.Sequential(linear, activation())


def save_tokenizer(checkpoint: Checkpoint, path: str) -> None:
    """Write a tokenizer.json for a model folder that has only vocabulary files.

    Raises:
        ModelError: transformers cannot make a fast tokenizer of them.
    """
    import transformers

    try:
        made = transformers.AutoTokenizer.from_pretrained(
            checkpoint.folder, use_fast=True, local_files_only=True, trust_remote_code=False
        )
        made.backend_tokenizer.save(path)
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise ModelError(
            f"The vocabulary in {checkpoint.folder} cannot be made into a tokenizer.json: {error}",
            "Save the model's tokenizer with a current transformers.",
        ) from error
