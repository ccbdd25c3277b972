"""The learning rate of each step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_scheduler

from embedder.training.options import Schedule
from embedder.training.schedule import learning_rate_share

NAMES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@given(st.sampled_from(Schedule), st.integers(1, 300), st.data())
def test_no_step_is_wasted(schedule: Schedule, n_steps: int, data: st.DataObject) -> None:
    """Every step, the first and the last one too, has a rate above zero; the highest is reached,
    and it only rises before and never afterwards."""
    n_warmup = data.draw(st.integers(0, n_steps - 1))
    shares = [learning_rate_share(schedule, step, n_warmup, n_steps) for step in range(n_steps)]
    assert min(shares) > 0 and max(shares) == shares[n_warmup] == 1
    assert shares[: n_warmup + 1] == sorted(shares[: n_warmup + 1])
    assert shares[n_warmup:] == sorted(shares[n_warmup:], reverse=True)


@pytest.mark.parametrize("schedule", Schedule)
def test_after_the_rise_it_is_the_library_s(schedule: Schedule) -> None:
    """From its highest on the rate is that of the schedule of this name in transformers."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = get_scheduler(NAMES[schedule], optimizer, num_warmup_steps=4, num_training_steps=20)
    for step in range(20):
        if step >= 4:
            share = learning_rate_share(schedule, step, 4, 20)
            assert share == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
