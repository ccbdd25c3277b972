"""Training: examples a second, beside transformers' Trainer with its own model.

Fine-tunes the bundled model for the labels of texts: with `embedder finetune classify`'s own loop,
and with transformers as its guides show it, in bf16, with and without batches by length. Each runs
in a fresh process, in turn, round after round, and the steps alone are timed. Takes a Parquet file
with the columns `text` and `label`, which is not part of the project.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness import (
    Measured,
    alternate,
    child,
    environment,
    measure,
    peak,
    print_machine,
    print_table,
    ratio_of_pairs,
    run_child,
    spread,
)

PLAIN, GROUPED, OURS = "transformers", "transformers, batches by length", "embedder"
HEAD = ["", "examples/s", "times as fast", "peak memory, MiB"]


def main() -> None:
    """Measure and print."""
    options = _options()
    arguments = (options.texts, options.batch, options.steps)
    runs: dict[str, Callable[[], Measured]] = {
        name: partial(measure, child(__file__, name, *arguments), environment())
        for name in (PLAIN, GROUPED, OURS)
    }
    found, failed = alternate(runs, options.rounds)
    rates = {
        name: [json.loads(run.output.splitlines()[-1])["rate"] for run in measured]
        for name, measured in found.items()
    }
    rows = [
        [name, spread(rates[name], ",.0f"), ratio_of_pairs(rates[name], rates[PLAIN]), peak(runs)]
        for name, runs in found.items()
    ]
    print_table(HEAD, rows + [[name, reason, "", ""] for name, reason in failed.items()])
    print_machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path, help="Parquet with the columns text and label")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100, help="that are timed")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


class _Clock:
    """Times steps, from the end of the first one."""

    def __init__(self, n_steps: str, batch: str) -> None:
        self.n_steps, self.batch = int(n_steps), int(batch)
        self._ends: dict[int, float] = {}

    def tick(self, step: int) -> None:
        """Tell that a step has ended."""
        self._ends[step] = time.perf_counter()

    def print(self) -> None:
        """Write the examples a second as JSON, after what libraries have written."""
        seconds = self._ends[self.n_steps + 1] - self._ends[1]
        print(json.dumps({"rate": self.n_steps * self.batch / seconds}))


def ours(path: str, batch: str, n_steps: str) -> None:
    """Time the project's own loop."""
    from embedder.training.loop import train
    from embedder.training.options import TrainingOptions
    from embedder.training.task import TaskRequest
    from embedder.training.tasks.classify import prepare_classify

    clock = _Clock(n_steps, batch)
    options = TrainingOptions(batch=clock.batch, max_steps=clock.n_steps + 1, learning_rate=5e-5)
    request = TaskRequest(model="default", train=[Path(path)], dev=None, options=options)
    with tempfile.TemporaryDirectory() as folder:
        run = prepare_classify(request)
        run.evaluate = lambda: {run.goal: 0.0}  # what is measured is training
        train(run, options, Path(folder), lambda step, *_: clock.tick(step))
    clock.print()


def transformers(path: str, batch: str, n_steps: str, *, strategy: str = "random") -> None:
    """Time transformers' loop, model and collator."""
    import pyarrow.parquet as pq
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from embedder.checkpoint import open_checkpoint

    clock = _Clock(n_steps, batch)

    class Listener(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.tick(state.global_step)

    table = pq.read_table(path, columns=["text", "label"])
    labels = table["label"].to_pylist()
    numbers = {label: number for number, label in enumerate(sorted(set(labels)))}
    folder = open_checkpoint("default").folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(table["text"].to_pylist(), truncation=True, max_length=256)["input_ids"]
    examples = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "label": numbers[label]}
        for ids, label in zip(encoded, labels, strict=True)
    ]
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(numbers))
    with tempfile.TemporaryDirectory() as room:
        arguments = TrainingArguments(
            output_dir=room,
            per_device_train_batch_size=clock.batch,
            max_steps=clock.n_steps + 1,
            learning_rate=5e-5,
            bf16=True,
            use_cpu=True,
            train_sampling_strategy=strategy,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        Trainer(
            model=model,
            args=arguments,
            train_dataset=examples,
            processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Listener()],
        ).train()
    clock.print()


CHILDREN = {
    PLAIN: transformers,
    GROUPED: partial(transformers, strategy="group_by_length"),
    OURS: ours,
}

if __name__ == "__main__" and not run_child(CHILDREN):
    main()
