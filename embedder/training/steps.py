"""How many steps a training has, and when it is evaluated."""

from __future__ import annotations

import math

from embedder.training.devices import n_processes
from embedder.training.options import TrainingOptions
from embedder.training.run import TrainingRun

LEAST_EVALUATIONS = 5


def count_steps(run: TrainingRun, options: TrainingOptions) -> tuple[int, int]:
    """Steps of the run, and of an epoch."""
    together = options.batch * options.accumulate * n_processes()
    an_epoch = max(1, -(-len(run.examples) // together))
    return options.max_steps or max(1, math.ceil(an_epoch * options.epochs)), an_epoch


def evaluation_interval(run: TrainingRun, options: TrainingOptions) -> int:
    """Steps between evaluations."""
    n_steps, an_epoch = count_steps(run, options)
    return options.evaluate_every or max(1, min(an_epoch, -(-n_steps // LEAST_EVALUATIONS)))
