"""Vectors of labelled uses: as an index would store them, or as the encoder gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from embedder.encoders import TextEncoder
from embedder.occurrences import Use, encode_uses
from embedder.projection import decode_codes, encode_codes
from embedder.specs import ChunkSpec, Overflow
from embedder.vectors import Rows
from jobs.progress import Progress
from jobs.sense_basis import FUNCTION_WORD_TEXTS, fit_basis

UseEncoder = Callable[[Sequence[Use]], Rows]
"""Unit rows of uses of words, shape (n_uses, d)."""


def stored_encoder(encoder: TextEncoder, uses: Sequence[Use]) -> UseEncoder:
    """Vectors as an index of these uses' texts would have them: few components of one byte each."""
    texts = list(dict.fromkeys(use.text for use in uses))[:FUNCTION_WORD_TEXTS]
    window = encoder.encoder.spec.max_tokens
    chunking = ChunkSpec(overflow=Overflow.TRUNCATE, window=window, stride=window)
    basis, _ = fit_basis(encoder, chunking, texts, Progress())

    def encode(uses: Sequence[Use]) -> Rows:
        return decode_codes(encode_codes(basis.projection.apply(encode_uses(encoder, uses))))

    return encode


def full_encoder(encoder: TextEncoder) -> UseEncoder:
    """Vectors as the encoder gives them."""
    return lambda uses: encode_uses(encoder, uses)
