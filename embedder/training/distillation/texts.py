"""Texts of a corpus as piece ids on disk: tokenised once, gone through as often as needed.

Each document gives its beginning, cut off at the length that is trained on, and one of its
sentences: vectors of few pieces and of many are to be right. Equal texts are kept once. Memory
grows by about 40 bytes a text, the order in which they are trained on included.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from embedder.array_file import ArrayFile, append_array, write_array
from embedder.errors import RequestError, SourceError
from embedder.passages import BLOCK_CHARACTERS
from embedder.records import hash_text
from embedder.sentences import split_sentences
from embedder.tokens import Pieces, Tokenizer
from embedder.training.checkpoints import sync_all

PIECES, ENDS, TRAIN, HELD_OUT = "pieces.bin", "ends.npy", "train.npy", "held_out.npy"
KIND = np.dtype(np.uint32)

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TextLayout:
    """How documents become texts.

    Args:
        length: most pieces of a text, special ones and prompt included.
        held_out: share of the documents that is kept to measure on.
        prompt: text that is put before each.
    """

    length: int
    held_out: float
    prompt: str = ""


class PieceTexts(Dataset[Pieces]):
    """Some of the texts that `write_texts` wrote.

    Args:
        folder: where they are.
        part: `TRAIN` or `HELD_OUT`.
    """

    def __init__(self, folder: Path, part: str) -> None:
        self._file = ArrayFile(folder / PIECES, KIND)
        self._ends: Numbers = np.load(folder / ENDS, allow_pickle=False)
        self._numbers: Numbers = np.load(folder / part, allow_pickle=False)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> Pieces:
        number = int(self._numbers[place])
        start = int(self._ends[number - 1]) if number else 0
        return self._file.read(start, int(self._ends[number])).astype(np.int64)

    @property
    def lengths(self) -> Numbers:
        """Pieces of each, int64, shape (n,)."""
        return np.diff(self._ends, prepend=0)[self._numbers]

    def spread(self, most: int) -> list[Pieces]:
        """At most so many of them, taken evenly."""
        places = np.linspace(0, len(self) - 1, min(most, len(self))).round().astype(int)
        return [self[place] for place in places.tolist()]


def write_texts(
    batches: Iterable[Sequence[str]], folder: Path, tokenizer: Tokenizer, layout: TextLayout
) -> None:
    """Tokenise a corpus to a folder, which appears when it is complete.

    Documents are held out by a digest of their text, so that equal ones are on one side; if that
    holds out none, the one with the least digest is.

    Args:
        batches: the documents.
        folder: where to; it may be there from an earlier run, and stays then.
        tokenizer: the teacher's.
        layout: how to cut.

    Raises:
        SourceError: there is no text.
        RequestError: all texts are of one document, so that none can be held out.
        OSError: the disk takes no more.
    """
    if folder.is_dir():
        return
    made = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(made, ignore_errors=True)  # of a run that was killed
    made.mkdir()
    try:
        lengths, own, owners = _write_pieces(batches, made / PIECES, tokenizer, layout)
        write_array(made / ENDS, lengths.cumsum(dtype=np.int64))
        train, held_out = _split(own, owners, layout.held_out)
        write_array(made / TRAIN, train)
        write_array(made / HELD_OUT, held_out)
        sync_all(made)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write_pieces(
    batches: Iterable[Sequence[str]], path: Path, tokenizer: Tokenizer, layout: TextLayout
) -> tuple[Numbers, npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Write all texts; lengths, digests of the texts, and digests of the documents they are of."""
    lengths, own, owners = [], [], []
    with path.open("wb") as file:
        for documents in batches:
            texts, found = [], []
            for document in documents:
                for text in taught_texts(document):
                    texts.append(layout.prompt + text)
                    found.append(hash_text(document))
            pieces = [tokenizer.cut(ids, layout.length) for ids in tokenizer.encode(texts)]
            for ids in pieces:
                append_array(file, ids.astype(KIND))
            lengths.append(np.array([len(ids) for ids in pieces], dtype=np.int64))
            own.append(np.array([hash_text(text) for text in texts], dtype=np.uint64))
            owners.append(np.array(found, dtype=np.uint64))
    if not sum(map(len, lengths)):
        raise SourceError("The corpus holds no text.", "Name another column with --text.")
    return np.concatenate(lengths), np.concatenate(own), np.concatenate(owners)


def taught_texts(document: str) -> Iterator[str]:
    """A document's beginning, and one of its sentences, which its text decides."""
    beginning = document[:BLOCK_CHARACTERS]
    yield beginning
    spans = split_sentences(beginning)
    if len(spans) > 1:
        start, end = spans[hash_text(document) % len(spans)]
        yield beginning[start:end]


def _split(
    own: npt.NDArray[np.uint64], owners: npt.NDArray[np.uint64], share: float
) -> tuple[Numbers, Numbers]:
    """Numbers of the texts to train on and of those held out, equal texts once."""
    first = np.sort(np.unique(own, return_index=True)[1]).astype(np.int64)
    of = owners[first]
    is_held_out = of < np.uint64(share * 2**64)
    if not is_held_out.any():
        is_held_out = of == of.min()
    if is_held_out.all():
        raise RequestError(
            f"The corpus holds {len(np.unique(of))} different documents, and one at least has to "
            "be held out.",
            "Give more text.",
        )
    return first[~is_held_out], first[is_held_out]
