"""What every head is to those that run it, and `head.json`, which says what a folder holds.

A head's folder is a model folder (config.json, model.safetensors, tokenizer.json, ...) with
head.json and, where a task has weights of its own beside the encoder's, head.safetensors. Only
pyarrow and the standard library are needed here; torch is loaded when a head is opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from embedder.errors import ModelError
from embedder.specs import Precision

HEAD_FILE = "head.json"
HEAD_WEIGHTS = "head.safetensors"
FORMAT = 2
DEFAULT_BATCH_TOKENS = 4096

Label = str | int | bool


class HeadTask(StrEnum):
    """What a head does."""

    CLASSIFY = "classify"
    CLASSIFY_PAIRS = "classify-pairs"
    TAG = "tag"
    ANSWER = "answer"
    GENERATE = "generate"


INPUTS: dict[HeadTask, tuple[str, ...]] = {
    HeadTask.CLASSIFY: ("text",),
    HeadTask.CLASSIFY_PAIRS: ("text1", "text2"),
    HeadTask.TAG: ("tokens",),
    HeadTask.ANSWER: ("question", "context"),
    HeadTask.GENERATE: ("text",),
}
"""The columns that each task reads, by their roles."""

OPENERS: dict[HeadTask, str] = {
    HeadTask.CLASSIFY: "embedder.heads.classify:open_classifier",
    HeadTask.CLASSIFY_PAIRS: "embedder.heads.classify:open_classifier",
    HeadTask.TAG: "embedder.heads.tag:open_tagger",
    HeadTask.ANSWER: "embedder.heads.answer:open_answerer",
    HeadTask.GENERATE: "embedder.heads.generate:open_generator",
}
"""What opens a head of each task: `function(folder, file, options) -> Head`."""


def input_type(role: str) -> pa.DataType:
    """The type that the values of a role have: a list of texts for tokens, else a text."""
    return pa.list_(pa.string()) if role == "tokens" else pa.string()


@dataclass(frozen=True, kw_only=True)
class HeadFile:
    """What head.json says.

    Args:
        task: what the head does.
        max_tokens: the window it was trained with, in pieces, special tokens included.
        labels: the labels in the order of the outputs, of one type; empty for tasks without.
        columns: the names that the columns had in training, by their roles.
        settings: what else the task keeps, and reads again when the head is opened.
    """

    task: HeadTask
    max_tokens: int
    labels: tuple[Label, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write head.json into a folder."""
        content = {"format": FORMAT, **asdict(self)}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / HEAD_FILE).write_text(f"{text}\n", "utf-8")


def is_head(folder: str | Path) -> bool:
    """Whether a folder holds a head, so that `predict` takes it."""
    return (Path(folder) / HEAD_FILE).is_file()


def read_head_file(folder: str | Path) -> HeadFile:
    """What the head.json of a folder says.

    Raises:
        ModelError: there is none, or it is damaged or of another format.
    """
    path = Path(folder) / HEAD_FILE
    if not path.is_file():
        raise ModelError(
            f"{folder} has no {HEAD_FILE}: it is no folder of a head.",
            "Name one that embedder finetune classify, classify-pairs, tag, answer or generate "
            "made.",
        )
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, and {FORMAT} is known")
        found = HeadFile(
            task=HeadTask(content["task"]),
            max_tokens=int(content["max_tokens"]),
            labels=tuple(content["labels"]),
            columns=dict(content["columns"]),
            settings=dict(content["settings"]),
        )
        _check_labels(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ModelError(f"{path} cannot be read: {cause}.", "Copy the folder again.") from error
    return found


def _check_labels(file: HeadFile) -> None:
    kinds = {type(label) for label in file.labels}
    if len(kinds) > 1 or not kinds <= {str, int, bool}:
        raise ValueError("its labels are not all texts, all whole numbers or all true or false")
    if len(set(file.labels)) != len(file.labels):
        raise ValueError("a label is there twice")


def head_digest(folder: str | Path) -> str:
    """Hex sha256 over all of a folder that changes an answer: weights, tokenizer and settings.

    Raises:
        ModelError: a file cannot be read.
    """
    root, total = Path(folder), hashlib.sha256()
    kept = sorted([*root.rglob("*.json"), *root.rglob("*.safetensors"), *root.rglob("*.txt")])
    try:
        for path in kept:
            if path.name != "metrics.json":  # it says how training went
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                total.update(f"{path.relative_to(root).as_posix()}:{content};".encode())
    except OSError as error:
        raise ModelError(f"{root} cannot be read: {error.strerror or error}.") from error
    return total.hexdigest()


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """How a head is run.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, `mps`; the fastest there is when None.
        precision: fp32 when None.
        threads: CPU threads; all cores when None.
        max_batch_tokens: padded tokens of one forward pass.
        settings: in place of those in head.json, such as the number of beams.
    """

    device: str | None = None
    precision: Precision | None = None
    threads: int | None = None
    max_batch_tokens: int = DEFAULT_BATCH_TOKENS
    settings: Mapping[str, Any] = field(default_factory=dict)


class Head(Protocol):
    """A model that answers for rows."""

    @property
    def task(self) -> HeadTask:
        """What it does."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The roles of the columns that it reads; see `input_type` for their types."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of its answers."""

    @property
    def description(self) -> str:
        """The engine, its precision and its device, in words."""

    def predict(self, rows: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
        """Answers of `schema`, one for each row, in order.

        An answer depends on its own row alone, to the last bit: not on which other rows are
        asked for with it, or on their order.

        Args:
            rows: the values of each role of `inputs`, all equally many and none null.

        Raises:
            EngineError: the engine failed.
        """


def open_head(folder: str | Path, options: HeadOptions | None = None) -> Head:
    """Open the head in a folder.

    Raises:
        ModelError: the folder holds none, or it is damaged.
        EngineError: the device is not there, or the precision is not torch's.
    """
    file = read_head_file(folder)
    module, _, function = OPENERS[file.task].partition(":")
    opened: Head = getattr(import_module(module), function)(
        Path(folder), file, options or HeadOptions()
    )
    return opened
