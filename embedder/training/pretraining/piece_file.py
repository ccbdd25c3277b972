"""A corpus as piece ids on disk: tokenised once, gone through as often as needed.

Two files of pieces, for training and for validation: the running text, one document after the
other. Packed examples are cut from it where they are full, with a separator after each document;
pairs of segments are listed beside it and respect documents. What grows in memory with the text is
the order in which examples are trained on, some 44 bytes an example, and for pairs eight more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.array_file import ArrayFile, append_array
from embedder.records import hash_text
from embedder.sentences import split_sentences
from embedder.tokens import Tokenizer
from embedder.training.pretraining.masks import Flags
from embedder.training.pretraining.segments import cut_pairs
from embedder.training.pretraining.special import PieceIds, SpecialPieces

MOST_CHARACTERS = 1 << 20
"""Characters that are encoded at once."""

TRAIN, VALIDATION = "train", "validation"
PIECES, STARTS, PAIRS, DOCUMENTS = "pieces.bin", "starts.bin", "pairs.bin", "documents.bin"


@dataclass(frozen=True, kw_only=True)
class PieceLayout:
    """How a corpus is cut into examples.

    Args:
        length: the most pieces of an example, special ones included.
        has_pairs: examples are pairs of segments of one document; else packed full.
        has_starts: where words begin is kept.
        held_out: the share of documents for validation.
    """

    length: int
    has_pairs: bool
    has_starts: bool
    held_out: float


@dataclass(frozen=True, kw_only=True)
class PieceCounts:
    """What a pass over a corpus found.

    Args:
        n_documents: documents that were written.
        n_held_out: those of them for validation.
        n_pieces: pieces of all of them, separators apart.
        n_held_out_pieces: of those for validation.
        n_too_short: documents that were left out: no pieces, or one where pairs are wanted.
    """

    n_documents: int
    n_held_out: int
    n_pieces: int
    n_held_out_pieces: int
    n_too_short: int


@dataclass(frozen=True)
class Part:
    """Examples for training, or those for validation.

    Args:
        folder: where its files are.
        special: the tokenizer's special pieces.
        layout: how it is cut.
    """

    folder: Path
    special: SpecialPieces
    layout: PieceLayout
    _files: dict[str, ArrayFile] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of examples."""
        if self.layout.has_pairs:
            return len(self._file(DOCUMENTS))
        return -(-len(self._file(PIECES)) // self._room)

    @property
    def n_pieces(self) -> int:
        """Pieces of its text, separators included."""
        return len(self._file(PIECES))

    def documents(self) -> npt.NDArray[np.int64]:
        """The document of each pair, int64, shape (n_pairs,)."""
        return self._file(DOCUMENTS).read(0, len(self))

    def packed(self, number: int) -> tuple[PieceIds, Flags | None]:
        """The pieces of a packed example without what surrounds them, and which begin a word."""
        return self._read(number * self._room, (number + 1) * self._room)

    def segment(self, pair: int, which: int) -> tuple[PieceIds, Flags | None]:
        """The first or second segment (0, 1) of a pair, and which of its pieces begin a word."""
        start, end = self._file(PAIRS).read(3 * pair + which, 3 * pair + which + 2)
        return self._read(int(start), int(end))

    @property
    def _room(self) -> int:
        return self.layout.length - self.special.n_around

    def _read(self, start: int, end: int) -> tuple[PieceIds, Flags | None]:
        pieces = self._file(PIECES).read(start, end).astype(np.int64)
        starts = self._file(STARTS).read(start, end) if self.layout.has_starts else None
        return pieces, starts

    def _file(self, name: str) -> ArrayFile:
        if name not in self._files:
            kinds = {PIECES: piece_type(self.special.n_pieces), STARTS: np.dtype(np.bool_)}
            kind = kinds.get(name, np.dtype(np.int64))
            self._files[name] = ArrayFile(self.folder / name, kind)
        return self._files[name]


def piece_type(n_pieces: int) -> np.dtype[np.unsignedinteger]:
    """The smallest type that holds all ids of a vocabulary."""
    return np.dtype(np.uint16 if n_pieces <= 1 << 16 else np.uint32)


def write_pieces(
    batches: Iterable[Sequence[str]],
    folder: Path,
    tokenizer: Tokenizer,
    special: SpecialPieces,
    layout: PieceLayout,
) -> PieceCounts:
    """Tokenise a corpus once, to `folder`/train and `folder`/validation.

    A document is held out by a digest of its text, so that equal documents are on one side. If
    none that is long enough is, the one that was nearest to it is held out.

    Args:
        batches: its texts.
        folder: an empty folder.
        tokenizer: the model's.
        special: its special pieces.
        layout: how to cut.

    Raises:
        OSError: the disk takes no more.
    """
    with (
        _writing(folder / TRAIN, special, layout) as train,
        _writing(folder / VALIDATION, special, layout) as validation,
    ):
        edge = int(layout.held_out * 2**64)
        nearest, waiting = 1 << 64, list[list[Sentence]]()
        for digest, sentences in _documents(batches, tokenizer, layout):
            if digest < edge:
                validation.write(sentences)
            elif digest > nearest or validation.n_documents or not train.takes(sentences):
                train.write(sentences)
            else:
                if digest < nearest:
                    train.write_all(waiting)
                    nearest, waiting = digest, []
                waiting.append(sentences if not waiting else waiting[0])  # they are equal
        (train if validation.n_documents else validation).write_all(waiting)
    return PieceCounts(
        n_documents=train.n_documents + validation.n_documents,
        n_held_out=validation.n_documents,
        n_pieces=train.n_pieces + validation.n_pieces,
        n_held_out_pieces=validation.n_pieces,
        n_too_short=train.n_too_short + validation.n_too_short,
    )


def _documents(
    batches: Iterable[Sequence[str]], tokenizer: Tokenizer, layout: PieceLayout
) -> Iterator[tuple[int, list[Sentence]]]:
    for batch in batches:
        for texts in _parts(batch):
            encoded = _encode(texts, tokenizer, layout)
            yield from zip(map(hash_text, texts), encoded, strict=True)


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Texts in lists of about `MOST_CHARACTERS`; encoded, a text takes a hundred times as much."""
    start, n_characters = 0, 0
    for end, text in enumerate(texts, start=1):
        n_characters += len(text)
        if n_characters >= MOST_CHARACTERS or end == len(texts):
            yield texts[start:end]
            start, n_characters = end, 0


def open_part(folder: Path, name: str, special: SpecialPieces, layout: PieceLayout) -> Part:
    """What `write_pieces` wrote; `name` is `TRAIN` or `VALIDATION`."""
    return Part(folder / name, special, layout)


Sentence = tuple[PieceIds, Flags | None]
"""Its pieces, and which of them begin a word where that is kept."""


def _encode(
    texts: Sequence[str], tokenizer: Tokenizer, layout: PieceLayout
) -> Iterator[list[Sentence]]:
    """The sentences of each text; the whole text as one where they are not needed."""
    cut = [[[*_stretches(sentence)] for sentence in _sentences(t, layout)] for t in texts]
    flat = [stretch for listed in cut for sentence in listed for stretch in sentence]
    encoded: Iterator[Sentence]
    if layout.has_starts:
        encoded = (s for part in _parts(flat) for s in tokenizer.encode_inside_with_starts(part))
    else:
        encoded = ((ids, None) for part in _parts(flat) for ids in tokenizer.encode_inside(part))
    for listed in cut:
        yield [_joined([next(encoded) for _ in sentence]) for sentence in listed]


def _joined(stretches: Sequence[Sentence]) -> Sentence:
    starts = [flags for _, flags in stretches if flags is not None]
    ids = np.concatenate([ids for ids, _ in stretches])
    return ids, np.concatenate(starts) if starts else None


def _sentences(text: str, layout: PieceLayout) -> list[str]:
    return [text[a:b] for a, b in split_sentences(text)] if layout.has_pairs else [text]


def _stretches(text: str) -> Iterator[str]:
    """A text in parts that can be encoded by themselves; a text of usual length is one.

    No word is cut, unless it is as long as a part may be.
    """
    start = 0
    while len(text) - start > MOST_CHARACTERS:
        end = start + MOST_CHARACTERS
        end = next((e for e in range(end, start, -1) if text[e].isspace()), end)
        yield text[start:end]
        start = end
    yield text[start:]


@contextlib.contextmanager
def _writing(folder: Path, special: SpecialPieces, layout: PieceLayout) -> Iterator[_PartWriter]:
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        names = [PIECES]
        names += [STARTS] if layout.has_starts else []
        names += [PAIRS, DOCUMENTS] if layout.has_pairs else []
        files = {name: stack.enter_context((folder / name).open("wb")) for name in names}
        yield _PartWriter(files, special, layout)


class _PartWriter:
    def __init__(
        self, files: dict[str, BufferedWriter], special: SpecialPieces, layout: PieceLayout
    ) -> None:
        self._files, self._special, self._layout = files, special, layout
        self._kind = piece_type(special.n_pieces)
        self._segment = (layout.length - special.n_around - len(special.after)) // 2
        self._n_written = 0
        self.n_documents = self.n_pieces = self.n_too_short = 0

    def write_all(self, documents: Iterable[Sequence[Sentence]]) -> None:
        """Write some documents."""
        for sentences in documents:
            self.write(sentences)

    def takes(self, sentences: Sequence[Sentence]) -> bool:
        """Whether a document is long enough."""
        lengths = [len(ids) for ids, _ in sentences]
        return bool(cut_pairs(lengths, self._segment)) if self._layout.has_pairs else any(lengths)

    def write(self, sentences: Sequence[Sentence]) -> None:
        """Write a document; one that is too short is counted and left out."""
        if not self.takes(sentences):
            self.n_too_short += 1
            return
        if self._layout.has_pairs:
            self._write_pairs(sentences)
        pieces = np.concatenate([ids for ids, _ in sentences])
        end = [] if self._layout.has_pairs else [self._special.after]
        written = np.concatenate([pieces, *end])
        append_array(self._files[PIECES], written.astype(self._kind))
        if self._layout.has_starts:
            starts = [flags for _, flags in sentences if flags is not None]
            starts += [np.ones(len(piece), np.bool_) for piece in end]
            append_array(self._files[STARTS], np.concatenate(starts))
        self._n_written += len(written)
        self.n_documents += 1
        self.n_pieces += len(pieces)

    def _write_pairs(self, sentences: Sequence[Sentence]) -> None:
        pairs = cut_pairs([len(ids) for ids, _ in sentences], self._segment)
        append_array(self._files[PAIRS], np.array(pairs, dtype=np.int64) + self._n_written)
        numbers = np.full(len(pairs), self.n_documents, dtype=np.int64)
        append_array(self._files[DOCUMENTS], numbers)
