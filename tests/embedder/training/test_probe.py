"""The layer that a classifier starts from gives the probabilities of logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from embedder.heads.linear import LinearHead
from embedder.training.probe import STRENGTH, fit_probe


@pytest.mark.parametrize("present", [[0, 1], [0, 2], [0, 1, 2, 3]])
def test_it_agrees_with_scikit_learn(present: list[int]) -> None:
    """For two labels, for more, and where one has no example, which then has zeros."""
    random = np.random.default_rng(7)
    labels = random.choice(present, 200)
    vectors = random.normal(size=(200, 6)).astype(np.float32) + labels[:, None] / 2
    weight, bias = fit_probe(vectors, labels, 4)
    layer = LinearHead(weight[present].astype(np.float32), bias[present].astype(np.float32))
    scaled = vectors.astype(float) / vectors.std()
    expected = LogisticRegression(C=STRENGTH).fit(scaled, labels)
    found = np.exp(layer.log_probabilities(vectors))
    assert np.allclose(found, expected.predict_proba(scaled), atol=1e-3)
    absent = [label for label in range(4) if label not in present]
    assert not weight[absent].any() and not bias[absent].any()


def test_one_label_leaves_zeros() -> None:
    """There is nothing to fit."""
    weight, bias = fit_probe(np.ones((3, 2), dtype=np.float32), np.zeros(3, dtype=np.int64), 2)
    assert not weight.any() and not bias.any()
