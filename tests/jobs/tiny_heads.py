"""Tiny heads with random weights, in the layout of those that `finetune` makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from models import SENTENCES, make_model
from safetensors.numpy import save_file

from embedder.encoders import EncoderOptions, open_encoder
from embedder.heads.protocol import HEAD_WEIGHTS, HeadFile, HeadTask
from embedder.specs import Engine

LABELS = ("money", "shore", "other")
MAX_TOKENS = 32


def make_head(
    folder: Path,
    task: HeadTask = HeadTask.CLASSIFY,
    *,
    labels: Sequence[str] = LABELS,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """A head with a linear layer over a tiny model; returns the folder.

    Each label is that of a sentence, so that texts have different ones.
    """
    make_model(folder, num_hidden_layers=1, seed=seed)
    options = EncoderOptions(model=str(folder), engine=Engine.TORCH, device="cpu")
    vectors = open_encoder(options).encode(SENTENCES[: len(labels)])
    weight = 50 * (vectors - vectors.mean(0))
    bias = np.zeros(len(labels), np.float32)
    save_file({"weight": weight, "bias": bias}, folder / HEAD_WEIGHTS)
    file = HeadFile(task=task, max_tokens=MAX_TOKENS, labels=tuple(labels), columns=columns or {})
    file.write(folder)
    return folder
