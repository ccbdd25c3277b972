"""The learning rate from the first step to the last, none of which is spent at zero."""

from __future__ import annotations

import math

from embedder.training.options import Schedule


def learning_rate_share(schedule: Schedule, step: int, n_warmup: int, n_steps: int) -> float:
    """Share of the highest learning rate, above 0, that a step is taken at.

    It rises in a line to 1 at the step `n_warmup`, and then stays, or falls in a line or along
    half a cosine towards 0 at `n_steps`, which is after the last step. The schedules of
    transformers begin at 0: their first step changes nothing, and a run of one step is none.

    Args:
        schedule: how it goes on after the rise.
        step: its number, from 0.
        n_warmup: steps of the rise.
        n_steps: all steps.
    """
    if step < n_warmup:
        return (step + 1) / (n_warmup + 1)
    done = min((step - n_warmup) / max(1, n_steps - n_warmup), 1.0)
    return {
        Schedule.CONSTANT: 1.0,
        Schedule.LINEAR: 1 - done,
        Schedule.COSINE: (1 + math.cos(math.pi * done)) / 2,
    }[schedule]
