"""How many steps a training has, and when it is evaluated."""

from __future__ import annotations

import math

from embedder.errors import RequestError
from embedder.training.devices import n_processes
from embedder.training.options import TrainingOptions
from embedder.training.run import TrainingRun

LEAST_EVALUATIONS = 5


def count_steps(run: TrainingRun, options: TrainingOptions) -> tuple[int, int]:
    """Steps of the run, and of an epoch; streamed examples have one epoch.

    Raises:
        RequestError: the examples are streamed, and nobody said how many steps to take.
    """
    n_examples = count_examples(run)
    if n_examples is None:
        if options.max_steps is None:
            raise RequestError("The examples are streamed.", "Give --max-steps.")
        return options.max_steps, options.max_steps
    together = options.batch * options.accumulate * n_processes()
    an_epoch = max(1, -(-n_examples // together))
    return options.max_steps or max(1, math.ceil(an_epoch * options.epochs)), an_epoch


def count_examples(run: TrainingRun) -> int | None:
    """Examples of an epoch; None where they are streamed."""
    return len(run.examples) if hasattr(run.examples, "__len__") else None


def evaluation_interval(run: TrainingRun, options: TrainingOptions) -> int:
    """Steps between evaluations."""
    n_steps, an_epoch = count_steps(run, options)
    return options.evaluate_every or max(1, min(an_epoch, -(-n_steps // LEAST_EVALUATIONS)))
