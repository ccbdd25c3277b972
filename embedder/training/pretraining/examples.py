"""Examples of pre-training, cut from a piece file and masked anew in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from embedder.training.pretraining.masks import MASK_SHARE, Flags, Masker, draw_for
from embedder.training.pretraining.next_segments import draw_partners
from embedder.training.pretraining.options import Objective
from embedder.training.pretraining.piece_file import Part
from embedder.training.pretraining.special import PieceIds, SpecialPieces
from embedder.training.run import IGNORED, Batch

FIXED_EPOCH = (1 << 23) - 1
"""The epoch of validation, which is the same each time; no training comes as far."""

SAMPLE = 1000
"""Examples from which the mean number of pieces to find is taken."""


@dataclass(frozen=True)
class Example:
    """What a network sees, and what it is to find.

    Args:
        piece_ids: int64, shape (n_pieces,).
        labels: the piece to find at each place, `IGNORED` at most of them; the same shape.
        segments: 0 and 1 for the first and the second segment; the same shape.
        is_random: whether the second segment is from elsewhere; None without pairs.
    """

    piece_ids: PieceIds
    labels: PieceIds
    segments: PieceIds
    is_random: bool | None = None


class PretrainingExamples(Dataset[Example]):
    """The examples of one part of a corpus.

    Args:
        part: its pieces.
        objective: what is to be found.
        is_whole_word: see `Masker`.
        seed: of masks and second segments.
        mask_share: see `Masker`.
    """

    def __init__(
        self,
        part: Part,
        objective: Objective,
        *,
        is_whole_word: bool,
        seed: int,
        mask_share: float = MASK_SHARE,
    ) -> None:
        self._part, self._objective, self._seed = part, objective, seed
        self._masker = Masker(part.special, is_whole_word, mask_share)
        self._epoch = 0
        self._partners: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self._part)

    def set_epoch(self, epoch: int) -> None:
        """Draw masks and second segments of another epoch."""
        if epoch != self._epoch:
            self._epoch, self._partners = epoch, None

    def __getitem__(self, number: int) -> Example:
        number = int(number)
        if self._objective is Objective.CAUSAL:
            return self._one_sided(number)
        draw = draw_for(self._seed, self._epoch, number)
        if self._part.layout.has_pairs:
            return self._pair(number, draw)
        pieces, starts = self._part.packed(number)
        whole, starts = self._around([pieces], [starts])
        seen, labels = self._masker.mask(whole, starts, draw)
        return Example(seen, labels, np.zeros_like(seen))

    def mean_to_find(self) -> float:
        """Pieces to find in an example, in the mean of a sample."""
        sample = np.linspace(0, len(self) - 1, min(SAMPLE, len(self))).astype(int)
        special = self._part.special
        found = []
        for number in sample.tolist():
            if self._part.layout.has_pairs:
                parts = [self._part.segment(number, which)[0] for which in (0, 1)]
                n_pieces = sum(map(len, parts))
            else:
                pieces, _ = self._part.packed(number)
                if self._objective is Objective.CAUSAL:
                    found.append(len(special.before) - 1 + len(pieces))
                    continue
                n_pieces = int((~special.is_special(pieces)).sum())
            found.append(self._masker.n_to_find(n_pieces))
        return max(1.0, float(np.mean(found)))

    def _one_sided(self, number: int) -> Example:
        """Each place is to find the piece after it; what closes the example is not asked for."""
        special = self._part.special
        pieces, _ = self._part.packed(number)
        whole = special.around(pieces)
        labels = np.full_like(whole, IGNORED)
        n_asked = len(whole) - len(special.after) - 1
        labels[:n_asked] = whole[1 : n_asked + 1]
        return Example(whole, labels, np.zeros_like(whole))

    def _pair(self, number: int, draw: np.random.Generator) -> Example:
        if self._partners is None:
            # One draw for all pairs of an epoch; the last example's number cannot be reached.
            chance = draw_for(self._seed, self._epoch, (1 << 40) - 1)
            self._partners = draw_partners(self._part.documents(), chance)
        partner = int(self._partners[number])
        first, first_starts = self._part.segment(number, 0)
        second, second_starts = self._part.segment(partner, 1)
        whole, starts = self._around([first, second], [first_starts, second_starts])
        segments = np.zeros_like(whole)
        segments[len(whole) - len(second) - len(self._part.special.after) :] = 1
        seen, labels = self._masker.mask(whole, starts, draw)
        return Example(seen, labels, segments, partner != number)

    def _around(
        self, parts: Sequence[PieceIds], starts: Sequence[Flags | None]
    ) -> tuple[PieceIds, Flags | None]:
        """Segments with special pieces before, between and after them."""
        special: SpecialPieces = self._part.special
        joined, flags = [special.before], [np.ones(len(special.before), dtype=np.bool_)]
        for part, found in zip(parts, starts, strict=True):
            joined += [part, special.after]
            kept = np.ones(len(part), dtype=np.bool_) if found is None else found
            flags += [kept, np.ones(len(special.after), dtype=np.bool_)]
        return np.concatenate(joined), np.concatenate(flags)


def collate_examples(examples: Sequence[Example], pad: int) -> Batch:
    """Examples as a batch: `piece_ids`, `attention_mask`, `segments`, `labels`, int64, shape
    (n_examples, longest); with pairs `is_random` too, int64, shape (n_examples,)."""
    longest = max(len(example.piece_ids) for example in examples)

    def stack(name: str, fill: int) -> torch.Tensor:
        rows = np.full((len(examples), longest), fill, dtype=np.int64)
        for row, example in zip(rows, examples, strict=True):
            values = getattr(example, name)
            row[: len(values)] = values
        return torch.from_numpy(rows)

    mask = np.zeros((len(examples), longest), dtype=np.int64)
    for row, example in zip(mask, examples, strict=True):
        row[: len(example.piece_ids)] = 1
    batch = {
        "piece_ids": stack("piece_ids", pad),
        "attention_mask": torch.from_numpy(mask),
        "segments": stack("segments", 0),
        "labels": stack("labels", IGNORED),
    }
    kinds = [example.is_random for example in examples]
    if all(kind is not None for kind in kinds):
        batch["is_random"] = torch.tensor(kinds, dtype=torch.int64)
    return batch
