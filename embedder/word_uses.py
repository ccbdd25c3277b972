"""The uses of words in passages: found in the text, given vectors by the encoder's own pass."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedder.encoders import TextEncoder
from embedder.occurrences import PieceRanges, find_pieces, pool_occurrences
from embedder.projection import Projection, encode_codes
from embedder.records import OCCURRENCE, Codes, OccurrenceRecords, TextHashes, hash_word
from embedder.specs import TextKind
from embedder.vectors import Rows
from embedder.words import find_words

LONGEST_WORD = 100
"""Characters; what is longer is no word but data."""


@dataclass(frozen=True)
class PassageWords:
    """The words of one passage that are to get a vector.

    Args:
        records: the occurrences, in order.
        ranges: the pieces of each.
        is_text: which pieces of the passage are not special tokens or prompt.
    """

    records: OccurrenceRecords
    ranges: PieceRanges
    is_text: npt.NDArray[np.bool_]


@dataclass
class WordFinder:
    """Finds the words of passages; function words and numbers are none.

    Args:
        function_words: forms that are left out.
        forms: the form of each word found so far, by its hash.
    """

    function_words: Collection[str]
    forms: dict[int, str] = field(default_factory=dict)
    _hashes: dict[str, int] = field(default_factory=dict)

    def find(
        self, texts: Sequence[str], hashes: TextHashes, encoder: TextEncoder
    ) -> list[PassageWords]:
        """The words of each passage; they depend on its text alone.

        Args:
            texts: the passages, each of which fits the encoder.
            hashes: their content hashes, shape (n_texts, 2).
            encoder: whose pieces they are read in.
        """
        prompt = encoder.prompt(TextKind.PASSAGE)
        spans = encoder.tokenizer.encode_with_spans([prompt + text for text in texts])
        found = []
        for text, (_, span), low in zip(texts, spans, hashes[:, 0], strict=True):
            starts, ends, words = self._words(text)
            ranges = find_pieces(span, starts + len(prompt), ends + len(prompt))
            is_there = ranges.last > ranges.first
            records = np.empty(int(is_there.sum()), dtype=OCCURRENCE)
            records["word"] = words[is_there]
            records["start"] = starts[is_there]
            records["length"] = (ends - starts)[is_there]
            records["draw"] = draws(low, records["start"])
            found.append(
                PassageWords(
                    records,
                    PieceRanges(ranges.first[is_there], ranges.last[is_there]),
                    (span.ends > span.starts) & (span.ends > len(prompt)),
                )
            )
        return found

    def _words(
        self, text: str
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
        starts, ends, hashes = [], [], []
        for start, end, form in find_words(text):
            if form in self.function_words or end - start > LONGEST_WORD:
                continue
            code = self._hashes.get(form)
            if code is None:
                code = self._hashes[form] = hash_word(form)
                self.forms[code] = form
            starts.append(start)
            ends.append(end)
            hashes.append(code)
        return (
            np.array(starts, dtype=np.int32),
            np.array(ends, dtype=np.int32),
            np.array(hashes, dtype=np.uint64),
        )


def draws(passage: np.uint64, starts: npt.NDArray[np.int32]) -> npt.NDArray[np.uint16]:
    """Numbers by which occurrences are drawn, uniform and the same for equal uses in equal texts.

    The finaliser of SplitMix64 (Steele et al. 2014) over the passage's hash and the place in it.
    """
    with np.errstate(over="ignore"):
        mixed = passage + starts.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(48)).astype(np.uint16)


def encode_words(states: Rows, words: PassageWords, projection: Projection) -> Codes:
    """Codes of the words of one passage, int8, shape (n_words, n_components).

    Args:
        states: of its pieces, shape (n_pieces, width).
        words: its words.
        projection: rows to fewer components.
    """
    if not len(words.records):
        return np.empty((0, projection.n_components), dtype=np.int8)
    rows = pool_occurrences(states[: len(words.is_text)], words.is_text, words.ranges)
    return encode_codes(projection.apply(rows))
