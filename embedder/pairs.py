"""Pairs of texts that people scored, out of Parquet: similarity is trained and measured by them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedder.errors import LabelError
from embedder.whole_table import check_columns, read_whole_table, table_rows, value_in

PAIR_COLUMNS = {"text1": "text1", "text2": "text2", "score": "score"}
"""Names of the columns where nobody gives others."""


class ScoredPair(NamedTuple):
    """Two texts and how near they are in meaning; more is nearer, on any scale."""

    text1: str
    text2: str
    score: float


def read_scored_pairs(
    path: str | Path, columns: Mapping[str, str] | None = None
) -> list[ScoredPair]:
    """The scored pairs of a Parquet file, in order.

    Args:
        path: the file.
        columns: names of the columns, by those of `PAIR_COLUMNS` that are called otherwise.

    Raises:
        SourceError: the file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a row has no text, an empty one, or a score that is no number; or all scores
            are the same.
    """
    names = {**PAIR_COLUMNS, **(columns or {})}
    table = read_whole_table(path)
    wanted = list(dict.fromkeys(names.values()))
    check_columns(wanted, table, path)
    pairs = []
    for number, row in enumerate(table_rows(table.select(wanted)), 1):
        first, second = (text_in(row, names[role], number, path) for role in ("text1", "text2"))
        score = value_in(row, names["score"], number, path)
        if not isinstance(score, int | float) or not math.isfinite(score):
            raise LabelError(
                f"Row {number} of {path} has {score!r} in the column {names['score']!r}, and a "
                "number is wanted."
            )
        pairs.append(ScoredPair(first, second, float(score)))
    refuse_equal_scores(pairs, str(path), names["score"])
    return pairs


def refuse_equal_scores(pairs: Sequence[ScoredPair], where: str, name: str) -> None:
    """Raise LabelError if all pairs have one score, which orders nothing.

    Args:
        pairs: one at least.
        where: what they are, for the message.
        name: the column.
    """
    if len({pair.score for pair in pairs}) < 2:
        raise LabelError(
            f"The scores of {where} in the column {name!r} are all {pairs[0].score:g}, which puts "
            "nothing in order.",
            "Give pairs with different scores, for --eval too.",
        )


def text_in(row: Mapping[str, object], name: str, number: int, path: str | Path) -> str:
    """The text that a row has in a column.

    Raises:
        LabelError: it has none there, or an empty one.
    """
    value = value_in(row, name, number, path)
    if not isinstance(value, str) or not value.strip():
        found = "an empty text" if isinstance(value, str) else repr(value)
        raise LabelError(
            f"Row {number} of {path} has {found} in the column {name!r}, and text is wanted.",
            "Correct the row, or leave it out.",
        )
    return value


def correlations(
    cosines: npt.NDArray[np.float32] | Sequence[float], scores: Sequence[float]
) -> dict[str, float]:
    """How well cosines follow people's scores, as `spearman` (by order) and `pearson` (by value).

    Both are NaN where one side is all the same, and there is no order to follow.
    """
    from scipy.stats import pearsonr, spearmanr

    if len(set(map(float, cosines))) < 2 or len(set(scores)) < 2:
        return {"spearman": math.nan, "pearson": math.nan}
    return {
        "spearman": float(spearmanr(cosines, scores).statistic),
        "pearson": float(pearsonr(cosines, scores).statistic),
    }
