"""Commands in forked processes, and the states that they lead from and to."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

from forked import Zygote, running_zygote
from scenarios import Scenario, Scenarios


@pytest.fixture(scope="session")
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of runs wait for the disk at every call."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="embedder-safety-", dir=parent) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one layer, which opens sooner than one of two."""
    from models import make_model

    return make_model(tmp_path_factory.mktemp("models") / "one-layer", num_hidden_layers=1)


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Zygote]:
    """Runs commands in forked processes."""
    with running_zygote(tmp_path_factory.mktemp("zygote") / "socket") as zygote:
        yield zygote


@pytest.fixture(scope="session")
def texts(sample_corpus: Path) -> list[str]:
    """100 different texts, some of which become several passages."""
    found = pq.read_table(sample_corpus, columns=["text"])["text"].to_pylist()
    return [text[: 150 if i % 7 == 3 else 14] for i, text in enumerate(found[:100])]


@pytest.fixture(scope="session")
def scenario(
    quick_folder: Path, zygote: Zygote, small_model: Path, texts: list[str]
) -> Callable[[str], Scenario]:
    """Scenarios by name, each made once."""
    maker = Scenarios(quick_folder / "scenarios", zygote, small_model, texts)
    made: dict[str, Scenario] = {}

    def make(name: str) -> Scenario:
        if name not in made:
            made[name] = maker.make(name)
        return made[name]

    return make
