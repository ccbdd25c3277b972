"""Damaged Parquet files: rows or one clear error, never a crash, a hang or absurd memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from children import run_cases
from parquet_cases import write_bases

N_CASES = 5000


@pytest.mark.slow
@pytest.mark.parametrize("function", ["read_damaged", "query_damaged"])
def test_damaged_files(tmp_path: Path, function: str) -> None:
    """Thousands of damaged files each give rows or an error of ours, as a corpus or as queries."""
    write_bases(tmp_path)
    found = run_cases("parquet_cases", function, tmp_path, N_CASES)
    assert not [outcome for outcome in found if outcome.startswith("bad")]
    assert found.total() == N_CASES
    assert found["rows"] > N_CASES / 20
    assert found["SourceError"] > N_CASES / 20


@pytest.mark.parametrize("function", ["crash", "hang", "raise_something"])
def test_the_harness_sees_what_it_looks_for(tmp_path: Path, function: str) -> None:
    """A crash, a hang and a foreign exception are each reported once, with their seed."""
    found = run_cases("harmful_cases", function, tmp_path, 8)
    (bad,) = [outcome for outcome in found if outcome.startswith("bad")]
    assert "seed 5" in bad
    assert found["fine"] == 7


def test_a_footer_of_other_types(tmp_path: Path) -> None:
    """A chunk that claims another type than its column's is read or refused.

    pyarrow 26 ends the process when it is asked for the statistics of such a chunk.
    """
    found = run_cases("parquet_cases", "read_contradiction", tmp_path, 16)
    assert not [outcome for outcome in found if outcome.startswith("bad")]
    assert found.total() == 16
