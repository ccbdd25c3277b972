"""What `embedder predict` is asked for, and what it needs, opened and checked."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedder.corpus import Corpus, Shard, read_plain_rows
from embedder.errors import ModelError, RequestError
from embedder.heads.protocol import (
    Head,
    HeadFile,
    HeadOptions,
    HeadTask,
    head_digest,
    is_head,
    open_head,
    read_head_file,
)
from embedder.pipeline import run_ahead
from jobs.output import check_file_name
from jobs.predict_columns import PredictColumns, open_columns
from jobs.predict_parts import check_request
from jobs.predict_windows import Window, WindowLimits, cut_windows
from jobs.row_files import RowFormat, choose_row_format

QUEUE_BATCHES = 4
QUEUE_WINDOWS = 2

WINDOW_ROWS = 4096
GENERATED_ROWS = 128
"""Most rows of a window, and where the answer is a text, which takes longer."""

SETTINGS: Mapping[str, tuple[HeadTask, ...]] = {
    "probabilities": (HeadTask.CLASSIFY, HeadTask.CLASSIFY_PAIRS),
    "null_threshold": (HeadTask.ANSWER,),
    "beams": (HeadTask.GENERATE,),
}
"""Settings that a run may have otherwise than head.json, and the tasks that have them."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Which head answers, for what, and where the answers go.

    Args:
        model: the folder of the head.
        sources: files, folders, globs and URLs.
        out: the file.
        format: how it is written; None for what the ending of `out` says.
        columns: names of the columns that the head reads, by their roles, where they are not
            those of its training or of the roles.
        kept: columns of the sources to write beside; None for all.
        limit: read only so many rows.
        head: how the head is run.
        restart: whether to begin anew what another run has begun.
    """

    model: str | Path
    sources: tuple[str, ...]
    out: str | Path
    format: RowFormat | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] | None = None
    limit: int | None = None
    head: HeadOptions = field(default_factory=HeadOptions)
    restart: bool = False


@dataclass(frozen=True)
class PredictPlan:
    """What a run needs, opened and checked.

    Args:
        out: the file.
        format: how it is written.
        head: the head.
        corpus: the sources.
        shards: the row groups to read.
        columns: which columns are read and written.
        request: what decides the bytes of the file, beside its format and the sources.
    """

    out: Path
    format: RowFormat
    head: Head
    corpus: Corpus
    shards: Sequence[Shard]
    columns: PredictColumns
    request: dict[str, Any]

    @property
    def n_rows(self) -> int:
        """Rows to answer for."""
        return sum(shard.n_rows for shard in self.shards)

    def windows(self, skip: int = 0) -> Generator[Window, None, None]:
        """The rows but the first `skip`, read and cut ahead of who takes them."""
        shards = list(self.shards)
        while shards and shards[0].n_rows <= skip:
            skip -= shards.pop(0).n_rows
        is_slow = self.head.task is HeadTask.GENERATE
        limits = WindowLimits(rows=GENERATED_ROWS if is_slow else WINDOW_ROWS)
        rows = run_ahead(read_plain_rows(shards, self.corpus), QUEUE_BATCHES)
        return run_ahead(cut_windows(rows, self.columns, limits, skip), QUEUE_WINDOWS)


def plan_predict(options: PredictOptions) -> PredictPlan:
    """Open and check all that a run needs; nothing is written.

    Raises:
        EmbedderError: see `predict_rows`.
    """
    if options.limit is not None and options.limit < 1:
        raise RequestError(f"--limit {options.limit} leaves nothing to read.", "Give at least 1.")
    out, form = check_file_name(options.out), choose_row_format(options.format, options.out)
    file = _read_head(options.model)
    _check_settings(options.head.settings, file.task)
    head = open_head(options.model, options.head)
    corpus, columns = open_columns(
        options.sources,
        head.inputs,
        head.schema,
        asked=options.columns,
        trained=file.columns,
        kept=options.kept,
    )
    check_file_name(out, [options.model, *(source.file.path for source in corpus.sources)])
    request = {
        "the head": head_digest(options.model),
        "its settings": dict(options.head.settings),
        "the engine": head.description,
        "the columns": [columns.roles, str(columns.schema)],
        "--limit": options.limit,
    }
    if not options.restart:
        check_request(out, request)
    return PredictPlan(out, form, head, corpus, corpus.shards(options.limit), columns, request)


def _read_head(folder: str | Path) -> HeadFile:
    """What head.json says.

    Raises:
        ModelError: there is none; the message says what the folder holds instead.
    """
    path = Path(folder)
    if is_head(path) or not path.is_dir():
        return read_head_file(path)
    kinds = {
        "manifest.json": "an index of embedder index",
        "vectors.npy": "vectors of words, of embedder words train",
        "config.json": "an encoder without a head, which embedder index and search take",
    }
    found = next((kind for name, kind in kinds.items() if (path / name).is_file()), "no model")
    raise ModelError(
        f"{folder} holds {found}; wanted is a head, with head.json.",
        "Make one with embedder finetune classify, classify-pairs, tag, answer or generate.",
    )


def _check_settings(settings: Mapping[str, Any], task: HeadTask) -> None:
    """Raise RequestError unless a task has some settings."""
    for name in settings:
        if task not in SETTINGS.get(name, ()):
            raise RequestError(
                f"--{name.replace('_', '-')} is given, and a head of the task {task} has no such "
                "setting.",
                "Leave it out.",
            )
