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
from embedder.tokens import PieceSpans
from embedder.vectors import Rows
from embedder.words import Word, find_words

LONGEST_WORD = 100
"""Characters; what is longer is no word but data."""

REMEMBERED_WORDS = 1 << 18
"""Words whose hashes are remembered."""


@dataclass(frozen=True)
class PassageWords:
    """The words of one passage that are to get a vector.

    Args:
        records: the occurrences, in order.
        forms: the form of each.
        ranges: the pieces of each.
        is_text: which pieces of the passage are not special tokens or prompt.
    """

    records: OccurrenceRecords
    forms: list[str]
    ranges: PieceRanges
    is_text: npt.NDArray[np.bool_]


@dataclass
class WordFinder:
    """Finds the words of passages; function words and numbers are none.

    Args:
        function_words: forms that are left out.
    """

    function_words: Collection[str]
    _hashes: dict[str, int] = field(default_factory=dict)

    def find(
        self,
        texts: Sequence[str],
        hashes: TextHashes,
        encoder: TextEncoder,
        spans: Sequence[PieceSpans | None] | None = None,
    ) -> list[PassageWords]:
        """The words of each passage; they depend on its text alone.

        Args:
            texts: the passages, each of which fits the encoder.
            hashes: their content hashes, shape (n_texts, 2).
            encoder: whose pieces they are read in.
            spans: where the pieces of each stand in prompt and text, where that is known.
        """
        prompt = encoder.prompt(TextKind.PASSAGE)
        known: list[PieceSpans | None] = [None] * len(texts) if spans is None else list(spans)
        unknown = [number for number, span in enumerate(known) if span is None]
        encoded = encoder.tokenizer.encode_with_spans([prompt + texts[i] for i in unknown])
        for number, (_, found_spans) in zip(unknown, encoded, strict=True):
            known[number] = found_spans
        found = []
        for text, span, low in zip(texts, known, hashes[:, 0], strict=True):
            assert span is not None
            words = self._words(text)
            starts = np.array([word.start for word in words], dtype=np.int32)
            ends = np.array([word.end for word in words], dtype=np.int32)
            ranges = find_pieces(span, starts + len(prompt), ends + len(prompt))
            there = np.flatnonzero(ranges.last > ranges.first)
            forms = [words[number].form for number in there.tolist()]
            records = np.empty(len(there), dtype=OCCURRENCE)
            records["word"] = self._hash(forms)
            records["start"] = starts[there]
            records["length"] = (ends - starts)[there]
            records["draw"] = draws(low, records["start"])
            found.append(
                PassageWords(
                    records,
                    forms,
                    PieceRanges(ranges.first[there], ranges.last[there]),
                    (span.ends > span.starts) & (span.ends > len(prompt)),
                )
            )
        return found

    def _words(self, text: str) -> list[Word]:
        return [
            word
            for word in find_words(text)
            if word.form not in self.function_words and word.end - word.start <= LONGEST_WORD
        ]

    def _hash(self, forms: Sequence[str]) -> list[int]:
        hashes, found = self._hashes, []
        if len(hashes) >= REMEMBERED_WORDS:
            hashes.clear()
        for form in forms:
            code = hashes.get(form)
            if code is None:
                code = hashes[form] = hash_word(form)
            found.append(code)
        return found


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
