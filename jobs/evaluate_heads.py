"""How well a head labels, pairs and words: measures of labelled rows, for each label and in all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from embedder.errors import LabelError, RequestError
from embedder.heads.columns import label_text
from embedder.heads.measures import (
    LabelScore,
    classification_measures,
    classification_scores,
    tagging_measures,
    tagging_scores,
)
from embedder.heads.protocol import (
    Head,
    HeadFile,
    HeadOptions,
    HeadTask,
    Label,
    open_head,
    read_head_file,
)
from embedder.labelled_texts import name_labels, read_labelled_texts
from embedder.tagged_sentences import read_tagged_sentences
from jobs.output import appearing, check_file_name
from jobs.progress import Progress
from jobs.tables import Format

CHUNK_ROWS = 1024
DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class HeadReport:
    """What was measured.

    Args:
        task: what the head does.
        model: its folder.
        data: the labelled file.
        engine: what computed the answers.
        n_rows: rows of the file.
        n_unseen: labels in it that were none in training, which no answer can hit.
        summary: measures over everything.
        labels: those of each label, or of each kind of span.
    """

    task: str
    model: str
    data: str
    engine: str
    n_rows: int
    n_unseen: int
    summary: Mapping[str, float]
    labels: Sequence[LabelScore]

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        values = {k: v for k, v in vars(self).items() if k not in ("summary", "labels")}
        labels = [score.to_json() for score in self.labels]
        return {**values, "summary": dict(self.summary), "labels": labels}


def evaluate_classifier(
    folder: str | Path,
    data: str | Path,
    task: HeadTask,
    *,
    columns: Mapping[str, str] | None = None,
    options: HeadOptions | None = None,
    progress: Progress | None = None,
) -> HeadReport:
    """Compare the labels that a head gives to texts or pairs with those in a file.

    Args:
        folder: the head.
        data: Parquet with labelled rows.
        task: `classify` or `classify-pairs`; the head's.
        columns: names of columns by role, where they are not those of the head's training.
        options: how the head is run.
        progress: told of what happens; silent by default.

    Raises:
        ModelError: the folder holds no head, or is damaged.
        RequestError: the head is for another task.
        SourceError, ColumnError, LabelError: the data cannot be used.
    """
    file = read_file_of(folder, task)
    head_columns = {**file.columns, **(columns or {})}
    head = open_head(folder, options)
    read = read_labelled_texts(data, head.inputs, head_columns)
    _refuse_unknown(read.labels, file, data, read.columns, "label")
    rows = dict(zip(head.inputs, read.sides, strict=True))
    found = predict_column(head, rows, "label", progress)
    return HeadReport(
        task=file.task,
        model=str(folder),
        data=str(data),
        engine=head.description,
        n_rows=len(read),
        n_unseen=_n_unseen(read.labels, file),
        summary=classification_measures(read.labels, found, file.labels),
        labels=classification_scores(read.labels, found),
    )


def evaluate_tagger(
    folder: str | Path,
    data: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    options: HeadOptions | None = None,
    progress: Progress | None = None,
) -> HeadReport:
    """Compare the tags that a head gives to words with those in a file.

    Args:
        folder: the head.
        data: Parquet with tagged sentences.
        columns: names of columns by role, where they are not those of the head's training.
        options: how the head is run.
        progress: told of what happens; silent by default.

    Raises:
        ModelError: the folder holds no head, or is damaged.
        RequestError: the head is for another task.
        SourceError, ColumnError, LabelError: the data cannot be used.
    """
    file = read_file_of(folder, HeadTask.TAG)
    read = read_tagged_sentences(data, {**file.columns, **(columns or {})})
    tags = [tag for row in read.tags for tag in row]
    _refuse_unknown(tags, file, data, read.columns, "tags")
    head = open_head(folder, options)
    found = predict_column(head, {"tokens": read.sentences}, "tags", progress)
    return HeadReport(
        task=file.task,
        model=str(folder),
        data=str(data),
        engine=head.description,
        n_rows=len(read),
        n_unseen=_n_unseen(tags, file),
        summary=tagging_measures(read.tags, found, file.labels),
        labels=tagging_scores(read.tags, found, file.labels),
    )


def _refuse_unknown(
    labels: Sequence[Label],
    file: HeadFile,
    data: str | Path,
    columns: Mapping[str, str],
    role: str,
) -> None:
    """Raise LabelError if the head knows none of the labels, so that no answer could be right."""
    there = list(dict.fromkeys(labels))
    if _n_unseen(there, file) == len(there):
        raise LabelError(
            f"None of the labels in the column {columns[role]!r} of {data} "
            f"({name_labels(there, 5)}) is one of the head's: {name_labels(file.labels)}.",
            f"Name the column that has those with --{role}.",
        )


def _n_unseen(labels: Iterable[Label], file: HeadFile) -> int:
    """How many different labels were none in training, told apart as measures tell them."""
    return len(set(map(label_text, labels)) - set(map(label_text, file.labels)))


def read_file_of(folder: str | Path, task: HeadTask) -> HeadFile:
    """What the head.json of a folder says.

    Raises:
        ModelError: there is none, or it is damaged.
        RequestError: the head is for another task.
    """
    file = read_head_file(folder)
    if file.task is not task:
        raise RequestError(
            f"{folder} holds a head for {file.task}, and {task} was asked for.",
            f"Run: embedder evaluate {file.task} {folder} ...",
        )
    return file


def predict_column(
    head: Head,
    rows: Mapping[str, Sequence[Any]],
    column: str,
    progress: Progress | None,
    *,
    n_at_once: int = CHUNK_ROWS,
) -> list[Any]:
    """One column of the answers for all rows, some rows at a time."""
    progress = progress or Progress()
    n_rows = len(next(iter(rows.values())))
    progress.start_stage("predicting", n_rows, "rows")
    found: list[Label] = []
    for start in range(0, n_rows, n_at_once):
        part = {role: values[start : start + n_at_once] for role, values in rows.items()}
        found += head.predict(part)[column].to_pylist()
        progress.reach(len(found), n_rows)
    return found


def write_head_report(report: HeadReport, form: Format, out: str | None, stream: TextIO) -> None:
    """Write a report as text, JSON or CSV to a file, which appears when it is complete, or to a
    stream.

    Raises:
        OutputError: the file cannot be written.
    """
    if out is None:
        _write(report, form, stream)
        return
    with appearing(check_file_name(out)) as [file]:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        _write(report, form, text)
        text.detach()  # written out, and left open


def _write(report: HeadReport, form: Format, stream: TextIO) -> None:
    if form is Format.JSON:
        print(json.dumps(report.to_json(), indent=1, ensure_ascii=False), file=stream)
    elif form is Format.CSV:
        _write_csv(report, stream)
    else:
        _write_text(report, stream)


def _write_csv(report: HeadReport, stream: TextIO) -> None:
    """A row for each label, and one called `all`, which has no label, for everything."""
    fields = ["row", "label", "precision", "recall", "f1", "support"]
    names = list(dict.fromkeys([*fields, *report.summary]))
    writer = csv.DictWriter(stream, names, restval="")
    writer.writeheader()
    for score in report.labels:
        writer.writerow({"row": "label", **score.to_json()})
    writer.writerow({"row": "all", "support": report.n_rows, **report.summary})


def _write_text(report: HeadReport, stream: TextIO) -> None:
    width = max([5, *(len(score.label) for score in report.labels)])
    names = ("precision", "recall", "f1", "support")
    print("label".ljust(width), *(name.rjust(9) for name in names), file=stream)
    for score in report.labels:
        cells = (f"{value:9.{DECIMALS}f}" for value in (score.precision, score.recall, score.f1))
        print(score.label.ljust(width), *cells, f"{score.support:9,}", file=stream)
    print(file=stream)
    for name, value in report.summary.items():
        print(f"{name.replace('_', ' ')}: {value:.{DECIMALS}f}", file=stream)
    print(
        f"\n{report.n_rows:,} rows of {report.data}; {report.model}, {report.engine}", file=stream
    )
    if report.n_unseen:
        print(f"  labels that were none in training: {report.n_unseen:,}", file=stream)
