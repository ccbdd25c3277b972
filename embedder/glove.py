"""GloVe: vectors whose products are the logarithms of co-occurrences.

Pennington, Socher and Manning 2014, "GloVe: Global Vectors for Word Representation": the sum over
all co-occurrences X of f(X) (w·c + b + b' - log X)² is made small by AdaGrad (Duchi et al. 2011),
and the vector of a word is w + c.

The paper draws one cell of X at a time. Here a step takes a block of them, drawn by chance, whose
gradients are summed; with blocks of one cell the two are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from embedder.cooccurrences import Cells, Cooccurrences
from embedder.vectors import Rows

X_MAX = 100.0
ALPHA = 0.75
"""The paper's f(x) = min(1, (x / X_MAX) ** ALPHA)."""

FIRST_SQUARES = 1e-8
"""What AdaGrad's sums of squares begin at, so that nothing is divided by zero."""


@dataclass(frozen=True, kw_only=True)
class GloveOptions:
    """How to train.

    Args:
        width: components of a vector.
        epochs: times that each cell is seen.
        learning_rate: AdaGrad's. The paper has .05 for steps of one cell; a block's steps are
            fewer and surer, and .1 led to better vectors.
        seed: of the first vectors and of the order of the blocks.
    """

    width: int = 100
    epochs: int = 25
    learning_rate: float = 0.1
    seed: int = 0


class Side:
    """The vectors and biases of words, as rows or as columns, with AdaGrad's sums of squares.

    Args:
        parameters: the vector of each word and its bias after it, shape (n, width + 1).
    """

    def __init__(self, parameters: Rows) -> None:
        self.parameters = parameters
        self.squares: Rows = np.full_like(parameters, FIRST_SQUARES)

    @classmethod
    def draw(cls, n_words: int, width: int, chance: np.random.Generator) -> Side:
        """Small vectors and biases, as in the authors' program."""
        drawn = chance.random((n_words, width + 1), dtype=np.float32)
        return cls((drawn - np.float32(0.5)) / np.float32(width + 1))

    def move(self, at: slice, gradient: Rows, learning_rate: float) -> None:
        """One step of AdaGrad for some words.

        Args:
            at: the words.
            gradient: of their parameters, shape (n, width + 1).
            learning_rate: the most that one step moves a parameter.
        """
        squares = self.squares[at]
        squares += gradient * gradient
        step = np.sqrt(squares)
        np.divide(gradient, step, out=step)
        step *= np.float32(learning_rate)
        self.parameters[at] -= step


def cell_weights(counts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The paper's f of co-occurrences, shape (n,)."""
    weights: npt.NDArray[np.float32] = np.minimum(1, (counts / X_MAX) ** ALPHA).astype(np.float32)
    return weights


def block_gradients(
    rows: Rows,
    columns: Rows,
    cells: Cells,
) -> tuple[float, Rows, Rows]:
    """Half the weighted squares of a block's cells, and its gradients.

    Args:
        rows: parameters of the words in its rows, shape (n_rows, width + 1), the bias last.
        columns: those of the words in its columns, shape (n_columns, width + 1).
        cells: where they are, and their co-occurrences.

    Returns:
        The loss, and its gradients by `rows` and by `columns`.
    """
    at_rows, at_columns = cells.rows.astype(np.intp), cells.columns.astype(np.intp)
    # A vector meets the other side's bias as if by a one in the bias's place.
    met_rows, met_columns = _met(rows), _met(columns)
    products = np.einsum("ij,ij->i", rows.take(at_rows, 0), met_columns.take(at_columns, 0))
    errors = products + columns[:, -1].take(at_columns) - np.log(cells.counts)
    weighted = cell_weights(cells.counts) * errors
    ends = np.searchsorted(at_rows, np.arange(len(rows) + 1)).astype(np.int32)
    matrix = csr_array(
        (weighted, at_columns.astype(np.int32), ends), shape=(len(rows), len(columns))
    )
    return 0.5 * float(weighted @ errors), matrix @ met_columns, matrix.T @ met_rows


def _met(parameters: Rows) -> Rows:
    met = parameters.copy()
    met[:, -1] = 1
    return met


def train_glove(
    found: Cooccurrences,
    options: GloveOptions,
    epoch_done: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Rows:
    """Vectors of words, float32, shape (n_words, width), in the order of the vocabulary.

    Args:
        found: co-occurrences of the words.
        options: how to train.
        epoch_done: told after each epoch its number, from 1, and the mean loss of its cells.
    """
    chance = np.random.default_rng(options.seed)
    blocks = found.blocks
    rows, columns = (Side.draw(len(blocks.place), options.width, chance) for _ in range(2))
    full = np.flatnonzero(np.diff(found.starts))
    for epoch in range(1, options.epochs + 1):
        loss = 0.0
        for block in chance.permutation(full).tolist():
            row, column = divmod(block, blocks.n_sides)
            at_row = slice(row * blocks.side, (row + 1) * blocks.side)
            at_column = slice(column * blocks.side, (column + 1) * blocks.side)
            part, by_rows, by_columns = block_gradients(
                rows.parameters[at_row],
                columns.parameters[at_column],
                found.block(block),
            )
            rows.move(at_row, by_rows, options.learning_rate)
            columns.move(at_column, by_columns, options.learning_rate)
            loss += part
        epoch_done(epoch, loss / len(found))
    summed: Rows = (rows.parameters + columns.parameters)[blocks.place, :-1]
    return np.ascontiguousarray(summed)
