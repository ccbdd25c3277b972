"""`embedder predict`: a head's answers for every row of a corpus, streamed into a file.

The rows come in windows, whose bounds the rows alone decide; windows make parts, which are kept
until all are there; the parts become the file. So a run that was killed and run again ends
byte-identical to one that was not.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedder.corpus import Corpus, Shard, read_plain_rows, shard_digest
from embedder.errors import ModelError, OutputError, RequestError
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
from jobs.output import appearing, check_file_name
from jobs.predict_columns import PredictColumns, open_columns
from jobs.predict_parts import Parts, check_request, open_parts
from jobs.predict_windows import Window, WindowLimits, cut_windows
from jobs.progress import Progress
from jobs.row_files import RowFormat, choose_row_format, write_tables

QUEUE_BATCHES = 4
QUEUE_WINDOWS = 2

WINDOW_ROWS = 4096
GENERATED_ROWS = 128
"""Most rows of a window, and where the answer is a text, which takes longer."""

GROUP_ROWS = 16_384
GROUP_BYTES = 64 << 20
"""A row group of the file has at least so many rows or bytes."""

SETTINGS: Mapping[str, tuple[HeadTask, ...]] = {
    "probabilities": (HeadTask.CLASSIFY, HeadTask.CLASSIFY_PAIRS),
    "null_threshold": (HeadTask.ANSWER,),
    "beams": (HeadTask.GENERATE,),
}
"""Settings that a run may have otherwise than head.json, and the tasks that have them."""

UNANSWERED = "no answer: "
"""What stands before the reason of a row without an answer, where it is counted."""

FOUND_NONE = "the head found none"
"""The reason where a head may say so, as of a question that a text does not answer."""


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


@dataclass(frozen=True, kw_only=True)
class PredictSummary:
    """What was written.

    Args:
        out: the file.
        task: what the head does.
        engine: what computed the answers.
        n_rows: rows written, one for each row of the sources.
        n_answered: those of them that have an answer.
        n_before: those that an earlier run had done.
        counts: rows without an answer, by reason, and values that were no valid UTF-8.
        rows_per_second: of this run, once the head was open.
        seconds: time that this run took.
    """

    out: str
    task: str
    engine: str
    n_rows: int
    n_answered: int
    n_before: int
    counts: dict[str, int]
    rows_per_second: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


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


def predict_rows(options: PredictOptions, progress: Progress | None = None) -> PredictSummary:
    """Write a head's answers beside the rows of the sources, in order, in bounded memory.

    Each row of the sources has a row in the file. One that cannot be answered for, because what
    the head reads is null, empty or blank, has null in place of an answer, and is counted. What
    is done is kept in a folder beside the file; the same request again goes on from there.

    Args:
        options: which head answers, for what, and where the answers go.
        progress: told of what happens; silent by default.

    Raises:
        ModelError: the folder holds no head, or it is damaged.
        EngineError: the engine failed, or the device is not there.
        ColumnError: a column is missing or of a wrong type.
        SourceError: a source cannot be read, has no rows, or changed while it was read.
        RequestError: another request was begun for the same file.
        IndexLockedError: another run makes the same file.
        OutputError: the file cannot be written.
    """
    started, progress = time.monotonic(), progress or Progress()
    progress.start_stage("opening")
    plan = plan_predict(options)
    request = {**plan.request, "the sources": _digest(plan.corpus, plan.shards, progress)}
    with open_parts(plan.out, plan.columns.schema, request, restart=options.restart) as parts:
        n_before = parts.n_rows
        if n_before:
            progress.note(f"{n_before:,} of {plan.n_rows:,} rows are done already.")
        answering = time.monotonic()
        _answer_rest(plan, parts, progress)
        rate = (parts.n_rows - n_before) / max(time.monotonic() - answering, 1e-9)
        _write(plan, parts, progress)
    counts = dict(sorted(parts.counts.items()))
    n_without = sum(n for reason, n in counts.items() if reason.startswith(UNANSWERED))
    return PredictSummary(
        out=str(plan.out),
        task=str(plan.head.task),
        engine=plan.head.description,
        n_rows=parts.n_rows,
        n_answered=parts.n_rows - n_without,
        n_before=n_before,
        counts=counts,
        rows_per_second=rate,
        seconds=time.monotonic() - started,
    )


def plan_predict(options: PredictOptions) -> PredictPlan:
    """Open and check all that a run needs; nothing is written.

    Raises:
        EmbedderError: see `predict_rows`.
    """
    if options.limit is not None and options.limit < 1:
        raise RequestError(f"--limit {options.limit} leaves nothing to read.", "Give at least 1.")
    out, form = _check_out(options.out), choose_row_format(options.format, options.out)
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
    if any(Path(source.file.path).resolve() == out.resolve() for source in corpus.sources):
        raise OutputError(f"{out} is one of the sources.", "Name another file with --out.")
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


def _check_out(out: str | Path) -> Path:
    """Where to write.

    Raises:
        OutputError: it is a folder, or lies in one that is not there.
    """
    final = check_file_name(out)
    if not final.parent.is_dir():
        raise OutputError(
            f"{out} cannot be written: there is no folder {final.parent}.", "Make it first."
        )
    return final


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


def _digest(corpus: Corpus, shards: Sequence[Shard], progress: Progress) -> str:
    """Identity of what is read."""
    progress.start_stage("looking at the sources", sum(shard.n_rows for shard in shards), "rows")
    total = hashlib.sha256()
    for shard in shards:
        total.update(shard_digest(shard, corpus).encode())
        progress.count_documents(shard.n_rows)
    return total.hexdigest()


def _answer_rest(plan: PredictPlan, parts: Parts, progress: Progress) -> None:
    """Answer for the rows that are not done yet."""
    progress.start_stage("predicting", plan.n_rows - parts.n_rows, "rows")
    windows = plan.windows(parts.n_rows)
    with contextlib.closing(windows):
        for window in windows:
            table = answer(plan.head, window, plan.columns.schema)
            parts.add(table, _counts(plan.head, window, table))
            progress.count_documents(table.num_rows)
    parts.commit()


def _counts(head: Head, window: Window, table: pa.Table) -> Counter[str]:
    """What is to be counted of a window whose answers are the last columns of a table."""
    n_null = table.column(-len(head.schema)).null_count
    reasons = window.counts + Counter({FOUND_NONE: n_null - window.counts.total()})
    return window.defects + Counter({f"{UNANSWERED}{why}": n for why, n in reasons.items()})


def answer(head: Head, window: Window, schema: pa.Schema) -> pa.Table:
    """The rows of a window with their answers, null where there is none."""
    n_asked = len(next(iter(window.inputs.values())))
    if n_asked:
        found = head.predict(window.inputs)
        columns = [column.take(window.places) for column in found.columns]
    else:
        columns = [pa.nulls(len(window.places), kind.type) for kind in head.schema]
    return pa.Table.from_arrays([*window.kept.columns, *columns], schema=schema)


def _write(plan: PredictPlan, parts: Parts, progress: Progress) -> None:
    """Make the file of the parts."""
    progress.start_stage("writing", parts.n_rows, "rows")

    def counted() -> Iterator[pa.Table]:
        for table in _grouped(parts.tables()):
            yield table
            progress.count_documents(table.num_rows)

    with appearing(plan.out) as [file]:
        write_tables(counted(), plan.columns.schema, plan.format, file)


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables that are large enough for a row group each; the last may be smaller."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        n_bytes = sum(table.nbytes for table in waiting)
        if n_bytes >= GROUP_BYTES or sum(table.num_rows for table in waiting) >= GROUP_ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()
