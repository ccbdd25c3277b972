"""Labels and tags as columns of answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.heads.protocol import Label


def label_type(labels: Sequence[Label]) -> pa.DataType:
    """The type of a column of labels: bool, int64 or string, as in training."""
    first = labels[0]
    if isinstance(first, bool):
        return pa.bool_()
    return pa.int64() if isinstance(first, int) else pa.string()


def label_text(label: Label) -> str:
    """A label as text, as JSON writes it: true, 3, card_arrival."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def lists_of(values: pa.Array, lengths: Sequence[int]) -> pa.ListArray:
    """Values cut into lists of some lengths."""
    offsets: npt.NDArray[np.int32] = np.cumsum([0, *lengths], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
