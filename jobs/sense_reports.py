"""Measures by word, and all words' together, as people and programs read them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TextIO

Scores = Mapping[str, float]

DECIMALS = 3


class ReportFormat(StrEnum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was measured.

    Args:
        summary: measures over everything.
        words: those of each word, where there are words.
        representation: what the vectors were, for people to read.
    """

    summary: Scores
    words: Mapping[str, Scores] = field(default_factory=dict)
    representation: str


def write_report(report: Report, form: ReportFormat, stream: TextIO) -> None:
    """Write a report to a text stream."""
    if form is ReportFormat.JSON:
        values = {
            "summary": dict(report.summary),
            "words": [{"word": word, **scores} for word, scores in report.words.items()],
            "representation": report.representation,
        }
        print(json.dumps(values, indent=1, ensure_ascii=False), file=stream)
    elif form is ReportFormat.CSV:
        _write_csv(report, stream)
    else:
        _write_text(report, stream)


def mean_scores(words: Mapping[str, Scores]) -> dict[str, float]:
    """The mean of each measure over the words, all of which count the same."""
    names = next(iter(words.values()))
    return {name: sum(s[name] for s in words.values()) / len(words) for name in names}


def _rows(report: Report) -> list[tuple[str, Scores]]:
    return [*report.words.items(), ("all", report.summary)]


def _names(report: Report) -> list[str]:
    return list(dict.fromkeys(name for _, scores in _rows(report) for name in scores))


def _write_csv(report: Report, stream: TextIO) -> None:
    writer = csv.DictWriter(stream, ["word", *_names(report)], restval="")
    writer.writeheader()
    for word, scores in _rows(report):
        writer.writerow({"word": word, **scores})


def _write_text(report: Report, stream: TextIO) -> None:
    names = _names(report)
    rows = [["word", *names]] + [
        [word, *(_cell(scores.get(name)) for name in names)] for word, scores in _rows(report)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(_line(row, widths), file=stream)
    print(f"\n{report.representation}", file=stream)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    word, *cells = row
    aligned = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
    return "  ".join([word.ljust(widths[0]), *aligned]).rstrip()


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.{DECIMALS}f}"
