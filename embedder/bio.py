"""Spans written as tags of words: B- begins one, I- continues it, O is outside (IOB2).

The scheme is that of Ramshaw and Marcus (1995), with a B- before every span as in CoNLL-2002.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

OUTSIDE = "O"
_TAG = re.compile(r"O|[BI]-.+", re.DOTALL)
_OTHER_TAG = re.compile(r"[A-Z]-.+", re.DOTALL)


def is_bio(labels: Iterable[object]) -> bool:
    """Whether labels are O, B-... and I-..., and at least one begins a span."""
    found = list(labels)
    are_tags = all(isinstance(label, str) and _TAG.fullmatch(label) for label in found)
    return are_tags and any(str(label).startswith("B-") for label in found)


def not_of_bio(labels: Iterable[object]) -> set[str]:
    """The labels that are no BIO tags where O and B-... are among the others; none where it is
    another scheme that says with a letter where a word stands in its span, such as BIOES."""
    texts = {label for label in labels if isinstance(label, str)}
    strange = {label for label in texts if not _TAG.fullmatch(label)}
    begins = any(label.startswith("B-") for label in texts - strange)
    is_other = all(_OTHER_TAG.fullmatch(label) for label in strange)
    return strange if begins and OUTSIDE in texts and not is_other else set()


def may_follow(before: str, tag: str) -> bool:
    """Whether a tag may stand after another; the first of a sentence stands after O."""
    return not tag.startswith("I-") or (before != OUTSIDE and before[2:] == tag[2:])


def first_break(tags: Sequence[str]) -> int | None:
    """The number of the first tag, from 0, that continues no span; None where there is none."""
    before = OUTSIDE
    for number, tag in enumerate(tags):
        if not may_follow(before, tag):
            return number
        before = tag
    return None


class BioDecoder:
    """Finds the likeliest tags of a sentence among those that are well formed.

    This is the algorithm of Viterbi (1967) where a step is free or forbidden.

    Args:
        labels: the tags, in the order of the scores.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        steps = [[may_follow(before, tag) for tag in labels] for before in labels]
        self._penalty = np.where(np.array(steps), 0.0, -np.inf)
        self._start = np.where([may_follow(OUTSIDE, tag) for tag in labels], 0.0, -np.inf)

    def __call__(self, log_probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Numbers of the tags, int64, shape (n_words,).

        Args:
            log_probabilities: of each tag for each word, shape (n_words, n_labels).
        """
        n_words = len(log_probabilities)
        found = np.zeros(n_words, dtype=np.int64)
        if not n_words:
            return found
        best = self._start + log_probabilities[0]
        came_from = np.zeros(log_probabilities.shape, dtype=np.int64)
        for word in range(1, n_words):
            reached = best[:, None] + self._penalty
            came_from[word] = reached.argmax(0)
            best = reached.max(0) + log_probabilities[word]
        found[-1] = best.argmax()
        for word in range(n_words - 1, 0, -1):
            found[word - 1] = came_from[word, found[word]]
        return found
