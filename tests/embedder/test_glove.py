"""GloVe against its definition: weights, loss, gradients, steps, and where they lead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from embedder.array_file import ArrayFile
from embedder.cooccurrences import Blocks, Cells, Cooccurrences
from embedder.glove import (
    FIRST_SQUARES,
    GloveOptions,
    Side,
    block_gradients,
    cell_weights,
    train_glove,
)
from embedder.vectors import Rows

WIDTH = 3


def make_cells(n_rows: int, n_columns: int, seed: int = 0) -> Cells:
    """About half of the cells of a block, with counts from below 1 to above 100."""
    chance = np.random.default_rng(seed)
    rows, columns = np.nonzero(chance.random((n_rows, n_columns)) < 0.5)
    counts = np.exp(chance.uniform(-1, 6, len(rows))).astype(np.float32)
    return Cells(rows.astype(np.uint16), columns.astype(np.uint16), counts)


def loss_by_hand(rows: Rows, columns: Rows, cells: Cells) -> float:
    """Half of equation 8 of the paper with the f of equation 9, a cell at a time."""
    total = 0.0
    for i, j, x in zip(*(part.tolist() for part in cells), strict=True):
        weight = (x / 100) ** 0.75 if x < 100 else 1.0
        product = sum(
            float(a) * float(b) for a, b in zip(rows[i, :-1], columns[j, :-1], strict=True)
        )
        total += weight * (product + rows[i, -1] + columns[j, -1] - np.log(x)) ** 2
    return 0.5 * total


def square(counts: np.ndarray, folder: Path) -> Cooccurrences:
    """The cells above zero of a square of few words, each a block of its own."""
    n = len(counts)
    blocks = Blocks(np.random.default_rng(2).permutation(n).astype(np.int64), n, 1)
    ordered = np.empty_like(counts)
    ordered[np.ix_(blocks.place, blocks.place)] = counts
    flat = ordered.reshape(-1)
    kept = flat[flat > 0].astype(np.float32)
    zeros = np.zeros(len(kept), np.uint16)
    for name, values in (("rows", zeros), ("columns", zeros), ("counts", kept)):
        values.tofile(folder / name)
    files = [
        ArrayFile(folder / n, k) for n, k in zip(Cells._fields, ("u2", "u2", "f4"), strict=True)
    ]
    return Cooccurrences(blocks, np.concatenate([[0], np.cumsum(flat > 0)]), *files)


def random_square(n: int, folder: Path, lowest: float = 0) -> Cooccurrences:
    """Co-occurrences of words, symmetric, some of them zero."""
    chance = np.random.default_rng(1)
    counts = np.exp(chance.uniform(lowest, 6, (n, n))) * (chance.random((n, n)) < 0.8)
    return square(counts + counts.T, folder)


def test_weights_are_the_papers() -> None:
    """f rises to one at 100 co-occurrences, with the power 3/4, and stays there."""
    found = cell_weights(np.array([1, 10, 50, 100, 5000], np.float32))
    assert found == pytest.approx([100**-0.75, 10**-0.75, 0.5**0.75, 1, 1])


def test_loss_and_gradient_are_those_of_the_definition() -> None:
    """The loss is the weighted sum of squares, and its gradients are what SciPy finds by moving
    each parameter a little."""
    chance = np.random.default_rng(4)
    rows, columns = (chance.normal(size=(n, WIDTH + 1)) for n in (5, 7))
    cells = make_cells(5, 7)
    loss, by_rows, by_columns = block_gradients(rows, columns, cells)
    assert loss == pytest.approx(loss_by_hand(rows, columns, cells), rel=1e-6)

    def moved(parameters: np.ndarray) -> float:
        parts = np.split(parameters, [rows.size])
        return loss_by_hand(parts[0].reshape(rows.shape), parts[1].reshape(columns.shape), cells)

    expected = approx_fprime(np.concatenate([rows, columns], axis=None), moved)
    found = np.concatenate([by_rows, by_columns], axis=None)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_row_without_cells_stays() -> None:
    """A word that occurs near none in a block has no gradient, and is not moved."""
    side = Side(np.ones((3, WIDTH + 1), np.float32))
    cells = Cells(np.array([2], np.uint16), np.array([0], np.uint16), np.array([9], np.float32))
    _, by_rows, _ = block_gradients(side.parameters, side.parameters[:1], cells)
    assert (by_rows[:2] == 0).all() and (by_rows[2] != 0).all()
    side.move(slice(0, 3), by_rows, 0.1)
    assert (side.parameters[:2] == 1).all() and (side.parameters[2] != 1).all()


def test_steps_are_adagrads() -> None:
    """Each parameter moves by rate · g / sqrt(sum of g²), so the first step is the rate."""
    side = Side(np.zeros((1, 2), np.float32))
    side.move(slice(0, 1), np.array([[3, -4]], np.float32), 0.05)
    assert side.parameters == pytest.approx(np.array([[-0.05, 0.05]]), rel=1e-5)
    side.move(slice(0, 1), np.array([[4, -3]], np.float32), 0.05)
    expected = np.array([[-0.05 - 0.05 * 4 / 5, 0.05 + 0.05 * 3 / 5]])
    assert side.parameters == pytest.approx(expected, rel=1e-5)


def test_blocks_of_one_cell_are_the_papers_training(tmp_path: Path) -> None:
    """With one cell a block, training is stochastic AdaGrad, a cell at a time, as published."""
    found = random_square(5, tmp_path)
    options = GloveOptions(width=WIDTH, epochs=3, learning_rate=0.05, seed=7)
    chance = np.random.default_rng(options.seed)
    drawn = [chance.random((5, WIDTH + 1), dtype=np.float32) for _ in range(2)]
    w, c = ((d.astype(float) - 0.5) / (WIDTH + 1) for d in drawn)
    squares_w, squares_c = np.full_like(w, FIRST_SQUARES), np.full_like(c, FIRST_SQUARES)
    full = np.flatnonzero(np.diff(found.starts))
    for _ in range(options.epochs):
        for number in chance.permutation(full).tolist():
            i, j = divmod(number, 5)
            x = float(found.block(number).counts[0])
            error = w[i, :-1] @ c[j, :-1] + w[i, -1] + c[j, -1] - np.log(x)
            pull = min(1, (x / 100) ** 0.75) * error
            by_w, by_c = pull * np.append(c[j, :-1], 1), pull * np.append(w[i, :-1], 1)
            squares_w[i] += by_w**2
            squares_c[j] += by_c**2
            w[i] -= 0.05 * by_w / np.sqrt(squares_w[i])
            c[j] -= 0.05 * by_c / np.sqrt(squares_c[j])
    expected = (w + c)[found.blocks.place, :-1]
    assert train_glove(found, options) == pytest.approx(expected, abs=1e-4)


def test_products_become_logarithms_of_counts(tmp_path: Path) -> None:
    """Where there is room for it, training leads to a loss of nothing: w·c + b + b' = log X."""
    losses: list[float] = []
    found = random_square(5, tmp_path, lowest=3)
    options = GloveOptions(width=8, epochs=80, learning_rate=0.3)
    train_glove(found, options, lambda _, loss: losses.append(loss))
    assert losses[0] > 1
    assert losses[-1] < 1e-4


def test_equal_seeds_give_equal_vectors(tmp_path: Path) -> None:
    """The same seed gives the same bits, another one other vectors."""
    found = random_square(6, tmp_path)
    one, same, other = (
        train_glove(found, GloveOptions(width=4, epochs=2, seed=s)) for s in (1, 1, 2)
    )
    assert one.tobytes() == same.tobytes()
    assert not np.allclose(one, other)
