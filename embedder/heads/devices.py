"""Where a head's own network runs, and in which precision."""

from __future__ import annotations

from typing import NamedTuple

import torch

from embedder.encoders.torch_encoder import DTYPES, open_device
from embedder.errors import EngineError
from embedder.heads.protocol import HeadOptions
from embedder.specs import Precision


class HeadDevice(NamedTuple):
    """A device, the type of the weights on it, and both in words."""

    device: torch.device
    dtype: torch.dtype
    description: str


def open_head_device(options: HeadOptions) -> HeadDevice:
    """The device and precision that were asked for, else the fastest device and fp32.

    Raises:
        EngineError: the device is not there, or the precision is not torch's.
    """
    precision = options.precision or Precision.FP32
    if precision not in DTYPES:
        raise EngineError(f"A head has no {precision}.", "Use --precision fp32 or bf16.")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = open_device(options.device or "auto")
    return HeadDevice(device, DTYPES[precision], f"torch {precision} on {device}")
