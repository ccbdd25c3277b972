"""Labelled Parquet that is read whole, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedder.errors import ColumnError
from embedder.whole_table import read_whole_table


@pytest.mark.parametrize("is_list", [False, True])
def test_invalid_utf8_is_named_by_its_row(tmp_path: Path, is_list: bool) -> None:
    """The first row whose text, or one of whose texts, is no valid UTF-8 is named."""
    values = pa.array([b"a", b"b", b"caf\xe9", b"c", b"\xff"], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), len(values), values.buffers())
    column = pa.ListArray.from_arrays(pa.array(range(6), pa.int32()), texts) if is_list else texts
    pq.write_table(pa.table({"n": range(5), "text": column}), tmp_path / "x.parquet")
    with pytest.raises(ColumnError, match=r"Row 3 of .*x.parquet has invalid UTF-8 .* 'text'"):
        read_whole_table(tmp_path / "x.parquet")
