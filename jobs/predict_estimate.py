"""`embedder predict --dry-run`: what a run would do and take, from a sample; writes nothing."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from embedder.corpus import read_plain_rows
from embedder.heads.protocol import HeadTask
from jobs.predict import answer
from jobs.predict_parts import count_done
from jobs.predict_plan import PredictOptions, PredictPlan, plan_predict
from jobs.predict_windows import Window, WindowLimits, cut_windows

SAMPLE_SHARDS = 4
SAMPLE = WindowLimits(rows=256, characters=20_000)
GENERATED_ROWS = 8
"""Rows of one row group that are answered for where an answer is a text."""

WARM_ROWS = 4


@dataclass(frozen=True, kw_only=True)
class PredictEstimate:
    """What a run would do.

    Args:
        out: the file.
        task: what the head does.
        engine: what would compute the answers.
        columns: the columns that the head reads, by their roles.
        written: the columns of the file.
        n_rows: rows of the sources.
        n_before: those that an earlier run has done.
        share_unanswered: share of rows that cannot be answered for, in the sample.
        rows_per_second: measured on the sample.
        seconds: time for the rows that are left.
    """

    out: str
    task: str
    engine: str
    columns: dict[str, str]
    written: tuple[str, ...]
    n_rows: int
    n_before: int
    share_unanswered: float
    rows_per_second: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


def estimate_predict(options: PredictOptions) -> PredictEstimate:
    """Plan a run, answer for a sample of its rows, and scale up.

    Raises:
        EmbedderError: whatever the run itself would find wrong before it starts.
    """
    plan = plan_predict(options)
    windows = _sample(plan)
    first = {role: values[:WARM_ROWS] for role, values in windows[0].inputs.items()}
    if all(first.values()):
        plan.head.predict(first)  # the first batch pays for the engine's start
    started = time.perf_counter()
    for window in windows:
        answer(plan.head, window, plan.columns.schema)
    seconds = time.perf_counter() - started
    n_sampled = sum(len(window.places) for window in windows)
    n_before = 0 if options.restart else count_done(plan.out)
    return PredictEstimate(
        out=str(plan.out),
        task=str(plan.head.task),
        engine=plan.head.description,
        columns=plan.columns.roles,
        written=tuple(plan.columns.schema.names),
        n_rows=plan.n_rows,
        n_before=n_before,
        share_unanswered=sum(w.places.null_count for w in windows) / n_sampled,
        rows_per_second=n_sampled / seconds,
        seconds=seconds * (plan.n_rows - n_before) / n_sampled,
    )


def _sample(plan: PredictPlan) -> list[Window]:
    """The first rows of row groups that are spread over the sources."""
    step = -(-len(plan.shards) // SAMPLE_SHARDS)
    is_slow = plan.head.task is HeadTask.GENERATE
    limits = replace(SAMPLE, rows=GENERATED_ROWS) if is_slow else SAMPLE
    windows = []
    for shard in plan.shards[::step]:
        with closing(read_plain_rows([shard], plan.corpus)) as rows:
            windows.append(next(cut_windows(rows, plan.columns, limits)))
    return windows
