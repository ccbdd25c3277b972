"""The uses of words in passages: found in the text, given vectors by the encoder's own pass."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.encoders import TextEncoder
from embedder.occurrences import PieceRanges, find_pieces, pool_occurrences
from embedder.projection import Projection, encode_codes
from embedder.records import OCCURRENCE, Codes, OccurrenceRecords, TextHashes, hash_text
from embedder.specs import TextKind
from embedder.tokens import PieceSpans
from embedder.vectors import States
from embedder.words import find_spans, surface_form

LONGEST_WORD = 100
"""Characters; what is longer is no word but data."""

REMEMBERED_SURFACES = 1 << 18
"""Words as they stand of which it is remembered what they are."""


class _Kept(NamedTuple):
    """A word that gets a vector: its form, and the hash of that."""

    form: str
    hash: int


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
    _looked: dict[str, _Kept | None] = field(default_factory=dict, repr=False)

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
            starts = np.array([start for start, _, _ in words], dtype=np.int32)
            ends = np.array([end for _, end, _ in words], dtype=np.int32)
            ranges = find_pieces(span, starts + len(prompt), ends + len(prompt))
            there = np.flatnonzero(ranges.last > ranges.first)
            kept = [words[number][2] for number in there.tolist()]
            records = np.empty(len(there), dtype=OCCURRENCE)
            records["word"] = [word.hash for word in kept]
            records["start"] = starts[there]
            records["length"] = (ends - starts)[there]
            records["draw"] = draws(low, records["start"])
            found.append(
                PassageWords(
                    records,
                    [word.form for word in kept],
                    PieceRanges(ranges.first[there], ranges.last[there]),
                    (span.ends > span.starts) & (span.ends > len(prompt)),
                )
            )
        return found

    def _words(self, text: str) -> list[tuple[int, int, _Kept]]:
        """First character, end, form and hash of each word that is kept."""
        looked, found = self._looked, []
        if len(looked) >= REMEMBERED_SURFACES:
            looked.clear()
        for start, end in find_spans(text):
            surface = text[start:end]
            if surface not in looked:
                looked[surface] = self._look(surface)
            kept = looked[surface]
            if kept is not None:
                found.append((start, end, kept))
        return found

    def _look(self, surface: str) -> _Kept | None:
        form = surface_form(surface)
        if form is None or form in self.function_words or len(surface) > LONGEST_WORD:
            return None
        return _Kept(form, hash_text(form))


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


def encode_words(
    states: States, words: Sequence[PassageWords], projection: Projection
) -> list[Codes]:
    """Codes of the words of each of some passages, int8, shape (n_words, n_components).

    Args:
        states: of their pieces, shape (n_passages, length, width).
        words: the words of each.
        projection: rows to fewer components.
    """
    rows = [projection.apply(own) for own in pool_occurrences(states, words)]
    ends = np.cumsum([len(own) for own in rows])
    return np.split(encode_codes(np.concatenate(rows)), ends[:-1])
