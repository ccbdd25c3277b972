"""Vectors of uses of words in any text, in the space of an index's senses."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from embedder.encoders import TextEncoder
from embedder.errors import RequestError
from embedder.occurrences import Use
from embedder.passages import Passage, cut_documents
from embedder.projection import decode_codes
from embedder.records import Codes, PassageTable, hash_texts, is_utf8
from embedder.specs import ChunkSpec, Overflow, TextKind
from embedder.tokens import Pieces
from embedder.vectors import Rows
from embedder.word_uses import PassageWords, encode_words
from embedder.words import find_words, word_form
from indexes.layout import Layout
from indexes.manifest import Manifest
from indexes.word_uses import own_ranges
from jobs.progress import Progress
from jobs.query_encoder import QueryOptions, open_query_encoder
from jobs.sense_basis import Basis, open_basis
from jobs.senses import no_senses

SHOWN_CHARACTERS = 80

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CutUses:
    """Uses of words with the passages that they lie in, ready for the encoder.

    Args:
        passages: for each use the number of its passage, -1 where it gets no vector, int64,
            shape (n_uses,).
        places: its number among the words of its passage, the same type and shape.
        pieces: piece ids of each passage.
        words: the words of each passage.
    """

    passages: Numbers
    places: Numbers
    pieces: list[Pieces]
    words: list[PassageWords]

    @classmethod
    def join(cls, parts: Sequence[CutUses]) -> CutUses:
        """Those of all parts, one part after the other."""
        firsts = np.cumsum([0, *(len(part.pieces) for part in parts)])
        nothing = np.empty(0, dtype=np.int64)
        passages = [
            np.where(part.passages >= 0, part.passages + first, -1)
            for part, first in zip(parts, firsts[:-1], strict=True)
        ]
        return cls(
            np.concatenate([nothing, *passages]),
            np.concatenate([nothing, *(part.places for part in parts)]),
            [pieces for part in parts for pieces in part.pieces],
            [words for part in parts for words in part.words],
        )


class UseEncoder:
    """Gives uses of words the vectors that an index has for its own.

    A use in a text that is a passage of the index gets, to the last bit, the vector that is
    stored there: all words of a passage are pooled, projected and rounded together, as when it
    was indexed. (But for an int8 index, whose queries are encoded at full precision.) A text longer
    than the window is cut as the index cuts documents, and a use gets its vector from the passage
    in whose half of an overlap it lies.

    Args:
        encoder: of the index's vector space.
        basis: what turns the words of passages into codes.
        chunking: how the index's documents became passages.
    """

    def __init__(self, encoder: TextEncoder, basis: Basis, chunking: ChunkSpec) -> None:
        self._encoder, self._basis = encoder, basis
        # Of a longer text the index may have the beginning only; here all of it is asked about.
        self._chunking = ChunkSpec(
            overflow=Overflow.WINDOW, window=chunking.window, stride=chunking.stride
        )

    @property
    def function_words(self) -> Collection[str]:
        """Forms that have no vectors and no senses."""
        return self._basis.finder.function_words

    def encode(self, uses: Sequence[Use]) -> Rows:
        """Vectors of uses, unit rows, float32, shape (n_uses, n_components).

        Raises:
            RequestError: a use is no word of its text, or of a kind that gets no vector.
        """
        for use in uses:
            _check(use)
        cut = self.cut(uses)
        without = np.flatnonzero(cut.passages < 0)
        if len(without):
            raise self._no_vector(uses[int(without[0])])
        rows = self.encode_cut(cut)
        assert rows is not None  # nothing stops it
        return rows

    def cut(self, uses: Sequence[Use]) -> CutUses:
        """Find the passages of uses, those of equal texts once, and tokenise them."""
        texts = list(dict.fromkeys(use.text for use in uses))
        number_of = {text: number for number, text in enumerate(texts)}
        passages, table = self._passages(texts)
        documents = np.array([number_of[use.text] for use in uses], dtype=np.int64)
        middles = np.array([(use.start + use.end) // 2 for use in uses], dtype=np.int64)
        owners = _owners(table, documents, middles)
        wanted = np.unique(owners[owners >= 0])
        kept = [passages[number] for number in wanted.tolist()]
        words = self._basis.finder.find(
            [texts[p.document][p.start : p.end] for p in kept],
            table.hashes[wanted],
            self._encoder,
            [p.spans for p in kept],
        )
        own = np.where(owners >= 0, np.searchsorted(wanted, owners), -1)
        places = _places(uses, own, kept, words)
        return CutUses(np.where(places >= 0, own, -1), places, [p.pieces for p in kept], words)

    def encode_cut(
        self,
        cut: CutUses,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Rows | None:
        """Vectors of uses that have been cut, zero where there is none; None if it was stopped.

        Args:
            cut: the uses.
            progress: told of every batch.
            stop: when set, the work ends between two batches.
        """
        projection, encoder = self._basis.projection, self._encoder
        codes: dict[int, Codes] = {}
        # With one thread, as when the index was built: the sums are the same to the last bit.
        with threadpool_limits(1, user_api="blas"):
            for indices, batch, encoded in encoder.encode_batches(cut.pieces, with_states=True):
                assert encoded.states is not None
                words = [cut.words[number] for number in indices]
                found = encode_words(encoded.states, words, projection)
                codes.update(zip(indices, found, strict=True))
                if progress is not None:
                    progress.count_tokens(int(batch.attention_mask.sum()), batch.piece_ids.size)
                if stop is not None and stop.is_set():
                    return None
        chosen = np.zeros((len(cut.passages), projection.n_components), dtype=np.int8)
        for use in np.flatnonzero(cut.passages >= 0).tolist():
            chosen[use] = codes[int(cut.passages[use])][cut.places[use]]
        return decode_codes(chosen)

    def _passages(self, texts: Sequence[str]) -> tuple[list[Passage], PassageTable]:
        prompt = self._encoder.prompt(TextKind.PASSAGE)
        cut = cut_documents(
            texts,
            self._encoder.tokenizer,
            self._chunking,
            prompt=prompt,
            ids=texts,
            with_spans=True,
        )
        columns = [(p.document, p.start, p.end, len(p.pieces)) for p in cut.passages]
        document, start, end, n_tokens = np.array(columns, dtype=np.int32).reshape(-1, 4).T.copy()
        hashes = hash_texts([texts[p.document][p.start : p.end] for p in cut.passages])
        return cut.passages, PassageTable(document, start, end, n_tokens, hashes)

    def _no_vector(self, use: Use) -> RequestError:
        word = use.text[use.start : use.end]
        if word_form(word) in self.function_words:
            return RequestError(
                f"{word!r} is a function word in this index, and has no senses.",
                "Ask about a word with a meaning of its own.",
            )
        return RequestError(
            f"{word!r}, characters {use.start} to {use.end} of {_shown(use.text)}, is not one word."
        )


def open_use_encoder(layout: Layout, manifest: Manifest, options: QueryOptions) -> UseEncoder:
    """What gives uses of words the vectors of an index.

    Raises:
        RequestError: the index was built without senses.
        IndexFormatError: a file of it is damaged.
        IndexMismatchError: the model that is found now is not the one that built it.
        ModelError: the model is not found.
    """
    if manifest.basis is None:
        raise no_senses(layout)
    basis = open_basis(layout, manifest.basis)
    return UseEncoder(open_query_encoder(manifest, options), basis, manifest.chunking)


def find_use(context: str, word: str) -> Use:
    """The use of a word in a context; of several the one that is marked, as in `the [bank] of`.

    The marks are no part of the text of the use that is found.

    Args:
        context: a text with the word.
        word: the word, in any case.

    Raises:
        RequestError: it is no single word, is not in the context, or it is not clear which use
            is meant.
    """
    for text in (word, context):
        if not is_utf8(text):
            raise RequestError(f"{text!r} is not text in UTF-8.")
    spans = [(use.start, use.end) for use in find_words(context) if use.form == _form(word)]
    marked = [(start, end) for start, end in spans if _is_marked(context, start, end)]
    if not spans:
        raise RequestError(
            f"The word {word!r} is not in {_shown(context)}.", "Give a context that has it."
        )
    if len(marked) > 1:
        raise RequestError(
            f"{len(marked)} uses of {word!r} are marked in {_shown(context)}.", "Mark one of them."
        )
    if len(spans) > 1 and not marked:
        start, end = spans[0]
        raise RequestError(
            f"The word {word!r} is {len(spans)} times in {_shown(context)}.",
            f"Mark the one that you mean, as [{context[start:end]}].",
        )
    if not marked:
        return Use(context, *spans[0])
    [(start, end)] = marked
    return Use(context[: start - 1] + context[start:end] + context[end + 1 :], start - 1, end - 1)


def _form(word: str) -> str:
    found = list(find_words(word))
    if len(found) != 1 or found[0].end - found[0].start != len(word.strip()):
        raise RequestError(f"{word!r} is not one word.", "Give one word, without a hyphen.")
    return found[0].form


def _is_marked(context: str, start: int, end: int) -> bool:
    return context[max(start - 1, 0) : start] == "[" and context[end : end + 1] == "]"


def _check(use: Use) -> None:
    """Raise RequestError unless a use lies in its text."""
    if not 0 <= use.start < use.end <= len(use.text):
        raise RequestError(
            f"No word stands at characters {use.start} to {use.end} of {_shown(use.text)}, which "
            f"has {len(use.text)}."
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…")


def _owners(table: PassageTable, documents: Numbers, middles: Numbers) -> Numbers:
    """The passage that each place of a document belongs to, -1 for none, shape (n,).

    Args:
        table: the passages of the documents, in order.
        documents: the document of each place.
        middles: the character.
    """
    if not len(table):
        return np.full(len(documents), -1, dtype=np.int64)
    low, high = own_ranges(table)
    keys = (table.document.astype(np.int64) << 32) + low
    owners = np.maximum(np.searchsorted(keys, (documents << 32) + middles, side="right") - 1, 0)
    is_in = (table.document[owners] == documents) & (middles < high[owners])
    return np.where(is_in & (middles >= low[owners]), owners, -1)


def _places(
    uses: Sequence[Use], owners: Numbers, passages: Sequence[Passage], words: Sequence[PassageWords]
) -> Numbers:
    """The number of each use among the words of its passage, -1 where it is none of them."""
    numbers = [
        {
            (start, start + length): number
            for number, (start, length) in enumerate(found.records[["start", "length"]].tolist())
        }
        for found in words
    ]
    places = [
        -1
        if owner < 0
        else numbers[owner].get(
            (use.start - passages[owner].start, use.end - passages[owner].start), -1
        )
        for use, owner in zip(uses, owners.tolist(), strict=True)
    ]
    return np.array(places, dtype=np.int64)
