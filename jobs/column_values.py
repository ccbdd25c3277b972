"""The values of a metadata column, few enough to compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from indexes.metadata import MetadataStore

MOST_VALUES = 12
"""More values are grouped."""

N_RANGES = 6
OTHER = "other"


@dataclass(frozen=True)
class ColumnValues:
    """What each document has in a column.

    Args:
        column: the column.
        labels: its values, or ranges of them, in order.
        codes: number of each document's label, -1 for none, shape (n_documents,).
    """

    column: str
    labels: tuple[str, ...]
    codes: npt.NDArray[np.int64]

    @property
    def n_without(self) -> int:
        """Documents without a value."""
        return int((self.codes < 0).sum())


def read_values(
    store: MetadataStore, column: str, among: npt.NDArray[np.int64] | None = None
) -> ColumnValues:
    """The values of a column; of many numbers or times ranges with about equally many documents,
    of many other values the most frequent ones and `other`.

    Args:
        store: the metadata.
        column: the column.
        among: numbers of the documents that count for what is frequent; None for all.

    Raises:
        FilterError: there is no such column.
    """
    [name] = store.resolve_fields([column])
    values = _comparable(store.values(name))
    encoded = pc.dictionary_encode(values)
    distinct = encoded.dictionary
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    order = pc.array_sort_indices(distinct).to_numpy()
    places = np.empty(len(order) + 1, dtype=np.int64)
    places[order], places[-1] = np.arange(len(order)), -1
    codes, distinct = places[codes], distinct.take(pa.array(order))
    counted = codes if among is None else codes[among]
    counts = np.bincount(counted[counted >= 0], minlength=len(distinct))
    if len(distinct) <= MOST_VALUES:
        labels = [str(value) for value in distinct.to_pylist()]
    elif pa.types.is_integer(distinct.type) or pa.types.is_floating(distinct.type):
        codes, labels = _ranges(codes, counts, distinct.to_pylist())
    else:
        texts = [str(value) for value in distinct.to_pylist()]
        codes, labels = _most_frequent(codes, counts, texts)
    return ColumnValues(name, tuple(labels), codes)


def _comparable(values: pa.ChunkedArray) -> pa.Array:
    """Values as numbers where they are, dates and times as years, anything else as text."""
    found = values.combine_chunks()
    if pa.types.is_temporal(found.type) and not pa.types.is_time(found.type):
        return pc.year(found)
    if pa.types.is_floating(found.type):
        return pc.if_else(pc.is_finite(found), found, pa.scalar(None, found.type))
    if pa.types.is_integer(found.type) or pa.types.is_boolean(found.type):
        return found
    if pa.types.is_string(found.type) or pa.types.is_large_string(found.type):
        return found
    return pa.array([None if v is None else str(v) for v in found.to_pylist()], pa.string())


def _ranges(
    codes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], distinct: list[Any]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    before = np.cumsum(counts) - counts / 2
    groups = np.minimum((before * N_RANGES / max(1, counts.sum())).astype(np.int64), N_RANGES - 1)
    groups = np.unique(groups, return_inverse=True)[1]
    labels = []
    for group in range(int(groups.max()) + 1):
        own = np.flatnonzero(groups == group)
        first, last = distinct[own[0]], distinct[own[-1]]
        labels.append(f"{first}" if len(own) == 1 else f"{first}–{last}")
    return np.append(groups, -1)[codes], labels


def _most_frequent(
    codes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], distinct: list[str]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    kept = np.sort(np.argsort(-counts, kind="stable")[: MOST_VALUES - 1])
    places = np.full(len(distinct) + 1, len(kept), dtype=np.int64)
    places[kept], places[-1] = np.arange(len(kept)), -1
    return places[codes], [*(distinct[i] for i in kept.tolist()), OTHER]
