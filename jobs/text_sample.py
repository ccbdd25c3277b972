"""A sample of a corpus's texts, drawn while it is read."""

from __future__ import annotations

import random
from dataclasses import dataclass

from embedder.records import hash_text
from embedder.sentences import split_sentences

HELD_OUT = 10
"""One of so many documents measures what came out, and is not fitted to."""

KEPT_CHARACTERS = 20_000
"""Of a document: more than any usual window holds, and ten thousand fit into memory."""


@dataclass(frozen=True)
class SampledText:
    """A text, and whether it measures what came out and is not fitted to."""

    text: str
    is_held_out: bool


class TextSample:
    """A uniform sample of documents from a stream (Vitter 1985, algorithm R).

    A document gives its beginning, which the teacher cuts off at its window, and one of its
    sentences: means of few pieces and of many are to be right.

    Args:
        size: how many documents.
        seed: of what is drawn.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._chance = size, random.Random(seed)
        self._kept: list[str] = []
        self._n_offered = 0

    def offer(self, text: str) -> None:
        """The next document of the stream."""
        self._n_offered += 1
        if len(self._kept) < self._size:
            self._kept.append(text[:KEPT_CHARACTERS])
        elif (place := self._chance.randrange(self._n_offered)) < self._size:
            self._kept[place] = text[:KEPT_CHARACTERS]

    def texts(self) -> list[SampledText]:
        """The texts of the sample; those of one document, or of equal ones, are held out
        together."""
        found = []
        for text in self._kept:
            is_held_out = hash_text(text) % HELD_OUT == 0
            spans = split_sentences(text)
            parts = [text]
            if len(spans) > 1:
                start, end = self._chance.choice(spans)
                parts.append(text[start:end])
            found += [SampledText(part, is_held_out) for part in parts]
        return found
