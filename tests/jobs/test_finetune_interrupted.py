"""Encoder tasks that draw by chance go on after an interruption as if there had been none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedder.training import loop
from embedder.training.options import TrainingOptions, TrainPrecision
from jobs import FinetuneOptions, finetune

TEXTS = (
    "the bank of the river was green",
    "the bank raised its interest rates again",
    "a crane lifted the steel beam over the river",
    "interest in green energy is rising",
    "the green bank of a river",
    "again its rates of interest are rising",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("retrieval", {"hard_negatives": 1, "margin": 0.0, "chunk": 2}),
        ("senses-unsupervised", {"masked": 1}),
    ],
)
def test_an_interrupted_run_ends_with_the_same_weights(
    task: str, settings: dict[str, Any], tmp_path: Path, tiny_model: Path
) -> None:
    """Interrupted after a checkpoint and run again, the weights are those of a run that was not:
    dropout, hidden stretches and negatives are the same."""
    path = tmp_path / "data.parquet"
    queries = [f"what of {text.split()[-1]} {number}" for number, text in enumerate(TEXTS)]
    pq.write_table(pa.table({"query": queries, "positive": TEXTS}), path)
    options = FinetuneOptions(
        task=task,
        train=(path,),
        out=tmp_path / "whole",
        model=str(tiny_model),
        columns={"text": "positive"} if task == "senses-unsupervised" else {},
        settings=settings,
        training=TrainingOptions(
            max_steps=6,
            batch=4,
            learning_rate=5e-3,
            evaluate_every=2,
            device="cpu",
            precision=TrainPrecision.FP32,
        ),
    )
    finetune(options)
    finish = loop.finish_checkpoint

    def interrupt(folder: Path, step: int, **rest: Any) -> None:
        finish(folder, step, **rest)
        if step == 4:
            raise KeyboardInterrupt

    again = replace(options, out=tmp_path / "again")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "finish_checkpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune(again)
    finetune(again)
    whole, resumed = (tmp_path / name / "model.safetensors" for name in ("whole", "again"))
    assert whole.read_bytes() == resumed.read_bytes()
