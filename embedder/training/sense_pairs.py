"""Pairs of uses that have one sense or two, ready for an encoder, and how well it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.errors import LabelError, RequestError
from embedder.labelled import LabelColumns, draw_pairs, holds_uses, read_matches, read_uses
from embedder.occurrences import Use, UsePieces, cut_uses
from embedder.tokens import Tokenizer
from embedder.training.encoder import TrainableEncoder
from embedder.training.use_pooling import encode_use_pieces


class SensePair(NamedTuple):
    """Two uses of a word, whether they have one sense, and the word as it stands in the first."""

    first: UsePieces
    second: UsePieces
    is_match: bool
    word: str


def use_window(encoder: TrainableEncoder, asked: int | None) -> int:
    """Pieces of a use that are read: as many as asked for, else all that the model takes.

    Raises:
        RequestError: the model takes fewer.
    """
    most = encoder.spec.max_tokens
    if asked is not None and asked > most:
        raise RequestError(
            f"A window of {asked} tokens is asked for, and {encoder.checkpoint.name} reads {most}.",
            f"Give --window {most} or less.",
        )
    return asked or most


def read_sense_pairs(
    path: Path,
    tokenizer: Tokenizer,
    max_tokens: int,
    columns: Mapping[str, str] | None = None,
    *,
    seed: int = 1,
) -> list[SensePair]:
    """The pairs of a Parquet file, in order, or pairs of the labelled uses in it.

    Args:
        path: the file; see `embedder.labelled.read_matches`, `read_uses` and `draw_pairs`.
        tokenizer: the encoder's.
        max_tokens: most pieces of a use; of a longer text a stretch around the word.
        columns: names of columns, by those of `LabelColumns` that are called otherwise.
        seed: of the pairs that are drawn.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a label is neither true nor false, there is no word where a row points, or no
            two uses are of one word.
    """

    def cut(number: int, *uses: Use) -> list[UsePieces]:
        try:
            return cut_uses(tokenizer, uses, max_tokens)
        except RequestError as error:
            raise LabelError(f"Row {number} of {path}: {error.message}") from error

    names = LabelColumns(**(columns or {}))
    if holds_uses(path, names):
        labelled = read_uses([path], names)
        uses = [cut(number, row.use)[0] for number, row in enumerate(labelled, 1)]
        drawn = draw_pairs(labelled, seed)
        if not drawn:
            raise LabelError(f"No two rows of {path} are uses of one word.")
        return [
            SensePair(uses[first], uses[second], is_match, labelled[first].word.casefold())
            for first, second, is_match in drawn
        ]
    pairs = []
    for number, row in enumerate(read_matches(path, names), 1):
        first, second = cut(number, row.first, row.second)
        word = row.first.text[row.first.start : row.first.end].casefold()
        pairs.append(SensePair(first, second, row.score > 0, word))
    return pairs


def pair_cosines(encoder: TrainableEncoder, pairs: Sequence[SensePair]) -> npt.NDArray[np.float64]:
    """Cosines of the two uses of each pair, shape (n_pairs,)."""
    rows = encode_use_pieces(encoder, [use for pair in pairs for use in (pair.first, pair.second)])
    cosines: npt.NDArray[np.float64] = (rows[::2] * rows[1::2]).sum(1).astype(np.float64)
    return cosines


def matches(pairs: Sequence[SensePair]) -> npt.NDArray[np.bool_]:
    """Whether each pair has one sense, shape (n_pairs,)."""
    return np.array([pair.is_match for pair in pairs])
