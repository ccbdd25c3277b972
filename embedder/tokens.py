"""Text to pieces: the tokenizer of a model, and batches of piece ids that fit a token budget."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding
from tokenizers import Tokenizer as Backend
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as NormalizerSequence

from embedder.cache import cached_folder
from embedder.checkpoint import LENGTH_STEP, Checkpoint
from embedder.errors import ModelError
from embedder.specs import digest_of

MASKS = ("[MASK]", "<mask>")
"""What BERT's and RoBERTa's families call a mask."""

Pieces = npt.NDArray[np.int64]
"""Piece ids of one text, special tokens included, shape (n_pieces,)."""


@dataclass(frozen=True)
class TokenBatch:
    """Texts of one padded length, ready for a network.

    Args:
        piece_ids: int64, shape (n_texts, padded_length).
        attention_mask: int64, the same shape; 1 for a piece, 0 for padding on the right.
    """

    piece_ids: npt.NDArray[np.int64]
    attention_mask: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.piece_ids.shape != self.attention_mask.shape or self.piece_ids.ndim != 2:
            raise ValueError(
                f"piece_ids {self.piece_ids.shape} and attention_mask "
                f"{self.attention_mask.shape} should both be (n_texts, padded_length)"
            )

    def __len__(self) -> int:
        return len(self.piece_ids)


@dataclass(frozen=True)
class PieceSpans:
    """Where the pieces of a text stand in it.

    Args:
        starts: first character of each piece, int32, shape (n_pieces,).
        ends: one past its last character, the same type and shape; special tokens are empty.
    """

    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]


class PairSpecials(NamedTuple):
    """Piece ids of the special tokens around two texts that are read as one."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]


