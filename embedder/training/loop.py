"""The one training loop: transformers' Trainer, with checkpoints that a crash cannot spoil."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.utils import logging as reporting

from embedder.errors import EngineError, RequestError
from embedder.training.checkpoints import (
    disk_errors,
    find_checkpoint,
    finish_checkpoint,
    read_seconds,
    remove_others,
    write_json,
)
from embedder.training.devices import (
    choose_device,
    choose_precision,
    is_main_process,
    lowered,
    memory_errors,
    n_processes,
    use_threads,
)
from embedder.training.length_sampler import sample_by_length
from embedder.training.options import TrainingOptions, TrainPrecision
from embedder.training.parameters import find_layers, merge_lora, prepare_model
from embedder.training.run import CurvePoint, Measures, Report, TrainingRecord, TrainingRun
from embedder.training.schedule import learning_rate_share
from embedder.training.steps import evaluation_interval

START_FILE = "start.json"
"""How a run computes, which may not change in its middle, and its measures before the first step,
which are not taken again."""

LOSSES_AN_EVALUATION = 10


def train(
    run: TrainingRun, options: TrainingOptions, folder: Path, report: Report
) -> TrainingRecord:
    """Train until the end, from the newest whole checkpoint in a folder if there is one.

    A run that was killed and started again gives the same weights as one that was not. At the end
    the model holds the weights of the best checkpoint, low-rank updates merged into them.

    Args:
        run: the task.
        options: how.
        folder: where checkpoints go; it is this run's own.
        report: told after each step.

    Raises:
        EngineError: the device is not there, memory is short, or the loss is not finite.
        RequestError: the device cannot compute in this precision, no weights are left to train, or
            the run was begun in another precision or by another number of processes.
    """
    started = time.monotonic()
    # Checkpoints name each other; a run may go on from another working directory.
    folder = folder.resolve()
    with use_threads(options.threads):
        trainer = _Trainer(run, options, folder, report)
        checkpoint = find_checkpoint(folder)
        before = read_seconds(checkpoint)
        with memory_errors(options):
            start = _measure_start(trainer, folder)
            trainer.started = started - before
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.gather()
        if options.lora:
            merge_lora(run.transformer)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the folder goes when the main process is done with it
    return _record(trainer, start, time.monotonic() - trainer.started)


class _Trainer(Trainer):
    """A Trainer that evaluates as the task says."""

    def __init__(
        self, run: TrainingRun, options: TrainingOptions, folder: Path, report: Report
    ) -> None:
        self.run, self.options, self.folder = run, options, folder
        self.started = time.monotonic()
        self.precision = choose_precision(options)
        self.sampler = sample_by_length(run, options)
        set_seed(options.seed)  # low-rank updates start by chance
        prepare_model(run.model, run.transformer, options)
        reporting.set_verbosity_error()  # type: ignore[no-untyped-call]
        super().__init__(
            model=run.model,
            args=self._arguments(),
            train_dataset=run.examples,
            eval_dataset=[],  # the task has its own; the library only asks whether there is one
            data_collator=run.collate,
            callbacks=[_Listener(report, run.examples, self.sampler)],
        )
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)
        if options.patience:
            self.add_callback(_Patience(options.patience))

    def _arguments(self) -> TrainingArguments:
        options = self.options
        every = evaluation_interval(self.run, options)
        arguments = TrainingArguments(
            output_dir=str(self.folder),
            per_device_train_batch_size=options.batch,
            gradient_accumulation_steps=options.accumulate,
            num_train_epochs=options.epochs,
            max_steps=options.max_steps or -1,
            learning_rate=options.learning_rate,
            # A float below one is a share of all steps.
            warmup_steps=options.warmup,
            weight_decay=options.weight_decay,
            bf16=self.precision is TrainPrecision.BF16,
            fp16=self.precision is TrainPrecision.FP16,
            use_cpu=choose_device(options) == "cpu",
            seed=options.seed,
            eval_strategy="steps",
            eval_steps=every,
            save_strategy="steps",
            save_steps=every,
            logging_strategy="steps",
            logging_steps=max(1, every // LOSSES_AN_EVALUATION),
            load_best_model_at_end=True,
            metric_for_best_model=self.run.goal,
            greater_is_better=self.run.is_higher_better,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            report_to="none",
            disable_tqdm=True,
            logging_nan_inf_filter=False,
            ddp_backend="gloo" if n_processes() > 1 and choose_device(options) == "cpu" else None,
            **_sharding(self.run, options),
        )
        if arguments.n_gpu > 1:
            # Each process has one; else batches, whose rows belong together, would be cut in parts.
            arguments._n_gpu = 1
        return arguments

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """What sets the learning rate of each step."""
        optimizer = self.optimizer if optimizer is None else optimizer
        assert optimizer is not None  # made before
        schedule, n_steps = self.options.schedule, num_training_steps
        n_warmup = self.args.get_warmup_steps(n_steps)
        self.lr_scheduler = LambdaLR(
            optimizer, lambda step: learning_rate_share(schedule, step, n_warmup, n_steps)
        )
        return self.lr_scheduler

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """By length where the task says lengths, else by chance."""
        return self.sampler or super()._get_train_sampler(train_dataset)

    def create_accelerator_and_postprocess(self) -> None:
        """Make what places the model on devices."""
        if self.options.shard:
            from embedder.training.sharding import allow_sharding_on_cpu

            allow_sharding_on_cpu()
        super().create_accelerator_and_postprocess()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:  # a run that had ended, but for writing
            self.control.should_training_stop = True
        if not self.control.should_training_stop:
            super()._run_epoch(*args, **kwargs)  # type: ignore[no-untyped-call]

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measures of the model on held-out data, as the task takes them.

        Raises:
            EngineError: there is nothing to measure any more.
        """
        self._check_loss()
        measures = self.measure()
        found = {f"eval_{name}": value for name, value in measures.items()}
        self.log(dict(found))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def measure(self) -> Measures:
        """Measures of the model on held-out data; what is drawn by chance in training goes on as
        if nothing had been measured."""
        with self._measuring():
            return self.run.evaluate()

    def _check_loss(self) -> None:
        """Raise EngineError unless the loss of some examples is finite: no step comes any more
        whose own would tell."""
        numbers = range(min(self.options.batch, len(self.run.examples)))
        batch = self.run.collate([self.run.examples[number] for number in numbers])
        with self._measuring():
            loss = self.run.model(**{n: v.to(self.args.device) for n, v in batch.items()})["loss"]
        if not torch.isfinite(loss):
            raise _diverged(f"The loss after step {self.state.global_step} is {loss.item()}.")

    @contextlib.contextmanager
    def _measuring(self) -> Iterator[None]:
        was_training = self.run.model.training
        self.run.model.eval()
        try:
            lower = lowered(self.args.device.type, self.precision)
            with torch.random.fork_rng(), torch.no_grad(), lower:
                yield
        finally:
            self.run.model.train(was_training)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One forward and backward pass.

        Raises:
            EngineError: the loss is not finite; it never becomes so again.
        """
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise _diverged(f"The loss of step {self.state.global_step + 1} is {loss.item()}.")
        return loss

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        """Weights alone, those that are shared once; the rest of a folder is the task's."""
        if self.args.should_save:
            from safetensors.torch import save_file

            folder = Path(output_dir or self.folder)
            folder.mkdir(parents=True, exist_ok=True)
            weights = self.run.model.state_dict() if state_dict is None else state_dict
            save_file(_without_copies(weights), folder / "model.safetensors")

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write a checkpoint.

        Raises:
            OSError: the disk takes no more.
        """
        with disk_errors():
            super()._save_checkpoint(model, trial)
        if self.args.world_size > 1:
            torch.distributed.barrier()
        if self.args.should_save:
            step = self.state.global_step
            finish_checkpoint(self.folder, step, seconds=time.monotonic() - self.started)
            remove_others(self.folder, {step, self.state.best_global_step})

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Nothing: weights that are shared are saved once, and miss under their other name."""

    def gather(self) -> None:
        """Give the model whole weights where processes shared them."""
        if self.options.shard:
            from embedder.training.sharding import gather_weights

            gather_weights(self.run.model)


