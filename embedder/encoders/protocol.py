"""What every engine offers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from embedder.specs import EncoderSpec
from embedder.tokens import TokenBatch
from embedder.vectors import Rows, States


class Encoded(NamedTuple):
    """What one forward pass gives.

    Args:
        rows: pooled vectors of unit length, float32, shape (n_texts, width).
        states: states of the pieces, last and middle layer together, float32, shape
            (n_texts, length, width); those of padding mean nothing. None where nobody asked.
    """

    rows: Rows
    states: States | None = None


class Encoder(Protocol):
    """Token batches in, unit vectors out.

    Args:
        spec: what determines the vectors.
        description: engine, device and precision, for people to read.
    """

    spec: EncoderSpec
    description: str

    def encode(self, batch: TokenBatch) -> Rows:
        """Pooled vectors of unit length, float32, shape (n_texts, width).

        The result is the caller's own: a later call does not overwrite it. A text's row depends
        on nothing but the text and the spec.
        """
        ...

    def encode_states(self, batch: TokenBatch) -> Encoded:
        """The vectors of `encode` and, from the same forward pass, the states of the pieces."""
        ...
