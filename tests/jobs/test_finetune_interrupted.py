"""Tasks that draw by chance or share weights end as they would have after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import run_in_two_processes, tree

from embedder.errors import RequestError
from embedder.training import devices, loop
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


finish_checkpoint = loop.finish_checkpoint


def interrupt(folder: Path, step: int, **rest: Any) -> None:
    """Stop at the first checkpoint."""
    finish_checkpoint(folder, step, **rest)
    raise KeyboardInterrupt


def data() -> dict[str, Any]:
    """Columns for all of the tasks; two questions have no answer."""
    ends = [text.split()[-1] for text in TEXTS]
    has_answer = [number % 3 > 0 for number in range(len(TEXTS))]
    asked = list(zip(TEXTS, ends, has_answer, strict=True))
    return {
        "query": [f"what of {end} {number}" for number, end in enumerate(ends)],
        "positive": TEXTS,
        "question": [f"what of {end}" for end in ends],
        "context": TEXTS,
        "answer_texts": [[end] if has else [] for _, end, has in asked],
        "answer_starts": [[text.rindex(end)] if has else [] for text, end, has in asked],
        "source": TEXTS,
        "target": ends,
    }


def classify(path: Path, out: Path, model: Path, **training: Any) -> FinetuneOptions:
    """What trains on a file and is measured on it, with a checkpoint after every two steps."""
    own = {"batch": 2, "evaluate_every": 2, "device": "cpu", **training}
    return FinetuneOptions(
        task="classify",
        train=(path,),
        dev=path,
        out=out,
        model=str(model),
        training=TrainingOptions(**own),
    )


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("retrieval", {"hard_negatives": 1, "margin": 0.0, "chunk": 2}),
        ("senses-unsupervised", {"masked": 1}),
        ("answer", {}),
        ("generate", {"target_tokens": 8, "tie_embeddings": True}),
    ],
)
def test_an_interrupted_run_ends_with_the_same_weights(
    task: str, settings: dict[str, Any], tmp_path: Path, tiny_model: Path
) -> None:
    """Interrupted in the middle of an epoch and run again, the weights are those of a run that was
    not: dropout, hidden stretches and negatives are the same, and so is what head.json keeps."""
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table(data()), path)
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
            evaluate_every=3,
            device="cpu",
            precision=TrainPrecision.FP32,
        ),
    )
    finetune(options)
    again = replace(options, out=tmp_path / "again")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "finish_checkpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune(again)
    finetune(again)
    whole, resumed = (tree(tmp_path / name) for name in ("whole", "again"))
    told = {"README.md", "metrics.json", "learning-curve.png"}  # with the time that it took
    assert {n: c for n, c in whole.items() if n not in told} == {
        n: c for n, c in resumed.items() if n not in told
    }


def test_a_run_goes_on_in_the_precision_that_it_was_begun_in(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another machine would choose another, it is refused until it is asked for."""
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"text": TEXTS, "label": [0, 1] * 3}), path)
    options = classify(path, tmp_path / "out", tiny_model, max_steps=4)
    with monkeypatch.context() as patched:
        patched.setattr(devices, "has_bf16", lambda _: False)
        patched.setattr(loop, "finish_checkpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune(options)
    monkeypatch.setattr(devices, "has_bf16", lambda _: True)
    with pytest.raises(RequestError, match=r"begun by 1 process in fp32, and .* in bf16"):
        finetune(options)
    asked = replace(options.training, precision=TrainPrecision.FP32)
    assert finetune(replace(options, training=asked)).record.precision == "fp32"


STOPPING = """
import sys
from embedder.training import loop
finish = loop.finish_checkpoint
def stop(folder, step, **rest):
    finish(folder, step, **rest)
    if step == 4:
        raise KeyboardInterrupt
if sys.argv[1] == "stopped":
    loop.finish_checkpoint = stop
from jobs.cli import main
main(sys.argv[2:])
"""


@pytest.mark.slow
def test_two_interrupted_processes_end_with_the_same_weights(
    tmp_path: Path, tiny_model: Path
) -> None:
    """Interrupted together in the middle of an epoch whose batches are made by length, each goes
    on with the examples that it had not seen."""
    path, script = tmp_path / "data.parquet", tmp_path / "script.py"
    texts = [" ".join(TEXTS[:1] * (1 + number)) for number in range(12)]
    pq.write_table(pa.table({"text": texts, "label": [n % 2 for n in range(12)]}), path)
    script.write_text(STOPPING)
    base: list[Any] = ["finetune", "classify", path, "--eval", path, "--model", tiny_model]
    base += ["--max-steps", 6, "--evaluate-every", 2, "--batch", 2, "--learning-rate", 0.005]
    base += ["--device", "cpu", "--precision", "fp32", "--out"]
    assert run_in_two_processes(script, "whole", *base, tmp_path / "whole").returncode == 0
    assert run_in_two_processes(script, "stopped", *base, tmp_path / "again").returncode != 0
    assert not (tmp_path / "again").exists()
    alone = classify(
        path,
        tmp_path / "again",
        tiny_model,
        epochs=4,
        max_steps=6,
        learning_rate=0.005,
        precision=TrainPrecision.FP32,
    )
    with pytest.raises(RequestError, match=r"begun by 2 processes in fp32, and .* 1 process in"):
        finetune(alone)
    done = run_in_two_processes(script, "resumed", *base, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    whole, again = (tmp_path / name / "model.safetensors" for name in ("whole", "again"))
    assert whole.read_bytes() == again.read_bytes()
