"""The one layer that a head for labels has: states in, the probability of each label out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from embedder.errors import ModelError
from embedder.heads.protocol import HEAD_WEIGHTS

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LinearHead:
    """A linear layer and a softmax.

    It is computed in double precision: what is left of the order in which products are added up
    is then far below the precision of an answer.

    Args:
        weight: float32, shape (n_labels, width).
        bias: float32, shape (n_labels,).
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ValueError(
                f"weight {self.weight.shape} and bias {self.bias.shape} should be (n_labels, "
                "width) and (n_labels,)"
            )
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise ValueError("weight and bias should be finite")

    def scores(self, states: npt.NDArray[np.float32]) -> Probabilities:
        """What the layer gives before the softmax, float64, shape (n, n_labels).

        Args:
            states: shape (n, width).
        """
        found: Probabilities = (
            states.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        )
        return found

    def log_probabilities(self, states: npt.NDArray[np.float32]) -> Probabilities:
        """Logarithms of the probabilities, float64, shape (n, n_labels).

        Args:
            states: shape (n, width).
        """
        scores = self.scores(states)
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
        found: Probabilities = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return found

    def save(self, folder: Path) -> None:
        """Write the weights into a folder, as head.safetensors."""
        tensors = {"weight": np.ascontiguousarray(self.weight), "bias": self.bias}
        save_file(tensors, folder / HEAD_WEIGHTS)


def load_linear(folder: Path, *, n_labels: int, width: int) -> LinearHead:
    """Read what `LinearHead.save` wrote.

    Raises:
        ModelError: the file is not there, is damaged, or has another shape.
    """
    path = folder / HEAD_WEIGHTS
    try:
        found = load_file(path)
        head = LinearHead(found["weight"].astype(np.float32), found["bias"].astype(np.float32))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {error}.", "Copy the folder again.") from error
    if head.weight.shape != (n_labels, width):
        raise ModelError(
            f"{path} has weights of the shape {head.weight.shape}, and head.json and config.json "
            f"call for {(n_labels, width)}.",
            "Copy the whole folder again.",
        )
    return head
