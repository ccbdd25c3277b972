"""How a static table is made: weights, components, and the fit to the teacher's vectors."""

from __future__ import annotations

import numpy as np
import pytest
from models import SENTENCES

from embedder import static_distillation
from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.projection import Projection
from embedder.specs import Engine
from embedder.static_distillation import (
    RIDGE,
    TaughtTexts,
    count_pieces,
    encode_vocabulary,
    fit_table,
    make_table,
    sif_weights,
)
from embedder.static_table import StaticTable
from embedder.vectors import normalise

N_PIECES, WIDTH = 30, 6


@pytest.fixture(scope="module")
def teacher(tiny_model: object) -> TextEncoder:
    """The tiny model."""
    return open_encoder(EncoderOptions(model=str(tiny_model), engine=Engine.TORCH, device="cpu"))


def test_a_piece_goes_through_the_teacher_as_its_word_does(teacher: TextEncoder) -> None:
    """The row of a piece that is a whole word is the teacher's vector of that word."""
    rows = encode_vocabulary(teacher, lambda *_: None)
    assert rows.shape == (teacher.tokenizer.n_pieces, teacher.encoder.spec.width)
    for word in ("bank", "crane", "x"):
        [piece] = teacher.tokenizer.encode([word])[0][1:-1]
        np.testing.assert_allclose(rows[piece], teacher.encode([word])[0], atol=1e-6)


def test_weights_are_smooth_inverse_frequencies() -> None:
    """Each weight is a / (a + p), p the share among pieces that are not special; those have 0."""
    counts = np.array([1000, 3, 0, 6, 1], dtype=np.int64)
    found = sif_weights(counts, [0], 0.01)
    np.testing.assert_allclose(found, [0, 0.01 / 0.31, 1, 0.01 / 0.61, 0.01 / 0.11], rtol=1e-6)
    assert counts[0] == 1000
    np.testing.assert_array_equal(sif_weights(np.zeros(3, np.int64), [], 0.01), np.ones(3))


def test_pieces_are_counted() -> None:
    """Counts are those of all texts together, zero for pieces that do not occur."""
    found = count_pieces([np.array([1, 1, 4]), np.array([], np.int64), np.array([1])], 6)
    assert found.tolist() == [0, 3, 0, 0, 1, 0]
    assert count_pieces([], 2).tolist() == [0, 0]


def test_all_components_keep_all_distances(teacher: TextEncoder) -> None:
    """With as many components as the teacher has, vectors are as far from each other as its."""
    rows = encode_vocabulary(teacher, lambda *_: None)
    weights = np.ones(len(rows), np.float32)
    table, _ = make_table(rows, teacher.encode([""])[0], weights, rows.shape[1])
    wanted = np.linalg.norm(rows[:20, None] - rows[None, :20], axis=2)
    found = np.linalg.norm(table.vectors[:20, None] - table.vectors[None, :20], axis=2)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    few, _ = make_table(rows, teacher.encode([""])[0], weights, 4)
    np.testing.assert_allclose(few.vectors, table.vectors[:, :4], atol=1e-6)


def random_case(seed: int, n_texts: int = 40) -> tuple[StaticTable, TaughtTexts, Projection]:
    """A table, texts of its pieces, and a teacher whose vectors are near their means."""
    chance = np.random.default_rng(seed)
    vectors = chance.standard_normal((N_PIECES, WIDTH)).astype(np.float32)
    weights = chance.uniform(0.2, 1, N_PIECES).astype(np.float32)
    weights[:2] = 0
    table = StaticTable(vectors, weights, np.eye(WIDTH, dtype=np.float32)[0])
    pieces = [chance.integers(0, N_PIECES - 3, chance.integers(1, 9)) for _ in range(n_texts)]
    means = np.stack([(weights[ids] @ vectors[ids]) / len(ids) for ids in pieces])
    rows = normalise((means + 0.3 * chance.standard_normal(means.shape)).astype(np.float32))
    projection = Projection(np.zeros(WIDTH, np.float32), np.eye(WIDTH, dtype=np.float32))
    return table, TaughtTexts(pieces, rows), projection


def shares_of(taught: TaughtTexts, used: np.ndarray) -> np.ndarray:
    """Each used piece's share of the used pieces of each text, by hand."""
    found = np.zeros((len(taught.pieces), N_PIECES))
    for row, ids in enumerate(taught.pieces):
        for piece in ids:
            found[row, piece] += 1
    found = found[:, used]
    return found / np.maximum(1, found.sum(axis=1, keepdims=True))


def test_the_fit_is_the_ridge_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    """With steps enough, the moved vectors solve the normal equations of the ridge regression."""
    monkeypatch.setattr(static_distillation, "N_STEPS", 200)
    table, taught, projection = random_case(1)
    used = np.unique(np.concatenate(taught.pieces))
    used = used[used >= 2]
    x = shares_of(taught, used)
    before = table.vectors[used] * table.weights[used, None]
    y = taught.rows - taught.rows.mean(axis=0)
    y = y * (np.vdot(x @ before, x @ before) / np.vdot(x @ before, y))
    wanted = before + np.linalg.solve(x.T @ x + RIDGE * np.eye(len(used)), x.T @ (y - x @ before))
    fitted = fit_table(table, taught, projection)
    np.testing.assert_allclose(fitted.vectors[used] * table.weights[used, None], wanted, atol=2e-3)


def test_what_the_texts_do_not_hold_stays(teacher: TextEncoder) -> None:
    """Pieces without weight or outside the texts keep their vectors; weights stay as they are."""
    table, taught, projection = random_case(2)
    fitted = fit_table(table, taught, projection)
    outside = [0, 1, N_PIECES - 3, N_PIECES - 2, N_PIECES - 1]
    assert np.array_equal(fitted.vectors[outside], table.vectors[outside])
    assert np.array_equal(fitted.weights, table.weights)
    assert not np.array_equal(fitted.vectors, table.vectors)


def test_texts_of_special_pieces_alone_fit_nothing() -> None:
    """Where no text holds a piece with a weight, the table stays."""
    table, _, projection = random_case(3)
    nothing = TaughtTexts([np.array([0, 1])] * 3, np.eye(3, WIDTH, dtype=np.float32))
    assert fit_table(table, nothing, projection) is table


def test_the_fit_brings_texts_nearer_to_the_teacher(teacher: TextEncoder) -> None:
    """Cosines between texts of the fit are nearer to the teacher's after it than before."""
    words = [word for text in SENTENCES for word in text.split()]
    chance = np.random.default_rng(4)
    texts = [" ".join(chance.choice(words, chance.integers(1, 8))) for _ in range(200)]
    rows = encode_vocabulary(teacher, lambda *_: None)
    tokenizer = teacher.tokenizer
    pieces = tokenizer.encode(texts)
    weights = sif_weights(count_pieces(pieces, len(rows)), tokenizer.special_ids, 1e-2)
    table, projection = make_table(rows, teacher.encode([""])[0], weights, 16)
    target = teacher.encode(texts)
    fitted = fit_table(table, TaughtTexts(pieces, target), projection)
    centred = normalise(target - target.mean(axis=0))
    before, after = (
        np.corrcoef((r @ r.T).ravel(), (centred @ centred.T).ravel())[0, 1]
        for r in (means(table, pieces), means(fitted, pieces))
    )
    assert after > before + 0.02


def means(table: StaticTable, pieces: list[np.ndarray]) -> np.ndarray:
    """Unit vectors of texts by a table."""
    return normalise(np.stack([table.weights[ids] @ table.vectors[ids] for ids in pieces]))
