"""What a fine-tuning task is asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from embedder.errors import RequestError
from embedder.training.options import TrainingOptions

T = TypeVar("T")

HELD_OUT_SHARE = 0.1
"""Of the training rows, where no file to evaluate on is named."""


@dataclass(frozen=True, kw_only=True)
class TaskRequest:
    """What a task is asked for.

    Args:
        model: where it starts: `default`, a model folder, or a name on the hub.
        train: Parquet with the examples; a task that reads a corpus takes several.
        dev: Parquet to evaluate on; None to hold out a tenth of the examples.
        columns: names of columns by what they hold, where they are not the usual ones.
        settings: the task's own options.
        options: how to train.
        room: where the task may keep what it computed before training, for a run that goes on;
            None where nothing may be written, and long computations are left out.
        report: told of what is done before training: its name, how much, and of how much.
    """

    model: str
    train: Sequence[Path]
    dev: Path | None
    options: TrainingOptions
    columns: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    room: Path | None = None
    report: Callable[[str, int, int], None] = lambda *_: None

    @property
    def only_train(self) -> Path:
        """The one file with the examples.

        Raises:
            RequestError: there are several.
        """
        if len(self.train) != 1:
            raise RequestError(f"{len(self.train)} files of examples were named.", "Name one.")
        return self.train[0]


def hold_out(
    examples: Sequence[T], seed: int, key: Callable[[T], Hashable] | None = None
) -> tuple[list[T], list[T]]:
    """Examples to train on and to evaluate on, a tenth at most, drawn by chance.

    Args:
        examples: all of them.
        seed: of what is drawn.
        key: what examples have in common that stay together, so that what is learnt by heart is
            not measured; heeded where it tells some of them apart. None to draw each by itself.

    Raises:
        RequestError: there are too few.
    """
    if len(examples) < 2:
        raise RequestError(
            "One example is not enough to hold some out.", "Name rows to evaluate on with --eval."
        )
    groups: dict[Hashable, list[T]] = {}
    for number, example in enumerate(examples):
        groups.setdefault(number if key is None else key(example), []).append(example)
    order = list(groups.values()) if len(groups) > 1 else [[example] for example in examples]
    random.Random(seed).shuffle(order)
    most = max(1, round(len(examples) * HELD_OUT_SHARE))
    train: list[list[T]] = []
    held: list[list[T]] = []
    n_held = 0
    for group in order:
        is_held = n_held + len(group) <= most  # one that is too large is passed over
        n_held += len(group) * is_held
        (held if is_held else train).append(group)
    if not held:
        held.append(train.pop(min(range(len(train)), key=lambda i: len(train[i]))))
    return list(chain(*train)), list(chain(*held))
