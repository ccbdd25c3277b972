"""The encoder of a head's folder, as the head runs it."""

from __future__ import annotations

from pathlib import Path

from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.heads.protocol import HeadFile, HeadOptions
from embedder.specs import Engine, Precision


def open_head_encoder(folder: Path, file: HeadFile, options: HeadOptions) -> TextEncoder:
    """The encoder with the window that the head was trained with, and without prompts.

    Raises:
        ModelError: the folder is damaged.
        EngineError: the device is not there, or the precision is not torch's.
    """
    return open_encoder(
        EncoderOptions(
            model=str(folder),
            engine=Engine.TORCH,
            precision=options.precision or Precision.FP32,
            device=options.device,
            threads=options.threads,
            max_tokens=file.max_tokens,
            query_prompt="",
            passage_prompt="",
            max_batch_tokens=options.max_batch_tokens,
        )
    )
