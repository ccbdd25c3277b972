"""The torch engine: CPU, CUDA and MPS."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch

from embedder.checkpoint import Checkpoint
from embedder.encoders.network import load_network
from embedder.encoders.protocol import Encoded
from embedder.errors import EngineError, cause_of
from embedder.specs import EncoderSpec, Precision
from embedder.tokens import TokenBatch
from embedder.vectors import Rows

DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16}


class TorchEncoder:
    """Runs a checkpoint with torch.

    Args:
        checkpoint: the model folder.
        spec: what determines the vectors.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        threads: CPU threads; all cores when None.

    Raises:
        EngineError: the device is not there, or the precision is not torch's.
        ModelError: the checkpoint cannot be loaded.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        spec: EncoderSpec,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        if spec.precision not in DTYPES:
            raise EngineError(
                f"The torch engine has no {spec.precision}.",
                "Use --engine openvino for int8, or --precision bf16.",
            )
        if threads is not None:
            torch.set_num_threads(threads)
        self.spec = spec
        self.device = open_device(device)
        self.description = f"torch {spec.precision} on {self.device}"
        network = load_network(checkpoint, spec, DTYPES[spec.precision])
        self._network = network.to(self.device)

    def encode(self, batch: TokenBatch) -> Rows:
        """See `Encoder.encode`."""
        [rows] = self._run(batch, lambda *inputs: [self._network.rows(*inputs)])
        return rows

    def encode_states(self, batch: TokenBatch) -> Encoded:
        """See `Encoder.encode_states`."""
        return Encoded(*self._run(batch, self._network))

    def _run(
        self, batch: TokenBatch, network: Callable[..., Iterable[torch.Tensor]]
    ) -> list[npt.NDArray[np.float32]]:
        """What the network, or a part of it, makes of a batch."""
        try:
            with torch.inference_mode():
                piece_ids = torch.from_numpy(batch.piece_ids).to(self.device)
                mask = torch.from_numpy(batch.attention_mask).to(self.device)
                found = [output.cpu().numpy() for output in network(piece_ids, mask)]
        except RuntimeError as error:  # out of memory is one of these
            raise EngineError(
                f"torch failed on a batch of {batch.piece_ids.size} tokens: {cause_of(error)}.",
                "Use a smaller --max-batch-tokens.",
            ) from error
        return [np.ascontiguousarray(output, dtype=np.float32) for output in found]


def best_device() -> str:
    """The fastest device that torch sees here."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_bf16(device: str) -> bool:
    """Whether a kind of device computes in bf16 natively."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)
    has_avx512 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    return device == "cpu" and bool(has_amx() or has_avx512())


def open_device(name: str) -> torch.device:
    """The device of this name, `auto` for the best there is.

    Raises:
        EngineError: it cannot be used.
    """
    try:
        device = torch.device(best_device() if name == "auto" else name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EngineError(
            f"The device {name!r} cannot be used: {cause_of(error)}.",
            f"Here torch can use {best_device()}: leave --device out, or give it that name.",
        ) from error
    return device
