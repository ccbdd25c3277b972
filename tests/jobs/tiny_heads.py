"""Tiny heads with random weights, in the layout of those that `finetune` makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from models import SENTENCES, make_model
from safetensors.numpy import save_file

from embedder.encoders import EncoderOptions, open_encoder
from embedder.heads.protocol import HEAD_WEIGHTS, HeadFile, HeadTask
from embedder.specs import Engine

LABELS = ("money", "shore", "other")
MAX_TOKENS = 32
ANSWER_SETTINGS = {
    "max_question_tokens": 12,
    "overlap": 4,
    "max_answer_tokens": 5,
    "null_threshold": None,
}


def make_head(
    folder: Path,
    task: HeadTask = HeadTask.CLASSIFY,
    *,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """A head with a linear layer over a tiny model; returns the folder.

    Each label is that of a sentence, so that texts have different ones.
    """
    make_model(folder, num_hidden_layers=1, seed=seed)
    is_answer = task is HeadTask.ANSWER  # whose two outputs are the start and the end
    n_outputs = 2 if is_answer else len(LABELS)
    options = EncoderOptions(model=str(folder), engine=Engine.TORCH, device="cpu")
    vectors = open_encoder(options).encode(SENTENCES[:n_outputs])
    weight = 50 * (vectors - vectors.mean(0))
    bias = np.zeros(n_outputs, np.float32)
    save_file({"weight": weight, "bias": bias}, folder / HEAD_WEIGHTS)
    file = HeadFile(
        task=task,
        max_tokens=MAX_TOKENS,
        labels=() if is_answer else LABELS,
        columns=columns or {},
        settings=ANSWER_SETTINGS if is_answer else {},
    )
    file.write(folder)
    return folder
