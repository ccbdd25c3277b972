"""What a task brings to the training loop, and what the loop gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

Batch = dict[str, Tensor]
"""Arguments of a model's `forward`; of pairs the first texts come before all second ones."""

Measures = dict[str, float]

IGNORED = -100
"""In place of a label where there is none to learn; torch's own value."""

Report = Callable[[int, int, Mapping[str, float]], None]
"""Told after each step: its number, that of the last step, and the newest measures."""


class Examples(Protocol):
    """What a task learns from: a map-style data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


@dataclass(kw_only=True)
class TrainingRun:
    """All that the loop needs to know of a task.

    Args:
        model: its `forward(**batch)` returns a dictionary with a scalar `loss`, the mean over
            the batch; arguments have explicit names.
        transformer: the part of it whose layers can be frozen or trained by low-rank updates.
        examples: what it learns from, by number.
        lengths: of the examples, in pieces or what goes with them, by which those of like length
            are trained on together; None where batches are to be drawn by chance alone.
        collate: examples to a batch.
        evaluate: measures of the model as it is on held-out data. The loop puts the model into
            evaluation mode before, and gradients are off.
        goal: which of these measures picks the best checkpoint.
        is_higher_better: whether more of it is better.
        save: writes the model as it is into an empty folder.
        facts: numbers of rows, labels and so on, for people to read.
    """

    model: nn.Module
    transformer: nn.Module
    examples: Examples
    lengths: Sequence[int] | npt.NDArray[np.int64] | None = None
    collate: Callable[[list[Any]], Batch]
    evaluate: Callable[[], Measures]
    goal: str
    is_higher_better: bool = True
    save: Callable[[Path], None]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A point of a learning curve.

    Args:
        step: updates of the weights so far.
        epoch: how often the examples have been gone through.
        loss: mean training loss since the point before; None at an evaluation.
        measures: of held-out data; empty where the training loss is.
    """

    step: int
    epoch: float
    loss: float | None = None
    measures: Measures = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How a training went.

    Args:
        curve: losses and measures in the order in which they came.
        measures: those of the best checkpoint, which is the one that is kept.
        goal: which of them picked it.
        is_better: whether it is better than the model was before.
        best_step: its step.
        n_steps: steps that were done.
        n_examples: examples of one epoch.
        seconds: how long it took, resumed runs together.
        peak_memory: most bytes at once, of the process or of the GPU.
        device: where it ran.
        precision: arithmetic of the forward and backward pass.
        stopped_early: whether it stopped because nothing got better.
    """

    curve: list[CurvePoint]
    measures: Measures
    goal: str
    is_better: bool
    best_step: int
    n_steps: int
    n_examples: int
    seconds: float
    peak_memory: int
    device: str
    precision: str
    stopped_early: bool


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a training would take.

    Args:
        seconds_per_step: measured on a few steps, evaluations apart.
        seconds_per_evaluation: measured on one.
        n_steps: steps of the whole run.
        n_evaluations: evaluations of the whole run.
    """

    seconds_per_step: float
    seconds_per_evaluation: float
    n_steps: int
    n_evaluations: int

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return (
            self.n_steps * self.seconds_per_step + self.n_evaluations * self.seconds_per_evaluation
        )
