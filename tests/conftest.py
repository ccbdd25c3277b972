"""Fixtures: a cache for exports, tiny models, corpora, and the command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import `models`

# Several processes share the cores: threads that spin while they wait take most of them.
# Libraries look at it when they are loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long an example takes says more about the machine than about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

SAMPLE = Path(__file__).parents[1] / "jobs" / "sample" / "corpus.parquet"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the tests' own, so that exports happen, and happen once."""
    folder = tmp_path_factory.mktemp("cache")
    names = ("EMBEDDER_CACHE", "EMBEDDER_INDEX", "SOURCE_DATE_EPOCH")
    before = {name: os.environ.get(name) for name in names}
    os.environ["EMBEDDER_CACHE"] = str(folder)
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"  # so that equal builds are equal to the byte
    os.environ.pop("EMBEDDER_INDEX", None)
    yield folder
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights, 2 layers, 32 wide, a window of 64 tokens."""
    from models import make_model

    return make_model(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="session")
def sample_corpus() -> Path:
    """The 5,000 Wikipedia paragraphs that ship with the project."""
    return SAMPLE


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 300 paragraphs of the sample in six row groups, with a year and a language."""
    table = pq.read_table(SAMPLE).slice(0, 300)
    table = table.append_column("year", pa.array([2000 + i % 25 for i in range(300)]))
    table = table.append_column("lang", pa.array(["en" if i % 3 else "de" for i in range(300)]))
    path = tmp_path_factory.mktemp("corpus") / "small.parquet"
    pq.write_table(table, path, row_group_size=50)
    return path


@pytest.fixture(scope="session")
def run() -> Run:
    """Run the command line in a process of its own: `run("search", "bank", cwd=folder)`."""

    def run_command(
        *arguments: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
        )

    return run_command


def command(*arguments: str | Path) -> Sequence[str]:
    """The command line as an argument vector."""
    return [sys.executable, "-m", "jobs", *map(str, arguments)]


@pytest.fixture(scope="session")
def demo_index(tmp_path_factory: pytest.TempPathFactory, small_corpus: Path, run: Run) -> Path:
    """An index of the small corpus with the bundled model. Copy it before changing it."""
    out = tmp_path_factory.mktemp("demo") / "small.index"
    done = run("index", small_corpus, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def tiny_index(
    tmp_path_factory: pytest.TempPathFactory, small_corpus: Path, tiny_model: Path, run: Run
) -> Path:
    """An index of the small corpus with the tiny model. Copy it before changing it."""
    out = tmp_path_factory.mktemp("tiny") / "tiny.index"
    done = run("index", small_corpus, "--out", out, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    return out
