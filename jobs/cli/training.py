"""Options of all commands that train."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.streams import writing_stdout
from jobs.cli.threads_option import threads_option
from jobs.figures import clock, plural

if TYPE_CHECKING:
    from embedder.training.options import TrainingOptions
    from embedder.training.run import Estimate
    from jobs.progress import Progress
    from jobs.training_summary import TrainingSummary

Command = Callable[..., None]


AGAIN = "Run the same command again to go on."
AGAIN_FROM_HERE = "Run it again without --restart to go on."


def again(options: dict[str, Any]) -> str:
    """What to say to somebody who interrupts a command."""
    return AGAIN_FROM_HERE if options["restart"] else AGAIN


def training_options(
    *,
    epochs: float = 3.0,
    batch: int = 32,
    learning_rate: float = 2e-5,
    warmup: float = 0.1,
    shard: bool = False,
    careful: str = "",
) -> Callable[[Command], Command]:
    """Options of the training loop, with a task's own defaults.

    Args:
        epochs: of the examples.
        batch: examples of a forward pass.
        learning_rate: the highest.
        warmup: share of the steps.
        shard: whether weights can be shared between processes.
        careful: what else is said of the learning rate.
    """
    options: list[Callable[[Command], Command]] = [
        click.option(
            "--epochs",
            type=click.FloatRange(0, min_open=True),
            default=epochs,
            help="How often the examples are gone through.",
        ),
        click.option("--max-steps", type=click.IntRange(1), help="In place of --epochs."),
        click.option(
            "--batch", type=click.IntRange(1), default=batch, help="Examples at once on a device."
        ),
        click.option(
            "--accumulate",
            type=click.IntRange(1),
            default=1,
            help="Batches whose gradients make one step.",
        ),
        click.option(
            "--learning-rate",
            type=click.FloatRange(0, min_open=True),
            default=learning_rate,
            help=f"The highest of all steps.{careful}",
        ),
        click.option(
            "--warmup",
            type=click.FloatRange(0, 1, max_open=True),
            default=warmup,
            help="Share of the steps in which the learning rate rises.",
        ),
        click.option(
            "--schedule",
            type=click.Choice(["linear", "cosine", "constant"]),
            default="linear",
            help="How the learning rate falls after its rise.",
        ),
        click.option("--weight-decay", type=click.FloatRange(0), default=0.01, help="AdamW's."),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
            default="auto",
            help="Arithmetic of forward and backward pass; auto is bf16 where it is native.",
        ),
        click.option(
            "--checkpointing",
            is_flag=True,
            help="Compute activations again instead of keeping them: less memory, more time.",
        ),
        click.option(
            "--lora",
            type=click.IntRange(0),
            default=0,
            help="Train low-rank updates alone, of this rank; 0 for all weights.",
        ),
        click.option(
            "--freeze",
            type=click.IntRange(0),
            default=0,
            help="Keep the embeddings and so many first layers as they are.",
        ),
        click.option(
            "--evaluate-every",
            type=click.IntRange(1),
            help="Steps between evaluations, after each of which a run can be resumed."
            "  [default: an epoch, or a fifth of the run]",
        ),
        click.option(
            "--patience",
            type=click.IntRange(1),
            help="Stop after so many evaluations without a better one.  [default: never]",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            default=1,
            help="Of all that is drawn by chance.",
        ),
        click.option(
            "--device", metavar="DEVICE", help="cpu, cuda or mps.  [default: the best here]"
        ),
        threads_option,
        click.option("--dry-run", is_flag=True, help="Check the data and say how long it takes."),
        click.option("--restart", is_flag=True, help="Begin anew where an unfinished run is."),
        click.option("--format", type=click.Choice(["text", "json"]), default="text"),
        click.option("-q", "--quiet", is_flag=True, help="No progress and no summary."),
    ]
    if shard:
        options.append(
            click.option(
                "--shard",
                is_flag=True,
                help="Share weights and optimizer between the processes of torchrun (FSDP).",
            )
        )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def check_out(options: dict[str, Any]) -> None:
    """Raise OutputError if the folder is there already, before the libraries are imported, which
    takes seconds; where a run was begun, the job looks itself at what is left of it."""
    from jobs.output import check_new_folder
    from jobs.working_folder import training_room_of

    if not training_room_of(Path(options["out"])).exists():
        check_new_folder(options["out"])


def read_training_options(options: dict[str, Any]) -> TrainingOptions:
    """The options of the training loop among those of a command."""
    from dataclasses import fields

    from embedder.training.options import Schedule, TrainingOptions, TrainPrecision

    values = {f.name: options[f.name] for f in fields(TrainingOptions) if f.name in options}
    precision = values["precision"]
    values["precision"] = None if precision == "auto" else TrainPrecision(precision)
    values["schedule"] = Schedule(values["schedule"])
    return TrainingOptions(**values)


def run_training(
    options: dict[str, Any],
    usage: str,
    train: Callable[[Progress], TrainingSummary],
    estimate: Callable[[Progress], tuple[Estimate, dict[str, Any]]],
) -> None:
    """Train, or say what it would take, as the options ask; of several processes one speaks.

    Args:
        options: all options of the command, by name.
        usage: the command that uses what comes out.
        train: trains.
        estimate: says what it would take, and the facts of the data.
    """
    from embedder.training.devices import is_main_process
    from jobs.progress import show_progress

    if options["dry_run"] and not is_main_process():
        return
    form = options["format"]
    quiet = options["quiet"] or not is_main_process()
    with show_progress(quiet=quiet) as progress:
        if options["dry_run"]:
            found = estimate(progress)
        else:
            click.get_current_context().obj["after"] = again(options)
            summary = train(progress)
    if not is_main_process():
        return
    with writing_stdout():
        if options["dry_run"]:
            _show_estimate(*found, form)
        elif form == "json":
            print(json.dumps(summary.to_json(), ensure_ascii=False), file=sys.stdout)
        elif not quiet:
            _show_record(summary, options["out"], usage)


def _show_estimate(estimate: Estimate, facts: dict[str, Any], form: str) -> None:
    """Say what a training would take."""
    from dataclasses import asdict

    if form == "json":
        content = {**asdict(estimate), "seconds": estimate.seconds, "facts": facts}
        print(json.dumps(content), file=sys.stdout)
        return
    for name, value in facts.items():
        print(f"{name}: {_shown(value)}", file=sys.stdout)
    print(
        f"{plural(estimate.n_steps, 'step')}, {estimate.seconds_per_step:.2f} s each, and "
        f"{plural(estimate.n_evaluations, 'evaluation')}, "
        f"{estimate.seconds_per_evaluation:.1f} s each: about {clock(estimate.seconds)}. "
        "Nothing was written.",
        file=sys.stdout,
    )


def _show_record(summary: TrainingSummary, folder: str, next_command: str) -> None:
    """Say how a training went, for people."""
    record, before = summary.record, summary.before
    print(", ".join(f"{n}: {_shown(v)}" for n, v in summary.facts.items()), file=sys.stdout)
    for name, value in record.measures.items():
        was = f" (before {before[name]:.4f})" if name in before else ""
        print(f"{name.replace('_', ' ')}: {value:.4f}{was}", file=sys.stdout)
    stopped = ", stopped early" if record.stopped_early else ""
    if not record.is_better:
        print(
            f"The {record.goal.replace('_', ' ')} is no better than before: give more data, or "
            "another --learning-rate.",
            file=sys.stdout,
        )
    print(
        f"The best of {plural(record.n_steps, 'step')} was step {record.best_step:,}{stopped}; "
        f"{clock(record.seconds)} on {record.device} in {record.precision}.",
        f"{folder} holds the model, metrics.json, learning-curve.png and README.md. Next:",
        f"  {next_command}",
        sep="\n",
        file=sys.stdout,
    )


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
