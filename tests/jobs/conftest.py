"""Makes `corpora` importable: small corpora, and what an index folder holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "indexes"))

from in_process import Here


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    """Run the command line in this process: `here("senses", "bank", "--index", folder)`."""
    return Here(capsys)


@pytest.fixture(scope="session")
def short_texts(sample_corpus: Path) -> list[str]:
    """2,000 different texts of one passage each."""
    texts = pq.read_table(sample_corpus, columns=["text"])["text"].to_pylist()
    cut = dict.fromkeys(text[:12].strip() for text in texts)
    return [text for text in cut if text][:2000]
