"""What every engine offers."""

from __future__ import annotations

from typing import Protocol

from embedder.specs import EncoderSpec
from embedder.tokens import TokenBatch
from embedder.vectors import Rows


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
