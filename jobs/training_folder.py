"""The folder of a trained model: made beside its final name, and resumed where a run was killed.

<out>.training/     while it is trained: request.json, checkpoints, a lock
<out>/              the model, metrics.json, learning-curve.png and README.md (the model card)
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embedder.errors import IndexLockedError, OutputError, RequestError
from embedder.training.checkpoints import checkpoint_step, disk_errors, find_checkpoint
from embedder.training.devices import (
    is_main_process,
    memory_errors,
    n_processes,
    wait_for_main_process,
)
from embedder.training.loop import train
from embedder.training.options import TrainingOptions
from embedder.training.run import Measures, TrainingRecord, TrainingRun
from indexes.durable import make_folder, replace_file
from indexes.lock import hold_lock
from jobs.learning_curve import render_curve
from jobs.model_card import CARD_FILE, CURVE_FILE, write_card
from jobs.output import check_new_folder, finite
from jobs.progress import Progress
from jobs.training_summary import TrainingSummary
from jobs.working_folder import publish_model, refuse_foreign, training_room_of

METRICS_FILE, REQUEST_FILE = "metrics.json", "request.json"
MODEL = "model"
ROOM_FILES = {"lock", REQUEST_FILE}


def train_folder(
    prepare: Callable[[Path], TrainingRun],
    options: TrainingOptions,
    out: str | Path,
    *,
    request: Mapping[str, Any],
    names: Mapping[str, Any],
    title: str,
    usage: str,
    progress: Progress,
    started: float,
    restart: bool = False,
) -> TrainingSummary:
    """Train, and write the model folder; it appears when it is complete.

    A run that was killed goes on from its newest checkpoint when it is started again with the
    same request.

    Args:
        prepare: makes the run; it may keep files of its own in the folder that it is given.
        options: how to train.
        out: the folder, which must not be there.
        request: all that changes the result, JSON-able: data by their digests, settings.
        names: what data and models were called, which may be otherwise when a run goes on.
        title: what is trained, for the model card.
        usage: the command that uses the folder, for the model card.
        progress: told of what happens.
        started: when the job began, by time.monotonic.
        restart: begin anew where a run with another request, or this one, was killed.

    Raises:
        EmbedderError: see the subclasses. What was reached before can be resumed.
    """
    asked = {**names, **request}
    _remove_finished(Path(out), asked)
    final = check_new_folder(out)
    if restart and n_processes() > 1:
        raise RequestError(
            "Several processes cannot begin anew where an unfinished run is.",
            f"Remove {training_room_of(final)}, and start them without --restart.",
        )
    with training_room(final, request, restart=restart) as room:
        with memory_errors(options):
            run = prepare(room)
        checkpoint = find_checkpoint(room)
        if checkpoint is not None:
            progress.note(
                f"going on from step {checkpoint_step(checkpoint):,}, where it was stopped"
            )
        progress.start_stage("training")
        record = train(run, options, room, _reporter(progress))
        if is_main_process():
            progress.start_stage("writing")
            _publish(run, record, room, final, title=title, usage=usage, request=asked)
            shutil.rmtree(room, ignore_errors=True)
    return TrainingSummary(
        folder=final, record=record, facts=run.facts, seconds=time.monotonic() - started
    )


@contextlib.contextmanager
def training_room(final: Path, request: Mapping[str, Any], *, restart: bool) -> Iterator[Path]:
    """The folder beside the final one in which a run keeps what it is resumed from; it stays where
    there is something to go on from. Of several processes the main one alone holds its lock.

    Raises:
        IndexLockedError: another run is at it.
        RequestError: a run with another request was left there.
        OutputError: it cannot be written.
    """
    room = training_room_of(final)
    if not is_main_process():
        _wait_for(room / REQUEST_FILE, request)
        yield room
        return
    try:
        make_folder(final.parent)
        refuse_foreign(room, ROOM_FILES.__contains__)
        room.mkdir(exist_ok=True)
        with hold_lock(room / "lock"):
            _enter(room, request, restart=restart)
            try:
                yield room
            finally:
                # Nothing to go on from, as after an error in the data, is of no use.
                if room.exists() and {path.name for path in room.iterdir()} <= ROOM_FILES:
                    shutil.rmtree(room, ignore_errors=True)
    except OSError as error:
        if not _is_of(error, room):
            raise
        raise OutputError(f"{final} cannot be written: {error.strerror or error}.") from error


def _remove_finished(final: Path, asked: Mapping[str, Any]) -> None:
    """Remove what a run is resumed from whose folder is in place: it was killed right after."""
    room = training_room_of(final)
    if not is_main_process() or not (final.exists() and (room / REQUEST_FILE).is_file()):
        return
    with contextlib.suppress(OSError, ValueError, KeyError, IndexLockedError):
        begun = json.loads((room / REQUEST_FILE).read_text("utf-8"))
        made = json.loads((final / METRICS_FILE).read_text("utf-8"))["request"]
        wanted = json.loads(json.dumps(finite(dict(asked))))
        if made == wanted and begun.items() <= made.items() and not (room / MODEL).exists():
            with hold_lock(room / "lock"):
                shutil.rmtree(room)


def _is_of(error: OSError, room: Path) -> bool:
    """Whether an error is of writing here, and not of what is read elsewhere."""
    if error.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return True  # NumPy gives no number
    if not isinstance(error.filename, str | os.PathLike):
        return False
    path = Path(error.filename).resolve()
    return path.is_relative_to(room.resolve()) or path in room.resolve().parents


def _enter(room: Path, request: Mapping[str, Any], *, restart: bool) -> None:
    """Begin, or go on with a run that had the same request."""
    path = room / REQUEST_FILE
    wanted = json.loads(json.dumps(request))
    if restart:
        _empty(room)
    if path.is_file():
        found = json.loads(path.read_text("utf-8"))
        if found != wanted:
            raise RequestError(
                f"{room} holds an unfinished run with other settings: "
                f"{_differences(found, wanted)}.",
                "Ask for the same again to go on with it, or add --restart to begin anew.",
            )
    else:
        replace_file(path, json.dumps(wanted, indent=1).encode())


def _empty(room: Path) -> None:
    for path in room.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def _differences(found: Any, wanted: Any) -> str:
    """What two requests differ in, named by their keys."""
    names = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    parts = []
    for name in names:
        old, new = found.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            parts += [f"{key} {old.get(key)!r}, now {new.get(key)!r}" for key in inner]
        elif name.endswith(" digest"):
            parts.append(f"the {name.removesuffix(' digest')} is not what it was")
        else:
            parts.append(f"{name} {old!r}, now {new!r}")
    return "; ".join(parts)


def _wait_for(path: Path, request: Mapping[str, Any]) -> None:
    """Wait until the main process has begun with this request."""
    wanted = json.loads(json.dumps(request))

    def has_begun() -> bool:
        with contextlib.suppress(OSError, ValueError):
            return bool(json.loads(path.read_text("utf-8")) == wanted)
        return False

    wait_for_main_process(has_begun)


def _reporter(progress: Progress) -> Callable[[int, int, Mapping[str, float]], None]:
    """Shows steps and the newest measures."""

    def report(step: int, n_steps: int, measures: Mapping[str, float]) -> None:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in measures.items())
        progress.stage = f"training ({shown})" if shown else "training"
        progress.unit = "steps"
        progress.reach(step, n_steps)

    return report if is_main_process() else lambda *_: None


def _publish(
    run: TrainingRun,
    record: TrainingRecord,
    room: Path,
    final: Path,
    *,
    title: str,
    usage: str,
    request: Mapping[str, Any],
) -> None:
    """Write the folder in the room, and rename it to its final name, durably."""
    made = room / MODEL
    shutil.rmtree(made, ignore_errors=True)  # of a run that was killed here
    made.mkdir()
    with disk_errors():
        run.save(made)
    (made / METRICS_FILE).write_text(metrics_json(record, run.facts, request), "utf-8")
    (made / CURVE_FILE).write_bytes(render_curve(record.curve, record.goal, title))
    (made / CARD_FILE).write_text(write_card(title, usage, request, record, run.facts), "utf-8")
    publish_model(made, final)


def metrics_json(
    record: TrainingRecord, facts: Mapping[str, Any], request: Mapping[str, Any]
) -> str:
    """All of a training in numbers, as JSON."""
    content = {
        "measures": record.measures,
        "before": _before(record),
        **{k: v for k, v in asdict(record).items() if k not in ("measures", "curve")},
        "facts": dict(facts),
        "request": dict(request),
        "curve": [asdict(point) for point in record.curve],
    }
    return json.dumps(finite(content), indent=1, ensure_ascii=False) + "\n"


def _before(record: TrainingRecord) -> Measures:
    return record.curve[0].measures
