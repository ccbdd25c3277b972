"""`embedder evaluate answer` and `generate`: answers out of texts, and texts that are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from embedder.answer_measures import measure_answers
from embedder.answered_questions import AnswerColumns, read_answered_questions
from embedder.errors import RequestError
from embedder.generation_pairs import read_generation_pairs
from embedder.heads.protocol import HeadOptions, HeadTask, open_head
from embedder.rouge import ROUGE_TYPES, first_sentence, measure_rouge
from jobs.evaluate_heads import predict_column, read_file_of
from jobs.progress import Progress

ANSWER_COLUMNS = ("questions", "n", "exact_match", "f1")
GENERATE_COLUMNS = ("texts", "n", *ROUGE_TYPES)

WRITTEN_AT_ONCE = 64
"""Texts between two signs of progress; writing takes long."""


@dataclass(frozen=True, kw_only=True)
class AnswerReport:
    """What was measured.

    Args:
        title: the data, the head and what ran it.
        rows: measures by the names of their columns.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]


def evaluate_answerer(
    folder: str | Path,
    data: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    options: HeadOptions | None = None,
    progress: Progress | None = None,
) -> AnswerReport:
    """Compare the answers that a head finds in texts with those that people gave.

    Exact match and F1 as SQuAD defines them, over all questions, and where some have no answer,
    over those with one and without one too.

    Args:
        folder: the head.
        data: Parquet with questions; it need not say where in the texts the answers stand.
        columns: names of columns by role, where they are not those of the head's training.
        options: how the head is run.
        progress: told of what happens; silent by default.

    Raises:
        ModelError: the folder holds no head, or is damaged.
        RequestError: the head is for another task.
        SourceError, ColumnError, LabelError: the data cannot be used.
    """
    file = read_file_of(folder, HeadTask.ANSWER)
    roles = {field.name for field in fields(AnswerColumns)}
    names = {role: name for role, name in file.columns.items() if role in roles}
    asked = AnswerColumns(**{**names, **(columns or {})})
    questions = read_answered_questions(data, asked, with_starts=False)
    head = open_head(folder, options)
    rows = {
        "question": [question.question for question in questions],
        "context": [question.context for question in questions],
    }
    found = predict_column(head, rows, "answer", progress)
    wanted = [question.texts for question in questions]
    return AnswerReport(
        title=f"{data}; {folder}, {head.description}", rows=_answer_rows(found, wanted)
    )


def _answer_rows(
    found: Sequence[str | None], wanted: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    groups = {"all": list(range(len(wanted)))}
    with_answer = [i for i, texts in enumerate(wanted) if texts]
    without = [i for i, texts in enumerate(wanted) if not texts]
    if with_answer and without:
        groups |= {"with an answer": with_answer, "without one": without}
    rows = []
    for name, numbers in groups.items():
        measures = measure_answers([found[i] for i in numbers], [wanted[i] for i in numbers])
        kept = {column: measures[column] for column in ("exact_match", "f1")}
        rows.append({"questions": name, "n": len(numbers), **kept})
    return rows


def evaluate_generator(
    folder: str | Path,
    data: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    options: HeadOptions | None = None,
    progress: Progress | None = None,
) -> AnswerReport:
    """Compare the texts that a head writes with those that people wrote, by ROUGE, and what the
    first sentence of each text would get with them.

    Args:
        folder: the head.
        data: Parquet with texts and targets; of several targets the nearest counts.
        columns: names of columns by role, where they are not those of the head's training.
        limit: only the first so many rows.
        options: how the head is run.
        progress: told of what happens; silent by default.

    Raises:
        ModelError: the folder holds no head, or is damaged.
        RequestError: the head is for another task, or the limit leaves nothing.
        SourceError, ColumnError, LabelError: the data cannot be used.
    """
    if limit is not None and limit < 1:
        raise RequestError(f"--limit {limit} leaves nothing to measure.", "Give at least 1.")
    file = read_file_of(folder, HeadTask.GENERATE)
    pairs = read_generation_pairs(data, {**file.columns, **(columns or {})}).pairs[:limit]
    head = open_head(folder, options)
    sources, wanted = [pair.source for pair in pairs], [pair.targets for pair in pairs]
    found = predict_column(
        head, {"text": sources}, "generated", progress, n_at_once=WRITTEN_AT_ONCE
    )
    texts = {"generated": found, "first sentence": [first_sentence(text) for text in sources]}
    rows = [
        {"texts": name, "n": len(pairs), **measure_rouge(written, wanted)}
        for name, written in texts.items()
    ]
    return AnswerReport(title=f"{data}; {folder}, {head.description}", rows=rows)
