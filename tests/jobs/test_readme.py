"""The README's commands and its Python run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

N_ROWS = 1000
README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> str:
    """All code of one language in the README, in order."""
    found = re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)
    assert found, f"no {language} in the README"
    return "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize(("language", "start"), [("sh", ["bash", "-e", "-c"]), ("python", None)])
def test_the_readme_runs(
    tmp_path: Path, sample_corpus: Path, language: str, start: list[str] | None
) -> None:
    """Each command and each Python statement of the README succeeds in a folder with a corpus."""
    # A part of the sample shows as much, and the whole takes minutes.
    part = pq.read_table(sample_corpus).slice(0, N_ROWS)
    pq.write_table(part, tmp_path / "corpus.parquet", row_group_size=500)
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
