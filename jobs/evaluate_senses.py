"""`embedder evaluate senses`: how well vectors and groups of uses agree with what people said."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from embedder.errors import RequestError
from embedder.labelled import LabelledPair, LabelledUse
from embedder.senses import induce
from embedder.threshold import best_threshold
from embedder.vectors import Rows, normalise
from jobs.measures import (
    classification,
    clustering,
    geometric_mean,
    rank_correlation,
)
from jobs.sense_reports import Scores, mean_scores
from jobs.use_vectors import UseEncoder

SEED = 1729

SHRINKAGE = 0.1
"""Share of the within-class covariance that is the same in all directions."""

N_DRAWS = 20
"""Draws of a few training uses, whose measures are averaged."""

Groups = dict[str, npt.NDArray[np.int64]]
"""Of each word the numbers of its uses, in order."""


def evaluate_centroids(
    train: Sequence[LabelledUse],
    test: Sequence[LabelledUse],
    encode: UseEncoder,
    *,
    whiten: bool = False,
) -> dict[str, Scores]:
    """Measures of each word when a use gets the label whose training uses' mean is nearest.

    Args:
        train: uses whose labels are known, of any words.
        test: uses that get one of their word's labels.
        encode: makes the vectors of both.
        whiten: measure nearness after the directions in which uses of one label differ have been
            evened out, over the training uses of all words.

    Raises:
        RequestError: a word has no training uses.
    """
    training, rows = _by_word(train), encode([use.use for use in train])
    testing, test_rows = _by_word(test), encode([use.use for use in test])
    _check_trained(testing, training)
    if whiten:
        whitening = _within_class_whitening(rows, [(use.word, use.label) for use in train])
        rows, test_rows = normalise(rows @ whitening), normalise(test_rows @ whitening)
    scores: dict[str, Scores] = {}
    for word, own in testing.items():
        labels = [train[i].label for i in training[word]]
        found = _nearest(rows[training[word]], labels, test_rows[own])
        scores[word] = classification([test[i].label for i in own], found)
    return scores


def evaluate_few_shots(
    train: Sequence[LabelledUse],
    test: Sequence[LabelledUse],
    encode: UseEncoder,
    shots: Sequence[int],
) -> dict[str, Scores]:
    """Accuracy of each word with so many training uses a label, mean over draws of them.

    Raises:
        RequestError: a word has no training uses.
    """
    training, rows = _by_word(train), encode([use.use for use in train])
    testing, test_rows = _by_word(test), encode([use.use for use in test])
    _check_trained(testing, training)
    scores: dict[str, Scores] = {}
    for word, own in testing.items():
        labels = [train[i].label for i in training[word]]
        true = np.array([test[i].label for i in own])
        found: dict[str, float] = {}
        for n in shots:
            right = []
            for chosen in _draws(labels, n, word):
                drawn = rows[training[word][chosen]]
                guessed = _nearest(drawn, [labels[i] for i in chosen], test_rows[own])
                right.append(float(np.mean(np.array(guessed) == true)))
            found[f"accuracy_{n}"] = sum(right) / len(right)
        scores[word] = found
    return scores


def evaluate_induction(
    uses: Sequence[LabelledUse], encode: UseEncoder, *, least_uses: int, least_senses: int
) -> dict[str, Scores]:
    """Measures of each word's groups, found without labels, against its labels.

    Args:
        uses: labelled uses.
        encode: makes their vectors.
        least_uses: words with fewer are left out.
        least_senses: so are words with fewer labels.

    Raises:
        RequestError: no word is left.
    """
    words = {
        word: own
        for word, own in _by_word(uses).items()
        if len(own) >= least_uses and len({uses[i].label for i in own}) >= least_senses
    }
    if not words:
        raise RequestError(
            f"No word has {least_uses} uses and {least_senses} labels.",
            "Ask for fewer with --least-uses and --least-senses.",
        )
    kept = np.concatenate(list(words.values()))
    edges = np.cumsum([len(own) for own in words.values()])
    rows = np.split(encode([uses[i].use for i in kept]), edges[:-1])
    scores: dict[str, Scores] = {}
    for (word, own), own_rows in zip(words.items(), rows, strict=True):
        true, found = [uses[i].label for i in own], induce(own_rows)
        scores[word] = {
            **clustering(true, found.labels.tolist()),
            "n_found": len(found.centroids),
            "n_true": len(set(true)),
            "n_uses": len(own),
        }
    return scores


def summarise_induction(words: dict[str, Scores]) -> dict[str, float]:
    """Means over the words, and the geometric mean of those of paired F-score and V-measure."""
    means = mean_scores(words)
    found = geometric_mean(means["paired_f"], means["v_measure"])
    return {**means, "geometric_mean": found}


def evaluate_matches(
    train: Sequence[LabelledPair], dev: Sequence[LabelledPair], encode: UseEncoder
) -> dict[str, float]:
    """Accuracy on pairs that have one sense where their cosine passes a threshold.

    The threshold is the one that is most often right on the training pairs.
    """
    threshold = best_threshold(_cosines(train, encode), _matches(train))
    found = _cosines(dev, encode) >= threshold
    return {"accuracy": float((found == _matches(dev)).mean()), "threshold": threshold}


def evaluate_similarity(pairs: Sequence[LabelledPair], encode: UseEncoder) -> dict[str, float]:
    """Spearman's correlation of the pairs' cosines with their scores."""
    rho = rank_correlation([pair.score for pair in pairs], _cosines(pairs, encode).tolist())
    return {"spearman": rho, "n_pairs": len(pairs)}


def _by_word(uses: Sequence[LabelledUse]) -> Groups:
    found: dict[str, list[int]] = defaultdict(list)
    for number, use in enumerate(uses):
        found[use.word].append(number)
    return {word: np.array(numbers) for word, numbers in found.items()}


def _check_trained(testing: Groups, training: Groups) -> None:
    missing = [word for word in testing if word not in training]
    if missing:
        raise RequestError(
            f"There are test uses of {missing[0]!r} but no training uses.",
            "The first file holds the training uses, the others what is tested.",
        )


def _nearest(rows: Rows, labels: Sequence[str], asked: Rows) -> list[str]:
    """Labels of rows: of each the one whose rows' mean is nearest by cosine."""
    names, numbers = np.unique(labels, return_inverse=True)
    is_of = (np.arange(len(names))[:, None] == numbers).astype(np.float32)
    centroids = normalise(is_of @ rows)
    found: list[str] = names[(asked @ centroids.T).argmax(axis=1)].tolist()
    return found


