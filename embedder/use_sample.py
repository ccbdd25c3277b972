"""Uses of words drawn from a corpus: uniform, but few of one word, and none of function words."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from embedder.function_words import find_function_words
from embedder.occurrences import Use
from embedder.records import hash_text
from embedder.word_uses import LONGEST_WORD
from embedder.words import find_words, word_form

CANDIDATES = 4
"""Times as many uses as are wanted are kept, of which function words and more uses of a word than
are wanted are left out in the end."""

WORD_SHARE = 500
"""One use in so many may be of one word."""

FUNCTION_WORD_TEXTS = 2000
STRETCH = 400
"""Characters of the text that are kept on either side of a word."""


class DrawnUse(NamedTuple):
    """A use of a word in the stretch of its text around it, and a number that is that text's own:
    63 bits of a hash."""

    use: Use
    text: int


@dataclass
class UseSample:
    """Draws uses from texts that come batch by batch; memory does not grow with the texts.

    Args:
        n: uses that are wanted.
        seed: of what is drawn by chance.
    """

    n: int
    seed: int
    n_texts: int = 0
    _kept: list[tuple[float, int, DrawnUse]] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _n_drawn: int = 0

    def __post_init__(self) -> None:
        self._uses = np.random.default_rng([self.seed, 0])
        self._documents = np.random.default_rng([self.seed, 1])

    def add(self, texts: Iterable[str]) -> None:
        """Draw from more texts."""
        for text in texts:
            self._keep_text(text)
            words = [word for word in find_words(text) if word.end - word.start <= LONGEST_WORD]
            draws = self._uses.random(len(words))
            text_number = hash_text(text) >> 1
            highest = -self._kept[0][0] if len(self._kept) == CANDIDATES * self.n else 1.0
            for number in np.flatnonzero(draws < highest).tolist():
                use = _stretch(text, words[number].start, words[number].end)
                self._n_drawn += 1
                entry = (-float(draws[number]), self._n_drawn, DrawnUse(use, text_number))
                if len(self._kept) < CANDIDATES * self.n:
                    heapq.heappush(self._kept, entry)
                else:
                    heapq.heappushpop(self._kept, entry)

    def _keep_text(self, text: str) -> None:
        """A uniform sample of the texts, for their function words (Vitter 1985, algorithm R)."""
        self.n_texts += 1
        if len(self._texts) < FUNCTION_WORD_TEXTS:
            self._texts.append(text)
            return
        place = int(self._documents.integers(self.n_texts))
        if place < FUNCTION_WORD_TEXTS:
            self._texts[place] = text

    def draw(self) -> list[DrawnUse]:
        """At most n uses, in the order in which they were drawn by chance."""
        function_words = find_function_words(self._texts)
        most, counts = max(2, self.n // WORD_SHARE), Counter[str]()
        chosen: list[DrawnUse] = []
        for _, _, drawn in sorted(self._kept, reverse=True):
            form = word_form(drawn.use.text[drawn.use.start : drawn.use.end])
            if form not in function_words and counts[form] < most and len(chosen) < self.n:
                counts[form] += 1
                chosen.append(drawn)
        return chosen


def _stretch(text: str, start: int, end: int) -> Use:
    """A use in the stretch of its text around it, cut between words where there are spaces."""
    first, last = max(0, start - STRETCH), min(len(text), end + STRETCH)
    if first > 0:
        space = text.find(" ", first, start)
        first = space + 1 if space >= 0 else first
    if last < len(text):
        space = text.rfind(" ", end, last)
        last = space if space >= 0 else last
    return Use(text[first:last], start - first, end - first)
