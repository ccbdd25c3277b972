"""The steps between rows of text and vectors, each a function from iterable to iterable."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from embedder.encoders import TextEncoder
from embedder.errors import EmbedderError
from embedder.passages import cut_documents
from embedder.projection import Projection
from embedder.records import Codes, PassageTable, hash_texts
from embedder.rows import Rows
from embedder.specs import ChunkSpec, TextKind
from embedder.tokens import Pieces
from embedder.vectors import Rows as VectorRows
from embedder.vectors import States, Vectors
from embedder.word_uses import PassageWords, WordFinder, encode_words
from indexes.known_texts import KnownTexts, Places, place
from jobs.progress import Progress

WINDOW_PASSAGES = 2048
WINDOW_TOKENS = 500_000
"""A window is what is sorted by length before it is cut into batches."""


@dataclass(frozen=True)
class CutRows:
    """Documents of one shard with their passages.

    Args:
        rows: the documents.
        table: their passages.
        pieces: piece ids of each passage.
        n_windowed: documents that became several passages.
        n_truncated: documents whose end was cut off.
        words: the words of each passage, for an index with senses.
    """

    rows: Rows
    table: PassageTable
    pieces: list[Pieces]
    n_windowed: int
    n_truncated: int
    words: list[PassageWords] | None = None


@dataclass(frozen=True)
class EncodedWindow:
    """Cut rows with the vectors of their passages, all in one order.

    Args:
        cuts: the rows, in order.
        places: where each passage's vector lies already, -1 for the new ones.
        vectors: the new ones' vectors; their ids are numbers of passages in the window.
        copies: for each passage the number in the window of the first with its text.
        sources: for each passage where the vector of the first with its text lies, or will lie.
        codes: for each new passage the codes of its words, for an index with senses.
    """

    cuts: list[CutRows]
    places: Places
    vectors: Vectors
    copies: Places
    sources: Places
    codes: list[Codes] | None = None


@dataclass(frozen=True)
class EncodedPassage:
    """What became of a passage that was encoded before its turn.

    Args:
        row: its vector, shape (width,).
        codes: of its words, shape (n_words, n_components).
    """

    row: VectorRows
    codes: Codes


EncodedPassages = Mapping[bytes, EncodedPassage]
"""Passages by the hashes of their texts."""

NOTHING_ENCODED: EncodedPassages = {}


def cut_rows(
    batches: Iterable[Rows],
    encoder: TextEncoder,
    chunking: ChunkSpec,
    finder: WordFinder | None = None,
) -> Iterator[CutRows]:
    """Cut documents into passages and tokenise them, and find their words if they are wanted."""
    prompt = encoder.prompt(TextKind.PASSAGE)
    for rows in batches:
        cut = cut_documents(
            rows.texts,
            encoder.tokenizer,
            chunking,
            prompt=prompt,
            ids=rows.ids,
            with_spans=finder is not None,
        )
        texts = [rows.texts[p.document][p.start : p.end] for p in cut.passages]
        columns = [(p.document, p.start, p.end, len(p.pieces)) for p in cut.passages]
        hashes = hash_texts(texts)
        document, start, end, n_tokens = np.array(columns, dtype=np.int32).reshape(-1, 4).T.copy()
        spans = [p.spans for p in cut.passages]
        yield CutRows(
            rows=rows,
            table=PassageTable(document, start, end, n_tokens, hashes),
            pieces=[p.pieces for p in cut.passages],
            n_windowed=cut.n_windowed,
            n_truncated=cut.n_truncated,
            words=finder.find(texts, hashes, encoder, spans) if finder else None,
        )


def gather_windows(cuts: Iterable[CutRows]) -> Iterator[list[CutRows]]:
    """Collect cut rows, across shards, until there are enough passages to sort by length."""
    window: list[CutRows] = []
    n_passages = n_tokens = 0
    try:
        for cut in cuts:
            window.append(cut)
            n_passages += len(cut.pieces)
            n_tokens += int(cut.table.n_tokens.sum())
            if n_passages >= WINDOW_PASSAGES or n_tokens >= WINDOW_TOKENS:
                yield window
                window, n_passages, n_tokens = [], 0, 0
    except EmbedderError:  # a source that cannot be read; what came before it counts
        if window:
            yield window
        raise
    if window:
        yield window


def encode_windows(
    windows: Iterable[list[CutRows]],
    encoder: TextEncoder,
    known: KnownTexts,
    projection: Projection | None = None,
    encoded: EncodedPassages = NOTHING_ENCODED,
    *,
    first_segment: int,
    progress: Progress,
    stop: threading.Event,
) -> Iterator[EncodedWindow]:
    """Encode each text that has no vector yet, once.

    Args:
        windows: passages to encode.
        encoder: the encoder.
        known: texts that have a vector; the new ones are added.
        projection: of the vectors of words, for an index with senses.
        encoded: passages that were encoded before, for an index with senses.
        first_segment: number of the first shard's segment among the places of `known`.
        progress: told of every batch.
        stop: when set, the work ends between two batches.
    """
    rows_before: Counter[int] = Counter()
    for cuts in windows:
        hashes = np.concatenate([cut.table.hashes for cut in cuts])
        places = known.find(hashes)
        _, first, copies = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
        copies = first[copies.reshape(-1)]
        new = np.flatnonzero((places < 0) & (copies == np.arange(len(hashes))))
        pieces = [piece for cut in cuts for piece in cut.pieces]
        words = [found for cut in cuts for found in cut.words or ()]
        chosen = _Words([words[i] for i in new], projection) if projection else None
        before = {
            number: encoded[key]
            for number, i in enumerate(new.tolist())
            if encoded and (key := hashes[i].tobytes()) in encoded
        }
        rows = _encode([pieces[i] for i in new], encoder, chosen, before, progress, stop)
        if rows is None:
            return
        own_places = np.fromiter(_own_places(cuts, rows_before, first_segment), np.int64)
        known.add(hashes[new], own_places[new])
        yield EncodedWindow(
            cuts,
            places,
            Vectors(new.astype(np.int64), rows),
            copies,
            np.where(places < 0, own_places[copies], places),
            chosen.codes if chosen else None,
        )


class _Words:
    """The words of some passages, whose codes are filled in as the passages are encoded."""

    def __init__(self, words: list[PassageWords], projection: Projection) -> None:
        self._words, self._projection = words, projection
        self.codes = [np.empty((0, 0), dtype=np.int8)] * len(words)

    def fill(self, numbers: list[int], states: States) -> None:
        words = [self._words[number] for number in numbers]
        found = encode_words(states, words, self._projection)
        for number, codes in zip(numbers, found, strict=True):
            self.codes[number] = codes


def _encode(
    pieces: list[Pieces],
    encoder: TextEncoder,
    words: _Words | None,
    before: Mapping[int, EncodedPassage],
    progress: Progress,
    stop: threading.Event,
) -> VectorRows | None:
    """Unit vectors of tokenised texts, None if the work was stopped."""
    rows = np.empty((len(pieces), encoder.encoder.spec.width), dtype=np.float32)
    for number, passage in before.items():
        assert words is not None
        rows[number], words.codes[number] = passage.row, passage.codes
    rest = [number for number in range(len(pieces)) if number not in before]
    batches = encoder.encode_batches([pieces[i] for i in rest], with_states=words is not None)
    for indices, batch, encoded in batches:
        numbers = [rest[i] for i in indices]
        rows[numbers] = encoded.rows
        if words is not None and encoded.states is not None:
            words.fill(numbers, encoded.states)
        progress.count_tokens(int(batch.attention_mask.sum()), batch.piece_ids.size)
        if stop.is_set():
            return None
    return rows


def _own_places(
    cuts: list[CutRows], rows_before: Counter[int], first_segment: int
) -> Iterator[int]:
    """Where the vector of each passage of the window will lie."""
    for cut in cuts:
        shard = cut.rows.shard
        for _ in cut.pieces:
            yield place(first_segment + shard, rows_before[shard])
            rows_before[shard] += 1
