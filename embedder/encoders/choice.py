"""Which engine and precision run a model here: the user's choice, or the best there is."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedder.checkpoint import Checkpoint, open_checkpoint
from embedder.encoders.protocol import Encoder
from embedder.encoders.text import DEFAULT_BATCH_TOKENS, TextEncoder
from embedder.errors import EngineError, RequestError
from embedder.model_location import DEFAULT_MODEL
from embedder.specs import EncoderSpec, Engine, Pooling, Precision, digest_of
from embedder.tokens import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """How to encode. None means: what the model folder says, or the best this machine has.

    Args:
        model: `default`, a model folder, or a name on the hub.
        engine: what runs the network.
        precision: arithmetic of the forward pass.
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        threads: CPU threads.
        pooling: how token states become one vector.
        layers: number of last layers averaged before pooling.
        max_tokens: window of the encoder in tokens.
        query_prompt: text put before each query.
        passage_prompt: text put before each passage.
        max_batch_tokens: padded tokens of one forward pass.
    """

    model: str | None = None
    engine: Engine | None = None
    precision: Precision | None = None
    device: str | None = None
    threads: int | None = None
    pooling: Pooling | None = None
    layers: int | None = None
    max_tokens: int | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None
    max_batch_tokens: int = DEFAULT_BATCH_TOKENS

    def spec(self, checkpoint: Checkpoint, precision: Precision) -> EncoderSpec:
        """The encoder that these options describe over a checkpoint."""
        return checkpoint.spec(
            pooling=self.pooling,
            layers=self.layers or 1,
            max_tokens=self.max_tokens,
            query_prompt=self.query_prompt,
            passage_prompt=self.passage_prompt,
            precision=precision,
        )


CalibrationTexts = Callable[[], Sequence[str]]
"""Gives the texts that calibrate int8; called only if they are needed."""


def open_encoder(
    options: EncoderOptions | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    calibration: CalibrationTexts | None = None,
) -> TextEncoder:
    """Open an encoder, ready to run.

    Args:
        options: which model, engine and precision.
        checkpoint: the model, if it is open already.
        calibration: the corpus's own texts, for int8.

    Raises:
        ModelError: the model cannot be found or loaded.
        EngineError: the engine or device is not there, or its vectors are too far from torch's.
        RequestError: the options contradict each other.
    """
    options = options or EncoderOptions()
    checkpoint = checkpoint or open_checkpoint(options.model or DEFAULT_MODEL)
    engine = options.engine or (Engine.STATIC if checkpoint.is_static else _best_engine(options))
    tokenizer = Tokenizer(checkpoint)
    encoder: Encoder
    if checkpoint.is_static or engine is Engine.STATIC:
        encoder = _open_static(checkpoint, engine, options)
    elif engine is Engine.TORCH:
        encoder = _open_torch(checkpoint, options)
    else:
        try:
            encoder = _open_openvino(checkpoint, options, calibration)
        except EngineError as error:
            if options.engine is not None or options.precision is Precision.INT8:
                raise
            log.warning("%s Torch is used instead.", error.message)
            encoder = _open_torch(checkpoint, options)
    return TextEncoder(tokenizer, encoder, options.max_batch_tokens)


def _best_engine(options: EncoderOptions) -> Engine:
    if options.precision is Precision.INT8:
        return Engine.OPENVINO
    wants_gpu = options.device not in (None, "cpu")
    if wants_gpu or not _has_openvino() or (options.device is None and _has_gpu()):
        return Engine.TORCH
    return Engine.OPENVINO


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


def _has_gpu() -> bool:
    """Whether torch finds a GPU; it is loaded only where there may be one."""
    if not (Path("/dev/nvidiactl").exists() or sys.platform == "darwin"):
        return False
    from embedder.encoders.torch_encoder import best_device

    return best_device() != "cpu"


def _open_static(checkpoint: Checkpoint, engine: Engine, options: EncoderOptions) -> Encoder:
    if not checkpoint.is_static:
        raise RequestError(
            f"The static engine runs static models, and {checkpoint.name} is a network.",
            f"Leave --engine out, or make a static model of it with: embedder distil SOURCES "
            f"--static --model {checkpoint.name} --out FOLDER",
        )
    asked = {
        "--engine": engine if engine is not Engine.STATIC else None,
        "--precision": options.precision if options.precision is not Precision.FP32 else None,
        "--device": options.device if options.device != "cpu" else None,
    }
    for name, value in asked.items():
        if value is not None:
            raise RequestError(
                f"{checkpoint.name} is a static model, which numpy runs at fp32 on the cpu, and "
                f"{name} {value} was asked for.",
                f"Leave {name} out.",
            )
    from embedder.encoders.static_encoder import open_static

    return open_static(checkpoint, options.spec(checkpoint, Precision.FP32))


def _open_torch(checkpoint: Checkpoint, options: EncoderOptions) -> Encoder:
    from embedder.encoders.torch_encoder import TorchEncoder, best_device, has_bf16

    device = options.device or best_device()
    precision = options.precision
    if precision is None:
        is_native = device.startswith("cuda") and has_bf16("cuda")
        precision = Precision.BF16 if is_native else Precision.FP32
    spec = options.spec(checkpoint, precision)
    return TorchEncoder(checkpoint, spec, device=device, threads=options.threads)


def _open_openvino(
    checkpoint: Checkpoint, options: EncoderOptions, calibration: CalibrationTexts | None
) -> Encoder:
    if not _has_openvino():
        raise EngineError("OpenVINO is not installed.", "Run: pip install openvino")
    if options.device not in (None, "cpu"):
        raise RequestError(
            f"The OpenVINO engine runs on the cpu, and --device {options.device} was asked for.",
            "Use --engine torch for other devices.",
        )
    from embedder.encoders.export import is_bf16_supported
    from embedder.encoders.openvino_encoder import open_openvino

    precision = options.precision
    if precision is not None:
        spec = options.spec(checkpoint, precision)
        texts: Sequence[str] = ()
        if precision is Precision.INT8:
            texts = list(calibration()) if calibration else []
            if not texts:
                raise RequestError(
                    "int8 is calibrated on the corpus's own texts, and there are none.",
                    "Use --precision bf16 or fp32.",
                )
            spec = replace(spec, calibration=digest_of(texts))
        return open_openvino(checkpoint, spec, texts=texts, threads=options.threads)
    fp32 = options.spec(checkpoint, Precision.FP32)
    if is_bf16_supported():
        try:
            spec = replace(fp32, precision=Precision.BF16)
            return open_openvino(checkpoint, spec, threads=options.threads)
        except EngineError as error:
            log.warning("%s fp32 is used instead.", error.message)
    return open_openvino(checkpoint, fp32, threads=options.threads)
