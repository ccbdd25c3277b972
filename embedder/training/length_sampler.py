"""The order of examples in which those of like length come into a batch together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from embedder.training.devices import n_processes
from embedder.training.options import TrainingOptions
from embedder.training.run import TrainingRun

POOL = 50
"""Batches whose examples are sorted by length among themselves, and a quarter of all at most, as
the Trainer's own sampler has it, whose order cannot be had again by a resumed run."""


class LengthSampler(Sampler[int]):
    """Numbers of examples: short ones in batches with short ones, so that little is padding.

    What comes together, and the order of the batches, is drawn by chance in each epoch.

    Args:
        lengths: of the examples.
        batch: examples of a batch, of all processes together.
        seed: of what is drawn.
    """

    def __init__(
        self, lengths: Sequence[int] | npt.NDArray[np.int64], batch: int, seed: int
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch, self.seed, self.epoch = batch, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch comes; its order is the same in every run."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        for batch in self.batches():
            yield from batch.tolist()

    def batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """The numbers of this epoch's examples, batch by batch; only the last may be short."""
        draw = np.random.default_rng([self.seed, self.epoch])
        numbers = draw.permutation(len(self))
        n_whole = len(self) // self.batch
        whole, rest = np.split(numbers, [n_whole * self.batch])
        size = max(1, min(POOL, n_whole // 4)) * self.batch
        for start in range(0, len(whole), size):
            pool = whole[start : start + size]
            whole[start : start + size] = pool[np.argsort(self.lengths[pool], kind="stable")]
        yield from draw.permutation(whole.reshape(n_whole, self.batch))
        if len(rest):
            yield rest


def sample_by_length(run: TrainingRun, options: TrainingOptions) -> LengthSampler | None:
    """The order of a task's examples; None where it gives no lengths."""
    if run.lengths is None:
        return None
    return LengthSampler(run.lengths, options.batch * n_processes(), options.seed)