class Tokenizer:
    """The tokenizer of a model folder, without truncation or padding of its own.

    Args:
        checkpoint: the model folder.

    Raises:
        ModelError: the tokenizer's files cannot be read.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._backend = _open_backend(checkpoint)
        self._backend.no_truncation()
        self._backend.no_padding()
        if checkpoint.use_lower_case:
            inner = self._backend.normalizer
            steps = [Lowercase()] if inner is None else [Lowercase(), inner]
            self._backend.normalizer = NormalizerSequence(steps)
        self.pad_id = checkpoint.pad_id

    @property
    def n_pieces(self) -> int:
        """Pieces of the vocabulary, special ones included; no id is larger."""
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def has_pieces_of(self, other: Tokenizer) -> bool:
        """Whether both have the same pieces by the same ids."""
        mine, theirs = (t._backend.get_vocab(with_added_tokens=True) for t in (self, other))
        return mine == theirs

    @property
    def special_ids(self) -> list[int]:
        """Ids of the special pieces, in order."""
        added = self._backend.get_added_tokens_decoder()
        return sorted(number for number, piece in added.items() if piece.special)

    @property
    def mask_id(self) -> int | None:
        """Piece id that stands for a hidden piece; None for a tokenizer without one."""
        return self.id_of(*MASKS)

    @property
    def n_special(self) -> int:
        """Number of special tokens that surround a text."""
        return int(self._backend.num_special_tokens_to_add(False))

    @cached_property
    def n_after(self) -> int:
        """Number of special tokens after a text; the rest of them stand before it."""
        [around] = self.encode([""])
        [inside] = self.encode(["a"])
        same = 0
        while same < len(around) and around[-1 - same] == inside[-1 - same]:
            same += 1
        return min(same, self.n_special)

    @property
    def surroundings(self) -> tuple[Pieces, Pieces]:
        """The special tokens before a text and those after it."""
        [around] = self.encode([""])
        n_before = len(around) - self.n_after
        return around[:n_before], around[n_before:]

    @property
    def unknown_id(self) -> int:
        """The piece of what has no pieces: the unknown one, or padding where there is none."""
        found = self._backend.token_to_id(
            getattr(self._backend.model, "unk_token", None) or "<unk>"
        )
        return self.pad_id if found is None else int(found)

    def encode(self, texts: Sequence[str]) -> list[Pieces]:
        """Piece ids of each text with its special tokens, not cut."""
        encodings = self._backend.encode_batch_fast(list(texts))
        return [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]

    def encode_with_spans(self, texts: Sequence[str]) -> list[tuple[Pieces, PieceSpans]]:
        """What `encode` gives, and where in the text each piece stands."""
        return [
            (np.asarray(encoding.ids, dtype=np.int64), _spans(encoding))
            for encoding in self._backend.encode_batch(list(texts))
        ]

    def encode_pairs(
        self, first: Sequence[str], second: Sequence[str], max_tokens: int
    ) -> tuple[list[Pieces], int]:
        """Piece ids of pairs of texts with the special tokens of a pair, and how many were cut.

        Args:
            first: the first text of each pair.
            second: the second one.
            max_tokens: most pieces of a pair; the longer text of one that has more is cut first.
        """
        room = max_tokens - int(self._backend.num_special_tokens_to_add(True))
        pairs, n_cut = [], 0
        sides = [
            self._backend.encode_batch(list(x), add_special_tokens=False) for x in (first, second)
        ]
        for one, other in zip(*sides, strict=True):
            if len(one) + len(other) > room:
                n_cut += 1
                n_other = min(len(other), max(room // 2, room - len(one)))
                one.truncate(room - n_other)
                other.truncate(n_other)
            whole = self._backend.post_process(one, other, add_special_tokens=True)
            pairs.append(np.asarray(whole.ids, dtype=np.int64))
        return pairs, n_cut

    def encode_words(self, sentences: Sequence[Sequence[str]]) -> list[list[Pieces]]:
        """Piece ids of each word of each sentence, without special tokens, one at least.

        The words are read with a space between them, as text is, and a piece is of the word that
        holds its last character. A word that has no pieces is one unknown piece.
        """
        texts = [" ".join(words) for words in sentences]
        encodings = self._backend.encode_batch(texts, add_special_tokens=False)
        return [
            self._split(encoding, words)
            for encoding, words in zip(encodings, sentences, strict=True)
        ]

    def _split(self, encoding: Encoding, words: Sequence[str]) -> list[Pieces]:
        """The pieces of a text by its words."""
        ids = np.asarray(encoding.ids, dtype=np.int64)
        # A word has the space before it, which some tokenizers make a piece of.
        word_ends = np.cumsum([len(word) + 1 for word in words]) - 1
        ends = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)[:, 1]
        numbers = np.searchsorted(word_ends, np.maximum(ends - 1, 0), side="right")
        borders = np.searchsorted(numbers, np.arange(len(words) + 1))
        unknown = np.array([self.unknown_id], dtype=np.int64)
        return [
            ids[start:end] if start < end else unknown
            for start, end in itertools.pairwise(borders.tolist())
        ]

    def encode_inside(self, texts: Sequence[str]) -> list[Pieces]:
        """Piece ids of each text without special tokens, not cut."""
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]

    def encode_inside_with_starts(
        self, texts: Sequence[str]
    ) -> list[tuple[Pieces, npt.NDArray[np.bool_]]]:
        """What `encode_inside` gives, and which pieces begin a word, as the tokenizer cuts words:
        punctuation stands alone."""
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [(np.asarray(e.ids, dtype=np.int64), _starts(e)) for e in encodings]

    def id_of(self, *pieces: str) -> int | None:
        """The id of the first of some pieces that there is."""
        found = (self._backend.token_to_id(piece) for piece in pieces)
        return next((int(number) for number in found if number is not None), None)

    def encode_with_offsets(self, text: str) -> Encoding:
        """Pieces of a text without special tokens, with character offsets and word numbers."""
        return self._backend.encode(text, add_special_tokens=False)

    def encode_inside_with_spans(self, texts: Sequence[str]) -> list[tuple[Pieces, PieceSpans]]:
        """Piece ids of each text without special tokens, and where in it each piece stands."""
        return [
            (np.asarray(encoding.ids, dtype=np.int64), _spans(encoding))
            for encoding in self._backend.encode_batch(list(texts), add_special_tokens=False)
        ]

    def pair_specials(self) -> PairSpecials:
        """The special tokens before, between and after two texts that are read as one."""
        encoding = self._backend.encode("a", "a")
        parts: list[list[int]] = [[], [], []]
        n_seen = 0
        for piece_id, text in zip(encoding.ids, encoding.sequence_ids, strict=True):
            if text is None:
                parts[n_seen].append(piece_id)
            else:
                n_seen = text + 1
        before, between, after = map(tuple, parts)
        return PairSpecials(before, between, after)

    def decode(self, piece_ids: Sequence[int]) -> str:
        """The text of some pieces, without special tokens."""
        if self._backend.decoder is None and isinstance(self._backend.model, WordPiece):
            self._backend.decoder = WordPieceDecoder()
        return str(self._backend.decode(list(piece_ids), skip_special_tokens=True))

    def cut(self, pieces: Pieces, most: int) -> Pieces:
        """Pieces of a text without those past a window of `most`; its last special ones stay."""
        if len(pieces) <= most:
            return pieces
        n_after = self.n_after
        return np.concatenate([pieces[: most - n_after], pieces[len(pieces) - n_after :]])

    def batch(self, pieces: Sequence[Pieces], padded_length: int) -> TokenBatch:
        """Stack texts of at most `padded_length` pieces."""
        piece_ids = np.full((len(pieces), padded_length), self.pad_id, dtype=np.int64)
        attention_mask = np.zeros_like(piece_ids)
        for row, ids in enumerate(pieces):
            piece_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        return TokenBatch(piece_ids, attention_mask)


def _starts(encoding: Encoding) -> npt.NDArray[np.bool_]:
    """Which pieces are of another word than the one before; a piece of no word is one itself."""
    words = np.array([-1 if w is None else w for w in encoding.word_ids], dtype=np.int64)
    starts = words < 0
    starts[:1] = True
    starts[1:] |= np.diff(words) != 0
    return starts


def _spans(encoding: Encoding) -> PieceSpans:
    spans = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    return PieceSpans(spans[:, 0].copy(), spans[:, 1].copy())


def padded_length(n_pieces: int) -> int:
    """The length that a text of `n_pieces` is padded to, whatever its batch."""
    return -(-n_pieces // LENGTH_STEP) * LENGTH_STEP


def plan_batches(lengths: Sequence[int], max_batch_tokens: int) -> Iterator[tuple[list[int], int]]:
    """Cut texts into batches of one padded length each, within a budget of padded tokens.

    Args:
        lengths: number of pieces of each text.
        max_batch_tokens: texts times padded length of a batch; a longer text is a batch alone.

    Yields:
        Indices into `lengths`, and the padded length. Longest first, so that the largest memory
        is asked for at once.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-padded_length(lengths[i]), i))
    start = 0
    while start < len(order):
        length = padded_length(lengths[order[start]])
        most = max(1, max_batch_tokens // length)
        end = start
        while (
            end < len(order) and end - start < most and padded_length(lengths[order[end]]) == length
        ):
            end += 1
        yield order[start:end], length
        start = end


def _open_backend(checkpoint: Checkpoint) -> Backend:
    [first, *_] = checkpoint.tokenizer_files
    try:
        if first.name == "tokenizer.json":
            return Backend.from_file(str(first))
        return Backend.from_file(str(_converted(checkpoint)))
    except ModelError:
        raise
    except Exception as error:  # the Rust side raises plain Exception
        raise ModelError(f"The tokenizer {first} cannot be read: {error}.") from error


def tokenizer_json(checkpoint: Checkpoint) -> bytes:
    """The tokenizer.json of a model, made of its vocabulary files where there is none.

    Raises:
        ModelError: it cannot be made.
    """
    [first, *_] = checkpoint.tokenizer_files
    return Path(first if first.name == "tokenizer.json" else _converted(checkpoint)).read_bytes()


def _converted(checkpoint: Checkpoint) -> str:
    """A tokenizer.json made once from the vocabulary files of an older model folder."""
    contents = [path.read_text("utf-8", "replace") for path in checkpoint.tokenizer_files]

    def fill(folder: object) -> None:
        from embedder.encoders.network import save_tokenizer

        save_tokenizer(checkpoint, f"{folder}/tokenizer.json")

    key = digest_of([checkpoint.config.get("model_type"), *contents])
    return f"{cached_folder(f'tokenizers/{key}', fill)}/tokenizer.json"
