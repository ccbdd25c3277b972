"""Static vectors: one a word piece, whatever stands around it. The baseline of contextual ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from embedder.checkpoint import Checkpoint
from embedder.errors import ModelError
from embedder.occurrences import Use, find_pieces
from embedder.tokens import Pieces, Tokenizer
from embedder.vectors import Rows, normalise

TABLE_NAMES = ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight")
"""Ends of the names that the table of input vectors has in weight files."""


class StaticVectors:
    """The vectors that a network starts from, before any of its layers.

    Args:
        checkpoint: the model.

    Raises:
        ModelError: its weights hold no such table, or cannot be read.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._tokenizer = Tokenizer(checkpoint)
        table = _read_table(checkpoint.weight_files)
        self._table = normalise(table - table.mean(axis=0))

    def encode_uses(self, uses: Sequence[Use]) -> Rows:
        """The mean vector of each word and that of the text around it, side by side, unit rows of
        shape (n_uses, 2 * width). The word's own half is the same wherever the word stands."""
        width = self._table.shape[1]
        rows = np.empty((len(uses), 2 * width), dtype=np.float32)
        texts = [use.text for use in uses]
        found = self._tokenizer.encode_with_spans(texts)
        for number, (use, (pieces, spans)) in enumerate(zip(uses, found, strict=True)):
            at = find_pieces(spans, np.array([use.start], np.int32), np.array([use.end], np.int32))
            is_own = np.zeros(len(pieces), dtype=np.bool_)
            is_own[at.first[0] : at.last[0]] = True
            is_around = (spans.ends > spans.starts) & ~is_own
            rows[number, :width] = self._mean(pieces[is_own])
            rows[number, width:] = self._mean(pieces[is_around])
        return normalise(rows)

    def _mean(self, pieces: Pieces) -> Rows:
        if not len(pieces):
            return np.zeros(self._table.shape[1], dtype=np.float32)
        mean: Rows = normalise(self._table[pieces].mean(axis=0, keepdims=True))[0]
        return mean


def _read_table(files: Sequence[Path]) -> Rows:
    try:
        for path in files:
            with safe_open(path, "numpy") as weights:
                for name in weights.keys():  # noqa: SIM118 (it is no dict)
                    if name.endswith(TABLE_NAMES):
                        table: Rows = weights.get_tensor(name).astype(np.float32)
                        return table
    except (OSError, TypeError, SafetensorError) as error:
        raise ModelError(f"The weights {files[0]} cannot be read: {error}.") from error
    raise ModelError(
        f"{files[0].parent} has no table of input vectors that is known.",
        f"One whose name ends in {' or '.join(TABLE_NAMES)} is wanted.",
    )