def _sharding(run: TrainingRun, options: TrainingOptions) -> dict[str, Any]:
    if not options.shard:
        return {}
    from embedder.training.sharding import sharding_arguments

    return sharding_arguments(find_layers(run.transformer))


def _diverged(what: str) -> EngineError:
    return EngineError(
        what,
        "Begin anew with --restart, and a smaller --learning-rate, more --warmup, or --precision "
        "fp32.",
    )


def _without_copies(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each tensor once, on the CPU, however many names it has."""
    kept, seen = {}, set()
    for name, tensor in weights.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name
        if place not in seen:
            seen.add(place)
            kept[name] = tensor.detach().cpu().contiguous()
    return kept


class _Patience(EarlyStoppingCallback):
    """Stops a run that gets no better; a resumed run has as much patience left as it had."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take up the count of the checkpoint; that of a new run is 0."""
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
        name = "early_stopping_patience_counter"
        count = state.stateful_callbacks[type(self).__name__]["attributes"][name]
        self.early_stopping_patience_counter = count
        control.should_training_stop = count >= self.early_stopping_patience


class _Listener(TrainerCallback):
    """Passes on what happens.

    Args:
        report: told after each step.
        drawn: what may draw anew in each epoch, and is told then which it is. The library tells
            them in some of its ways to split and to skip batches, and in others not.
    """

    def __init__(self, report: Report, *drawn: Any) -> None:
        self._report = report
        self._drawn = [each for each in drawn if hasattr(each, "set_epoch")]
        self._measures: dict[str, float] = {}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell what draws anew."""
        for each in self._drawn:
            each.set_epoch(int(state.epoch))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Keep the newest figures."""
        names = {name: name.removeprefix("eval_") for name in logs or {}}
        known = ("grad_norm", "learning_rate", "epoch")
        self._measures |= {
            short: logs[name]
            for name, short in names.items()
            if short not in known and isinstance(logs[name], float)
        }

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell of the step."""
        self._report(state.global_step, state.max_steps, self._measures)


def _measure_start(trainer: _Trainer, folder: Path) -> Measures:
    """Measures of the model as it was, taken once.

    Raises:
        RequestError: the run was begun in another way.
    """
    path = folder / START_FILE
    how = {"precision": str(trainer.precision), "processes": trainer.args.world_size}
    if path.is_file():
        start = json.loads(path.read_text("utf-8"))
        _check_same(start["how"], how)
        values: Measures = start["measures"]
        return values
    measures = trainer.measure()
    if trainer.run.goal not in measures:
        raise KeyError(f"{trainer.run.goal} is not among {sorted(measures)}")
    if is_main_process():
        write_json(path, {"how": how, "measures": measures})
    return measures


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise RequestError unless a run goes on as it was begun."""
    if before != now:
        began, goes_on = (
            f"{how['processes']} process{'es' if how['processes'] > 1 else ''} in "
            f"{how['precision']}"
            for how in (before, now)
        )
        raise RequestError(
            f"This run was begun by {began}, and would go on by {goes_on}: its weights would be "
            "others.",
            "Start it as it was begun, with --precision if need be, or begin anew with --restart.",
        )


def _record(trainer: _Trainer, start: Measures, seconds: float) -> TrainingRecord:
    run, state = trainer.run, trainer.state
    curve = [CurvePoint(step=0, epoch=0.0, measures=start)]
    for entry in state.log_history:
        found = {k.removeprefix("eval_"): v for k, v in entry.items() if k.startswith("eval_")}
        if found or "loss" in entry:
            curve.append(
                CurvePoint(
                    step=int(entry["step"]),
                    epoch=entry.get("epoch", 0.0),
                    loss=entry.get("loss"),
                    measures=found,
                )
            )
    best = next(p for p in curve if p.measures and p.step == state.best_global_step)
    return TrainingRecord(
        curve=curve,
        measures=best.measures,
        goal=run.goal,
        is_better=_is_better(run, best.measures, start),
        best_step=best.step,
        n_steps=state.global_step,
        n_examples=len(run.examples),
        seconds=seconds,
        peak_memory=_peak_memory(trainer.args.device),
        device=str(trainer.args.device),
        precision=str(trainer.precision),
        stopped_early=state.global_step < state.max_steps,
    )


def _is_better(run: TrainingRun, after: Measures, before: Measures) -> bool:
    gain = after[run.goal] - before[run.goal]
    return gain > 0 if run.is_higher_better else gain < 0


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
