"""Where a training runs, in which precision, and as which of several processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import torch

from embedder.encoders.torch_encoder import best_device, has_bf16, open_device
from embedder.errors import EngineError, OutputError, RequestError
from embedder.training.options import TrainingOptions, TrainPrecision

POLL_SECONDS = 0.2


def is_main_process() -> bool:
    """Whether this process is the one that writes; alone, it is."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_main_process(is_done: Callable[[], bool]) -> None:
    """Wait until the main process of several has done something.

    Raises:
        OutputError: what started the processes is gone.
    """
    parent = os.getppid()
    while not is_done():
        if os.getppid() != parent:
            raise OutputError("The main process has ended.")
        time.sleep(POLL_SECONDS)


def n_processes() -> int:
    """Processes that train together, as torchrun and accelerate launch say."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_sharding(options: TrainingOptions) -> None:
    """Raise RequestError if weights are to be shared and there is nobody to share them with."""
    if options.shard and n_processes() == 1:
        raise RequestError(
            "Weights are to be shared between processes, and this is the only one.",
            "Start several: torchrun --nproc-per-node 2 -m jobs ..., or leave --shard out.",
        )


def choose_device(options: TrainingOptions) -> str:
    """The kind of the device asked for, else the best there is.

    Raises:
        EngineError: it is not there.
        RequestError: another than the first of its kind is asked for.
    """
    device = open_device(options.device or best_device())
    if device.index:
        raise RequestError(
            f"Training takes the first device of its kind, and {device} was asked for.",
            f"Set CUDA_VISIBLE_DEVICES={device.index}, and give --device {device.type}.",
        )
    return device.type


def choose_precision(options: TrainingOptions) -> TrainPrecision:
    """The precision asked for, else bf16 where the device computes it natively.

    Raises:
        RequestError: the device does not compute in it.
    """
    device = choose_device(options)
    if options.precision is TrainPrecision.FP16 and device != "cuda":
        raise RequestError(
            f"fp16 needs a CUDA device, and this is {device}.", "Use --precision bf16 or fp32."
        )
    if options.precision is not None:
        return options.precision
    return TrainPrecision.BF16 if has_bf16(device) else TrainPrecision.FP32


def lowered(device: str, precision: TrainPrecision) -> torch.autocast:
    """A context in which a network computes in a precision."""
    dtype = _DTYPES.get(precision)
    return torch.autocast(device, dtype, enabled=dtype is not None)


_DTYPES = {TrainPrecision.BF16: torch.bfloat16, TrainPrecision.FP16: torch.float16}


@contextlib.contextmanager
def use_threads(n: int | None) -> Iterator[None]:
    """Compute with so many CPU threads, and afterwards with as many as before; None for those."""
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def memory_errors(options: TrainingOptions) -> Iterator[None]:
    """Say what to do where a device's memory is too small.

    Raises:
        EngineError: it is.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"{options.batch} examples at once do not fit into the device's memory.",
            "Give a smaller --batch with more --accumulate, or --checkpointing.",
        ) from error
