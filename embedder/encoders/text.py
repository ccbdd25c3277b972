"""Texts to vectors: a tokenizer and an encoder together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embedder.encoders.protocol import Encoded, Encoder
from embedder.errors import EngineError
from embedder.specs import TextKind
from embedder.tokens import Pieces, TokenBatch, Tokenizer, plan_batches
from embedder.vectors import Rows, check_unit_rows

DEFAULT_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer and the encoder that reads its pieces.

    Args:
        tokenizer: text to pieces.
        encoder: pieces to vectors.
        max_batch_tokens: padded tokens of one forward pass.
    """

    tokenizer: Tokenizer
    encoder: Encoder
    max_batch_tokens: int = DEFAULT_BATCH_TOKENS

    def prompt(self, kind: TextKind) -> str:
        """Text that is put before each text of this kind."""
        spec = self.encoder.spec
        return spec.query_prompt if kind is TextKind.QUERY else spec.passage_prompt

    def encode(self, texts: Sequence[str], kind: TextKind = TextKind.PASSAGE) -> Rows:
        """Unit vectors of texts, float32, shape (len(texts), width).

        A text longer than the encoder's window is cut off at it, as sentence-transformers does.
        """
        return self.encode_pieces([self.cut(ids) for ids in self.tokenize(texts, kind)])

    def tokenize(self, texts: Sequence[str], kind: TextKind) -> list[Pieces]:
        """Pieces of texts with what is put before them, however many they are."""
        prompt = self.prompt(kind)
        return self.tokenizer.encode([prompt + text for text in texts])

    def encode_pieces(self, pieces: Sequence[Pieces]) -> Rows:
        """Unit vectors of tokenised texts, none longer than the window."""
        rows = np.empty((len(pieces), self.encoder.spec.width), dtype=np.float32)
        for indices, _, encoded in self.encode_batches(pieces):
            rows[indices] = encoded.rows
        return rows

    def encode_batches(
        self, pieces: Sequence[Pieces], *, with_states: bool = False
    ) -> Iterator[tuple[list[int], TokenBatch, Encoded]]:
        """Encode tokenised texts batch by batch: their indices, the batch and what it gave.

        Raises:
            EngineError: the engine failed, or a vector is not finite or is zero.
        """
        for indices, length in plan_batches([len(ids) for ids in pieces], self.max_batch_tokens):
            batch = self.tokenizer.batch([pieces[i] for i in indices], length)
            if with_states:
                encoded = self.encoder.encode_states(batch)
            else:
                encoded = Encoded(self.encoder.encode(batch))
            try:
                check_unit_rows(encoded.rows)
            except ValueError as error:
                raise EngineError(
                    f"{self.encoder.description} gave no usable vectors: {error}.",
                    "Use --precision fp32, or another model.",
                ) from error
            yield indices, batch, encoded

    def cut(self, pieces: Pieces) -> Pieces:
        """Pieces of a text without what is past the window; its last special tokens stay."""
        return self.tokenizer.cut(pieces, self.encoder.spec.max_tokens)
