"""What a training would take, from a few steps of it."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from embedder.training.devices import (
    choose_device,
    choose_precision,
    lowered,
    memory_errors,
    use_threads,
)
from embedder.training.length_sampler import sample_by_length
from embedder.training.options import TrainingOptions
from embedder.training.parameters import prepare_model
from embedder.training.run import Batch, Estimate, TrainingRun
from embedder.training.steps import count_steps, evaluation_interval

N_STEPS = 3


def estimate(run: TrainingRun, options: TrainingOptions) -> Estimate:
    """Time a few steps and one evaluation of a model that is not used afterwards.

    Raises:
        EngineError: the device is not there.
        RequestError: the device cannot compute in this precision, or the layers to freeze are not
            there.
    """
    with use_threads(options.threads), memory_errors(options):
        return _estimate(run, options)


def _estimate(run: TrainingRun, options: TrainingOptions) -> Estimate:
    n_steps, _ = count_steps(run, options)
    device, precision = choose_device(options), choose_precision(options)
    prepare_model(run.model, run.transformer, options)
    run.model.to(device).train()
    optimizer = torch.optim.AdamW(run.model.parameters(), lr=0.0)  # which changes no weights
    seconds = []
    for batch in _batches(run, options):
        started = _now(device)
        with lowered(device, precision):
            loss = run.model(**{name: value.to(device) for name, value in batch.items()})["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(_now(device) - started)
    started = _now(device)
    run.model.eval()
    with torch.no_grad(), lowered(device, precision):
        run.evaluate()
    return Estimate(
        # The first step pays for memory and choices that the others find made.
        seconds_per_step=statistics.mean(seconds[1:] or seconds) * options.accumulate,
        seconds_per_evaluation=_now(device) - started,
        n_steps=n_steps,
        n_evaluations=1 + -(-n_steps // evaluation_interval(run, options)),
    )


def _now(device: str) -> float:
    """The time when all that was asked of a device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.monotonic()


def _batches(run: TrainingRun, options: TrainingOptions) -> Iterator[Batch]:
    """Some batches to be timed, and one before: of batches by length those that stand for equal
    shares of all, and the longest, which needs the most memory."""
    sampler = sample_by_length(run, options)
    if sampler is None:
        loader: DataLoader[Any] = DataLoader(
            run.examples,  # type: ignore[arg-type]  # as torch documents it
            options.batch,
            shuffle=True,
            collate_fn=run.collate,
        )
        yield from itertools.islice(loader, N_STEPS + 1)
        return
    batches = sorted(sampler.batches(), key=lambda batch: sampler.lengths[batch].max())
    places = [(2 * i + 1) * len(batches) // (2 * N_STEPS) for i in range(N_STEPS)]
    for place in (-1, *places):
        numbers = batches[place][-options.batch :].tolist()
        yield run.collate([run.examples[number] for number in numbers])
