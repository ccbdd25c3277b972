"""Exact match and F1 of answers, as SQuAD defines them.

The published definition, which comes with the data sets as evaluate-v1.1.py and evaluate-v2.0.py
(Rajpurkar et al. 2016, 2018); of the two, which agree wherever both apply, the second.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class AnswerScore(NamedTuple):
    """How well one question was answered, both from 0 to 1."""

    exact_match: float
    f1: float


def normal_answer(text: str) -> str:
    """A text in lower case, without punctuation, articles and more than single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def score_answer(found: str | None, wanted: Sequence[str]) -> AnswerScore:
    """How well an answer agrees with the nearest of those that people gave.

    Args:
        found: the answer; None for none.
        wanted: what people answered; empty where there is no answer.
    """
    known = [normal for text in wanted if (normal := normal_answer(text))] or [""]
    given = normal_answer(found or "")
    return AnswerScore(
        max(float(given == text) for text in known), max(_f1(given, text) for text in known)
    )


def _f1(found: str, wanted: str) -> float:
    """F1 over words, of two normalised texts."""
    given, known = found.split(), wanted.split()
    if not given or not known:
        return float(given == known)
    n_same = (Counter(given) & Counter(known)).total()
    return 2 * n_same / (len(given) + len(known))


def measure_answers(
    found: Sequence[str | None], wanted: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Means of exact match and F1 from 0 to 1, and of questions with and without an answer apart
    where there are both.

    Args:
        found: the answers given, None for none.
        wanted: what people answered to each, empty where there is no answer.
    """
    scores = np.array([score_answer(*pair) for pair in zip(found, wanted, strict=True)])
    has_answer = np.array([bool(texts) for texts in wanted])
    means = {"exact_match": scores[:, 0].mean(), "f1": scores[:, 1].mean()}
    if has_answer.any() and not has_answer.all():
        means["has_answer_exact_match"] = scores[has_answer, 0].mean()
        means["has_answer_f1"] = scores[has_answer, 1].mean()
        means["no_answer_f1"] = scores[~has_answer, 1].mean()
    return {name: float(mean) for name, mean in means.items()}
