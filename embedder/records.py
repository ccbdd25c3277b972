"""Records that cross from one package to another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TextHashes = npt.NDArray[np.uint64]
"""128-bit content hashes of texts as two halves, shape (n, 2)."""


def hash_texts(texts: Sequence[str]) -> TextHashes:
    """Content hashes of texts without lone surrogates (BLAKE2b, 16 bytes), shape (n_texts, 2)."""
    digests = b"".join(hashlib.blake2b(t.encode("utf-8"), digest_size=16).digest() for t in texts)
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2).astype(np.uint64)


def hash_text(text: str) -> int:
    """64 bits of a hash of a text; that of its form stands for a word in an index."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


OCCURRENCE = np.dtype(
    [("word", "<u8"), ("start", "<i4"), ("length", "<u2"), ("draw", "<u2")], align=False
)
"""One use of a word in a passage: hash of the word's form, first character in the passage,
number of characters, and the number by which a uniform sample is drawn."""

OccurrenceRecords = npt.NDArray[np.void]
"""Records of type OCCURRENCE, shape (n,)."""

Codes = npt.NDArray[np.int8]
"""Vectors of occurrences as they lie on disk, shape (n, n_components)."""


@dataclass(frozen=True)
class Occurrences:
    """The uses of words in some passages, in the order of the passages and of their texts.

    Args:
        ends: for each passage one past the number of its last occurrence, int64.
        records: the occurrences, shape (n,).
        codes: their vectors, shape (n, n_components).
    """

    ends: npt.NDArray[np.int64]
    records: OccurrenceRecords
    codes: Codes

    def __post_init__(self) -> None:
        n = int(self.ends[-1]) if len(self.ends) else 0
        if self.ends.dtype != np.int64 or self.records.dtype != OCCURRENCE:
            raise ValueError(f"ends are {self.ends.dtype}, records {self.records.dtype}")
        if len(self.records) != n or len(self.codes) != n or self.codes.dtype != np.int8:
            raise ValueError(f"{len(self.records)} records, {len(self.codes)} codes, wanted {n}")

    def of(self, passage: int) -> Occurrences:
        """Those of one passage."""
        first = int(self.ends[passage - 1]) if passage else 0
        own = slice(first, int(self.ends[passage]))
        n = np.array([own.stop - own.start], dtype=np.int64)
        return Occurrences(n, self.records[own], self.codes[own])

    @classmethod
    def join(cls, parts: Sequence[Occurrences], n_components: int) -> Occurrences:
        """Those of the passages of all parts, one part after the other."""
        counts = [np.diff(part.ends, prepend=0) for part in parts]
        return cls(
            np.cumsum(np.concatenate([np.empty(0, np.int64), *counts]), dtype=np.int64),
            np.concatenate([np.empty(0, OCCURRENCE), *(part.records for part in parts)]),
            np.concatenate([np.empty((0, n_components), np.int8), *(p.codes for p in parts)]),
        )


def is_utf8(text: str) -> bool:
    """Whether a text has no lone surrogates, which stand for bytes that were no UTF-8."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


@dataclass(frozen=True)
class PassageTable:
    """Passages of one segment, as columns of equal length n.

    Args:
        document: row of the passage's document in the segment, int32.
        start: first character in the document's text, int32.
        end: one past the last character, int32.
        n_tokens: pieces of the passage, special tokens and prompt included, int32.
        hashes: content hashes of the passages' texts, shape (n, 2).
    """

    document: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    n_tokens: npt.NDArray[np.int32]
    hashes: TextHashes

    def __post_init__(self) -> None:
        columns = (self.document, self.start, self.end, self.n_tokens)
        if any(c.dtype != np.int32 or c.shape != (len(self),) for c in columns):
            raise ValueError("columns of a passage table should be int32, all of one length")
        if self.hashes.shape != (len(self), 2) or self.hashes.dtype != np.uint64:
            raise ValueError(f"hashes are {self.hashes.dtype} {self.hashes.shape}")

    def __len__(self) -> int:
        return len(self.document)
