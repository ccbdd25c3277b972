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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from embedder.corpus import Corpus, Shard, shard_digest
from embedder.heads.protocol import Head
from jobs.output import appearing
from jobs.predict_parts import Parts, open_parts
from jobs.predict_plan import PredictOptions, PredictPlan, plan_predict
from jobs.predict_windows import Window
from jobs.progress import Progress
from jobs.row_files import write_tables

GROUP_ROWS = 16_384
GROUP_BYTES = 64 << 20
"""A row group of the file has at least so many rows or bytes."""

UNANSWERED = "no answer: "
"""What stands before the reason of a row without an answer, where it is counted."""

FOUND_NONE = "the head found none"
"""The reason where a head may say so, as of a question that a text does not answer."""


@dataclass(frozen=True, kw_only=True)
class PredictSummary:
    """What was written.

    Args:
        out: the file.
        task: what the head does.
        engine: what computed the answers.
        columns: the columns that the head read, by their roles.
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
    columns: dict[str, str]
    n_rows: int
    n_answered: int
    n_before: int
    counts: dict[str, int]
    rows_per_second: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


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
    for name in plan.columns.guessed:
        progress.note(f"The column {name!r} is read: the head's own name is not there.")
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
        columns=plan.columns.roles,
        n_rows=parts.n_rows,
        n_answered=parts.n_rows - n_without,
        n_before=n_before,
        counts=counts,
        rows_per_second=rate,
        seconds=time.monotonic() - started,
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
