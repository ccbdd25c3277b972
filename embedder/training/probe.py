"""A linear probe: the layer over frozen vectors that a classifier starts from.

A layer of random weights first pulls the encoder about while it learns what the encoder knows
already; one that was fitted before leaves it where it is, and fine-tuning gets further in fewer
steps, on other data than that of training most of all (Kumar et al. 2022, "Fine-tuning can distort
pretrained features and underperform out-of-distribution").
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

MOST_EXAMPLES = 10_000
"""Examples that the layer is fitted to; with more it gets little better."""

STRENGTH = 0.01
"""Inverse of the penalty (scikit-learn's C) for vectors of components of variance one: on such
data it is as good as the best (seen on TREC and SST-2), and few examples leave a layer near 0."""

MOST_STEPS = 100


def fit_probe(
    vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], n_labels: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights (n_labels, width) and biases (n_labels,) of multinomial logistic regression.

    Args:
        vectors: shape (n, width); the penalty is for what they are at a variance of one.
        labels: numbers of the labels, shape (n,); a label without an example gets zeros.
        n_labels: how many labels there are.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    weight, bias = np.zeros((n_labels, vectors.shape[1])), np.zeros(n_labels)
    if len(np.unique(labels)) < 2:
        return weight, bias
    spread = float(vectors.std()) or 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not be the optimum
        fitted = LogisticRegression(C=STRENGTH, max_iter=MOST_STEPS).fit(
            vectors.astype(np.float64) / spread, labels
        )
    coefficients, intercepts = fitted.coef_ / spread, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn has the scores of the second alone
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight[fitted.classes_], bias[fitted.classes_] = coefficients, intercepts
    return weight, bias
