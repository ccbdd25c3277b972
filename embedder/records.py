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
