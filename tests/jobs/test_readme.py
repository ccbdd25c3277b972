"""The README's commands and its Python run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

N_ROWS = 1000
README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> str:
    """All code of one language in the README, in order."""
    found = re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)
    assert found, f"no {language} in the README"
    return "\n".join(found)


def write_labelled(part: pa.Table, folder: Path) -> None:
    """The labelled data that the README takes its reader to have, made of paragraphs."""
    texts = [text[:100] for text in part["text"].to_pylist()[:16]]
    pairs = {"text1": texts, "text2": texts[::-1], "score": [float(i % 5) for i in range(16)]}
    pq.write_table(pa.table(pairs), folder / "pairs.parquet")
    labels = {"text": texts, "label": ["even", "odd"] * 8}
    for name in ("labelled.parquet", "test.parquet"):
        pq.write_table(pa.table(labels), folder / name)


@pytest.mark.slow
@pytest.mark.parametrize(("language", "start"), [("sh", ["bash", "-e", "-c"]), ("python", None)])
def test_the_readme_runs(
    tmp_path: Path, sample_corpus: Path, language: str, start: list[str] | None
) -> None:
    """Each command and each Python statement of the README succeeds in a folder with a corpus."""
    # A part of the sample shows as much, and the whole takes minutes.
    part = pq.read_table(sample_corpus).slice(0, N_ROWS)
    pq.write_table(part, tmp_path / "corpus.parquet", row_group_size=500)
    write_labelled(part, tmp_path)
    command = [*(start or [sys.executable, "-c"]), blocks(language)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
