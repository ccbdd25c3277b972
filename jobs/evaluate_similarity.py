"""`embedder evaluate similarity`: whether cosines order pairs of texts as people do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedder.encoders import TextEncoder
from embedder.pairs import correlations, read_scored_pairs

SIMILARITY_COLUMNS = ("data", "n_pairs", "spearman", "pearson")


@dataclass(frozen=True, kw_only=True)
class SimilarityScore:
    """How well cosines follow the scores of one file.

    Args:
        data: the file.
        n_pairs: pairs of texts.
        spearman: correlation by order.
        pearson: correlation by value.
    """

    data: str
    n_pairs: int
    spearman: float
    pearson: float

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary with the columns SIMILARITY_COLUMNS."""
        return asdict(self)


def evaluate_similarity(
    encoder: TextEncoder,
    paths: Sequence[str | Path],
    columns: Mapping[str, str] | None = None,
) -> list[SimilarityScore]:
    """Compare cosines of pairs of texts with people's scores, file by file.

    Args:
        encoder: makes the vectors.
        paths: Parquet files.
        columns: names of the columns `text1`, `text2` and `score` that are called otherwise.

    Raises:
        SourceError: a file cannot be read, or has no rows.
        ColumnError: a column is missing.
        LabelError: a row has no text, an empty one, or a score that is no number; or all scores
            are the same.
    """
    scores = []
    for path, pairs in [(path, read_scored_pairs(path, columns)) for path in paths]:
        texts = dict.fromkeys(text for pair in pairs for text in (pair.text1, pair.text2))
        rows = encoder.encode(list(texts))
        number_of = {text: number for number, text in enumerate(texts)}
        first = rows[[number_of[pair.text1] for pair in pairs]]
        second = rows[[number_of[pair.text2] for pair in pairs]]
        found = correlations((first * second).sum(1), [pair.score for pair in pairs])
        scores.append(SimilarityScore(data=str(path), n_pairs=len(pairs), **found))
    return scores