def _within_class_whitening(rows: Rows, classes: Sequence[tuple[str, str]]) -> Rows:
    """Inverse root of the mean covariance within a class, shape (d, d).

    Hatch, Kajarekar and Stolcke 2006, "Within-class covariance normalization", with shrinkage.

    Args:
        rows: shape (n, d).
        classes: of each row its class, shape (n,).
    """
    numbers = {found: number for number, found in enumerate(dict.fromkeys(classes))}
    own = np.array([numbers[found] for found in classes])
    sizes = np.bincount(own)
    sums = np.zeros((len(sizes), rows.shape[1]))
    np.add.at(sums, own, rows)
    kept = sizes[own] > 1  # a lone row says nothing of how its class varies
    rest = (rows - (sums / sizes[:, None])[own])[kept]
    n_free = max(1, int((sizes[sizes > 1] - 1).sum()))
    covariance = rest.T @ rest / n_free
    even = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, axes = np.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * even)
    roots = np.maximum(values, np.finfo(np.float32).tiny) ** -0.5
    whitening: Rows = ((axes * roots) @ axes.T).astype(np.float32)
    return whitening


def _draws(labels: Sequence[str], n: int, word: str) -> Iterator[npt.NDArray[np.int64]]:
    """Numbers of `n` uses a label, or of all where there are fewer; always the same draws."""
    of_label: dict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(labels):
        of_label[label].append(number)
    for draw in range(N_DRAWS):
        rng = random.Random(f"{SEED} {word} {n} {draw}")
        drawn = [rng.sample(own, min(n, len(own))) for _, own in sorted(of_label.items())]
        yield np.array([number for own in drawn for number in own])


def _cosines(pairs: Sequence[LabelledPair], encode: UseEncoder) -> npt.NDArray[np.float64]:
    rows = encode([use for pair in pairs for use in (pair.first, pair.second)])
    cosines: npt.NDArray[np.float64] = (rows[::2] * rows[1::2]).sum(axis=1).astype(np.float64)
    return cosines


def _matches(pairs: Sequence[LabelledPair]) -> npt.NDArray[np.bool_]:
    return np.array([pair.score > 0 for pair in pairs])
