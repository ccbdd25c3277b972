"""Which second segment stands beside which first: the true next one, or one from elsewhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def draw_partners(documents: Numbers, draw: np.random.Generator) -> Numbers:
    """The pair from which each pair takes its second segment.

    Half of the pairs, drawn anew each time, exchange theirs, so that all text is still read once;
    the others keep their own. None gets one from its own document: where most pairs are of one
    document, fewer than half exchange.

    Args:
        documents: the document of each pair, int64, shape (n_pairs,).
        draw: what is drawn from.

    Returns:
        Numbers of pairs, int64, shape (n_pairs,).
    """
    n_pairs = len(documents)
    partners = np.arange(n_pairs)
    moved, largest = _grouped(draw.permutation(n_pairs)[: n_pairs // 2], documents, draw)
    if len(moved):
        # Documents stand together; shifted by the largest of them, no pair meets its own.
        partners[moved] = np.roll(moved, largest)
    return partners


def _grouped(moved: Numbers, documents: Numbers, draw: np.random.Generator) -> tuple[Numbers, int]:
    """Pairs in an order in which those of one document stand together, the documents in a random
    order, and the most that a document has, which is no more than all the others have."""
    _, numbers, sizes = np.unique(documents[moved], return_inverse=True, return_counts=True)
    if not len(sizes):
        return moved, 0
    largest = int(sizes.argmax())
    n_others = len(moved) - int(sizes[largest])
    places = draw.permutation(len(sizes))
    is_left_out = np.zeros(len(moved), dtype=np.bool_)
    is_left_out[np.flatnonzero(numbers == largest)[n_others:]] = True
    order = np.argsort(places[numbers], kind="stable")
    return moved[order[~is_left_out[order]]], min(int(sizes[largest]), n_others)
