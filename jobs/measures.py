"""Measures of predictions and of groups, by scikit-learn and SciPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


def classification(true: Sequence[str], found: Sequence[str]) -> dict[str, float]:
    """Accuracy, and F1 and recall averaged over the labels that are there.

    Args:
        true: the label of each use.
        found: the one that was predicted.
    """
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    labels = sorted(set(true))
    options = {"labels": labels, "average": "macro", "zero_division": 0}
    return {
        "accuracy": float(accuracy_score(true, found)),
        "macro_f1": float(f1_score(true, found, **options)),
        "macro_recall": float(recall_score(true, found, **options)),
    }


def accuracy(true: Sequence[int], found: Sequence[int]) -> float:
    """Share of the predictions that are right."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(true, found))


def clustering(true: Sequence[str], found: Sequence[int]) -> dict[str, float]:
    """Adjusted Rand index, V-measure and paired F-score of groups against labels.

    The last is F1 over pairs of uses that share a group (Manandhar et al. 2010, SemEval task 14).
    """
    from sklearn.metrics import adjusted_rand_score, v_measure_score

    return {
        "ari": float(adjusted_rand_score(true, found)),
        "v_measure": float(v_measure_score(true, found)),
        "paired_f": paired_f_score(true, found),
    }


def paired_f_score(true: Sequence[str], found: Sequence[int]) -> float:
    """F1 of `these two uses have one sense` over all pairs of uses."""
    from sklearn.metrics.cluster import pair_confusion_matrix

    (_, wrong), (missed, right) = pair_confusion_matrix(true, found).tolist()
    return float(2 * right / max(1, 2 * right + wrong + missed))


def rank_correlation(scores: Sequence[float], found: Sequence[float]) -> float:
    """Spearman's rho; 0 where one side has one value only."""
    from scipy.stats import spearmanr

    if len(set(scores)) < 2 or len(set(found)) < 2:
        return 0.0
    return float(spearmanr(scores, found).statistic)


def geometric_mean(first: float, second: float) -> float:
    """Of two measures that pull in opposite directions, as the paired F-score and V-measure."""
    return math.sqrt(max(first, 0.0) * max(second, 0.0))
