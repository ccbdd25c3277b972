"""The static engine: a vector for each piece, averaged. No network, and nothing but numpy."""

from __future__ import annotations

import numpy as np

from embedder.checkpoint import Checkpoint
from embedder.encoders.protocol import Encoded
from embedder.errors import EngineError
from embedder.specs import EncoderSpec
from embedder.static_table import StaticTable, read_static_table
from embedder.tokens import TokenBatch
from embedder.vectors import Rows, States, normalise


class StaticEncoder:
    """Averages the weighted vectors of pieces.

    Args:
        table: the vectors.
        spec: what determines the vectors of texts.
    """

    def __init__(self, table: StaticTable, spec: EncoderSpec) -> None:
        self.spec = spec
        self.description = "static vectors on cpu"
        self._empty = table.empty
        # Padding gets the row of zeros past the end, so a sum over all positions leaves it out.
        self._weighted = np.zeros((table.n_pieces + 1, table.width), dtype=np.float32)
        np.multiply(table.vectors, table.weights[:, None], out=self._weighted[:-1])

    def encode(self, batch: TokenBatch) -> Rows:
        """See `Encoder.encode`."""
        return self.encode_states(batch).rows

    def encode_states(self, batch: TokenBatch) -> Encoded:
        """See `Encoder.encode_states`; a piece's state is its vector times its weight.

        The pieces of a text are added one after the other, so the sum is the same to the last bit
        in any batch. A text without a piece of any weight, as an empty one, gets the vector that
        the table has for it.
        """
        states = self._states(batch)
        rows = normalise(states.sum(axis=1))
        rows[~rows.any(axis=1)] = self._empty
        return Encoded(rows, states)

    def _states(self, batch: TokenBatch) -> States:
        numbers = np.where(batch.attention_mask, batch.piece_ids, len(self._weighted) - 1)
        try:
            return self._weighted.take(numbers, axis=0)
        except IndexError as error:
            raise EngineError(
                f"The tokenizer of {self.spec.model} gives the piece {int(numbers.max())}, and the "
                f"model has vectors of {len(self._weighted) - 1}.",
                "Copy the whole model folder again, or distil it anew.",
            ) from error


def open_static(checkpoint: Checkpoint, spec: EncoderSpec) -> StaticEncoder:
    """The engine over a static model.

    Raises:
        ModelError: its weights cannot be read, or are not those of a static model.
    """
    return StaticEncoder(read_static_table(checkpoint), spec)
