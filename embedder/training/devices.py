"""Where a training runs, in which precision, and as which of several processes."""

from __future__ import annotations

import os

import torch

from embedder.encoders.torch_encoder import best_device, open_device
from embedder.errors import RequestError
from embedder.training.options import TrainingOptions, TrainPrecision


def is_main_process() -> bool:
    """Whether this process is the one that writes; alone, it is."""
    return int(os.environ.get("RANK", "0")) == 0


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
    """The device asked for, else the best there is.

    Raises:
        EngineError: it is not there.
    """
    return open_device(options.device or best_device()).type


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
    return TrainPrecision.BF16 if _has_bf16(device) else TrainPrecision.FP32


def _has_bf16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)
    has_avx512 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    return device == "cpu" and bool(has_amx() or has_avx512())
