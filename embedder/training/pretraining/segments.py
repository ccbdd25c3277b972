"""Documents cut into pairs of segments, for next-sentence prediction.

A segment is a run of whole sentences that fits half of an example; the two of a pair follow each
other in one document. Each piece of a document is in one segment exactly. A document with an odd
number of segments has its last one cut in two, where a sentence ends if there are several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def cut_pairs(sentences: Sequence[int], most: int) -> list[tuple[int, int, int]]:
    """Start, split and end of each pair, in pieces from the document's first.

    Args:
        sentences: pieces of each sentence of a document, in order.
        most: the most pieces of a segment, at least 2.

    Returns:
        None for a document of one piece, of which no two segments can be made.
    """
    bounds = _segment_bounds(sentences, most)
    if len(bounds) % 2 == 0:
        _split_last(bounds, sentences)
    return [(a, b, c) for a, b, c in zip(bounds[::2], bounds[1::2], bounds[2::2], strict=False)]


def _segment_bounds(sentences: Sequence[int], most: int) -> list[int]:
    """Where segments start, and where the last one ends."""
    bounds, end = [0], 0
    for part in _parts(sentences, most):
        if end + part - bounds[-1] > most:
            bounds.append(end)
        end += part
    return [*bounds, end] if end else [0]


def _parts(sentences: Sequence[int], most: int) -> Iterator[int]:
    """The sentences, those too long for a segment cut."""
    for n_pieces in sentences:
        for start in range(0, n_pieces, most):
            yield min(most, n_pieces - start)


def _split_last(bounds: list[int], sentences: Sequence[int]) -> None:
    """Cut the last segment in two, near its middle and where a sentence ends if that can be."""
    if bounds[-1] - bounds[-2] == 1:
        if len(bounds) == 2:
            bounds.pop()
            return
        bounds[-2] -= 1  # a segment before one of a single piece is full, and can spare one
    start, end = bounds[-2:]
    place, ends = 0, []
    for n_pieces in sentences:
        place += n_pieces
        if start < place < end:
            ends.append(place)
    bounds.insert(-1, min(ends or [(start + end) // 2], key=lambda e: abs(2 * e - start - end)))
