"""How to train, whatever the task."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from embedder.errors import RequestError


class TrainPrecision(StrEnum):
    """Arithmetic of the forward and backward pass; weights and their updates are fp32 always."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Schedule(StrEnum):
    """How the learning rate goes on after the warm-up."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How to train.

    Args:
        epochs: how often the examples are gone through.
        max_steps: steps (updates of the weights) in place of epochs.
        batch: examples of one forward pass on one device.
        accumulate: forward passes of one step.
        learning_rate: the highest, after the warm-up.
        warmup: share of the steps in which it rises.
        weight_decay: of AdamW.
        schedule: how it goes on after that.
        precision: None for bf16 where the device computes it natively, else fp32.
        checkpointing: compute activations again instead of keeping them: less memory, more time.
        evaluate_every: steps between evaluations, which are the moments a run can be resumed
            from; None for once an epoch, and five times a run at least.
        patience: stop after so many evaluations without a better one; None for never.
        seed: of all that is drawn by chance.
        lora: rank of low-rank updates that are trained in place of the weights; 0 for none.
        freeze: keep the embeddings and so many first layers as they are; 0 for nothing frozen.
        device: `cpu`, `cuda`, `mps`; None for the best there is.
        threads: CPU threads; None for all cores.
        shard: share weights, gradients and optimizer between processes (FSDP).

    Raises:
        RequestError: a number makes no sense.
    """

    epochs: float = 3.0
    max_steps: int | None = None
    batch: int = 32
    accumulate: int = 1
    learning_rate: float = 2e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    schedule: Schedule = Schedule.LINEAR
    precision: TrainPrecision | None = None
    checkpointing: bool = False
    evaluate_every: int | None = None
    patience: int | None = None
    seed: int = 1
    lora: int = 0
    freeze: int = 0
    device: str | None = None
    threads: int | None = None
    shard: bool = False

    def __post_init__(self) -> None:
        least = {"max_steps": 1, "batch": 1, "accumulate": 1, "evaluate_every": 1, "patience": 1}
        least |= {"threads": 1, "lora": 0, "freeze": 0, "seed": 0, "weight_decay": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise RequestError(f"{name} is {value}.", f"Give at least {bound}.")
        if self.seed >= 2**32:  # as much as NumPy takes
            raise RequestError(f"seed is {self.seed}.", f"Give at most {2**32 - 1}.")
        if not 0 <= self.warmup < 1:
            raise RequestError(f"warmup is {self.warmup}.", "Give a share of the steps: 0.1.")
        for name in ("epochs", "learning_rate"):
            if not getattr(self, name) > 0:
                raise RequestError(f"{name} is {getattr(self, name)}.", "Give more than 0.")
