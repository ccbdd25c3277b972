"""`embedder finetune`: a model that is trained further for a task."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embedder.checkpoint import open_checkpoint
from embedder.errors import RequestError, SourceError
from embedder.model_location import DEFAULT_MODEL
from embedder.training.options import TrainingOptions
from embedder.training.run import Estimate, TrainingRun
from embedder.training.task import TaskRequest
from indexes.durable import record_file
from jobs.progress import Progress
from jobs.training_summary import TrainingSummary

TASKS = {
    "answer": "embedder.training.tasks.answer:prepare_answer",
    "classify": "embedder.training.tasks.classify:prepare_classify",
    "classify-pairs": "embedder.training.tasks.classify:prepare_classify_pairs",
    "generate": "embedder.training.tasks.generate:prepare_generate",
    "retrieval": "jobs.finetune_retrieval:prepare_retrieval",
    "senses": "embedder.training.tasks.senses:prepare_senses",
    "senses-unsupervised": (
        "embedder.training.tasks.senses_unsupervised:prepare_senses_unsupervised"
    ),
    "similarity": "embedder.training.tasks.similarity:prepare_similarity",
    "tag": "embedder.training.tasks.tag:prepare_tag",
}
"""What makes the training run of a task, by the task's name."""

_PREDICT = "embedder predict {out} FILE.parquet --out predictions.parquet"
_INDEX = "embedder index corpus.parquet --model {out}"

USAGES = {
    "answer": _PREDICT,
    "classify": _PREDICT,
    "classify-pairs": _PREDICT,
    "generate": _PREDICT,
    "retrieval": _INDEX,
    "senses": _INDEX,
    "senses-unsupervised": _INDEX,
    "similarity": _INDEX,
    "tag": _PREDICT,
}
"""The command that uses what came out."""

RESUMABLE = ("device", "threads", "precision")
"""Options that a resumed run may have otherwise; the precision is kept beside its checkpoints."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """What to train, on what, and where to.

    Args:
        task: a name of `TASKS`.
        train: Parquet with the examples.
        out: the model folder, which must not be there.
        dev: Parquet to evaluate on; None to hold out a tenth of the examples.
        model: where to start: `default`, a model folder, or a name on the hub.
        columns: names of columns by what they hold, where they are not the usual ones.
        settings: the task's own options.
        training: how to train.
        restart: begin anew where an unfinished run is there.

    Raises:
        RequestError: there is no such task.
        TypeError: one file, and not several, is named in `train`.
    """

    task: str
    train: Sequence[str | Path]
    out: str | Path
    dev: str | Path | None = None
    model: str = DEFAULT_MODEL
    columns: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    restart: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.train, str | Path):
            raise TypeError(f"train is several files, as in ({str(self.train)!r},), and not one")
        if self.task not in TASKS:
            raise RequestError(
                f"There is no task {self.task!r}.", f"The tasks are {', '.join(TASKS)}."
            )


def finetune(options: FinetuneOptions, progress: Progress | None = None) -> TrainingSummary:
    """Train a model for a task, and write it; the folder appears when it is complete.

    Killed at any moment, the same call goes on where it was, and ends with the same weights.

    Args:
        options: what, on what and where to.
        progress: told of what happens; silent by default.

    Raises:
        EmbedderError: see the subclasses.
    """
    from jobs.training_folder import train_folder

    progress, started = progress or Progress(), time.monotonic()
    progress.start_stage("reading")
    return train_folder(
        lambda room: prepare_task(options, room=room, progress=progress),
        options.training,
        options.out,
        request=_request(options),
        names={
            "model": options.model,
            "train": [str(path) for path in options.train],
            "eval": None if options.dev is None else str(options.dev),
        },
        title=f"{Path(options.out).name}: {options.task}",
        usage=USAGES[options.task].format(out=options.out),
        progress=progress,
        restart=options.restart,
        started=started,
    )


def estimate_finetune(
    options: FinetuneOptions, progress: Progress | None = None
) -> tuple[Estimate, dict[str, Any]]:
    """What `finetune` would take, from a few steps, and the facts of the data; writes nothing.

    Args:
        options: what, on what and where to.
        progress: told of what happens; silent by default.

    Raises:
        EmbedderError: see the subclasses; all that finetune would raise before it trains.
    """
    from embedder.training.estimate import estimate
    from jobs.output import check_new_folder

    check_new_folder(options.out)
    progress = progress or Progress()
    progress.start_stage("reading")
    run = prepare_task(options, progress=progress)
    progress.start_stage("timing a few steps")
    return estimate(run, options.training), run.facts


def prepare_task(
    options: FinetuneOptions, *, room: Path | None = None, progress: Progress | None = None
) -> TrainingRun:
    """The training run of a task, its data read and checked.

    Args:
        options: what is asked for.
        room: where the task may keep files; None where nothing may be written.
        progress: told of what is done before training.
    """
    module, _, name = TASKS[options.task].partition(":")
    prepare = getattr(importlib.import_module(module), name)
    request = TaskRequest(
        model=options.model,
        train=tuple(map(Path, options.train)),
        dev=None if options.dev is None else Path(options.dev),
        options=options.training,
        columns=options.columns,
        settings=options.settings,
        room=room,
        report=_reporter(progress or Progress()),
    )
    run: TrainingRun = prepare(request)
    return run


def _reporter(progress: Progress) -> Callable[[str, int, int], None]:
    def report(name: str, n_done: int, n_total: int) -> None:
        if progress.stage != name:
            progress.start_stage(name, n_total, "texts")
        progress.reach(n_done, n_total)

    return report


def _request(options: FinetuneOptions) -> dict[str, Any]:
    """All that changes the result; the data and the model by their content."""
    spec = open_checkpoint(options.model).spec()
    training = {k: v for k, v in asdict(options.training).items() if k not in RESUMABLE}
    return {
        "task": options.task,
        "model digest": spec.fingerprint,
        "train digest": [_digest(path) for path in options.train],
        "eval digest": None if options.dev is None else _digest(options.dev),
        "columns": dict(options.columns),
        "settings": dict(options.settings),
        "training": training,
    }


def _digest(path: str | Path) -> str:
    try:
        return record_file(Path(path)).sha256
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}.", "Name a Parquet file that is there."
        ) from error
