"""What a fresh process has loaded: importing, asking for help and searching stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = {"nncf", "sentence_transformers", "torch", "transformers"}
HEAVY = TRAINING | {"duckdb", "faiss", "openvino", "pyarrow"}

# Runs the code, then writes the names of all loaded modules, however the code ended.
PROBE = """
import atexit, pathlib, sys
report = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: report.write_text("\\n".join(list(sys.modules))))
exec(sys.argv.pop(1))
"""

RUN_AS_MODULE = "import runpy; runpy.run_module('jobs', run_name='__main__', alter_sys=True)"
RUN_MAIN = "from jobs.cli import main; main(sys.argv[1:])"


def modules_after(report: Path, code: str, *arguments: str) -> set[str]:
    """Names of the modules loaded when a fresh process has run the code with these arguments."""
    command = [sys.executable, "-c", PROBE, str(report), code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return set(report.read_text().splitlines())


def test_importing_the_packages_is_light(tmp_path: Path) -> None:
    """Importing the three packages loads no heavy library."""
    loaded = modules_after(tmp_path / "modules", "import embedder, indexes, jobs")
    assert {"embedder", "indexes", "jobs"} <= loaded
    assert not loaded & HEAVY


def test_help_is_light(tmp_path: Path) -> None:
    """Asking for help loads no heavy library."""
    loaded = modules_after(tmp_path / "modules", RUN_AS_MODULE, "--help")
    assert "jobs.cli" in loaded
    assert not loaded & HEAVY


@pytest.mark.slow
def test_a_search_loads_no_training_library(tmp_path: Path, demo_index: Path) -> None:
    """A search loads FAISS, and neither torch nor anything that training or export needs."""
    arguments = ["search", "--index", str(demo_index), "-k", "3", "bank"]
    loaded = modules_after(tmp_path / "modules", RUN_MAIN, *arguments)
    assert "faiss" in loaded
    assert not loaded & TRAINING


def test_a_static_model_needs_numpy_alone(tmp_path: Path, tiny_model: Path) -> None:
    """A static model encodes texts without torch, transformers, OpenVINO and whatever trains."""
    table = "StaticTable(*(np.eye(n, 8, dtype='f4') for n in (600,)), np.ones(600, 'f4'), v)"
    code = f"""
import sys; import numpy as np; from pathlib import Path
from embedder import EncoderOptions, open_encoder
from embedder.checkpoint import open_checkpoint
from embedder.static_table import StaticTable, write_static_model
folder, v = Path(sys.argv[1]), np.eye(8, dtype="f4")[0]
write_static_model(folder, {table}, open_checkpoint(sys.argv[2]), {{}})
assert open_encoder(EncoderOptions(model=str(folder))).encode(["the bank"]).shape == (1, 8)
"""
    (tmp_path / "m").mkdir()
    loaded = modules_after(tmp_path / "modules", code, str(tmp_path / "m"), str(tiny_model))
    assert "embedder.encoders.static_encoder" in loaded
    assert not loaded & (HEAVY | {"scipy"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["senses river", "senses --list", "senses river --by title", "neighbours river"]
)
def test_senses_are_shown_without_an_encoder(
    tmp_path: Path, demo_index: Path, command: str
) -> None:
    """What an index says of its words needs no network: neither torch nor OpenVINO is loaded."""
    arguments = [*command.split(), "--index", str(demo_index)]
    loaded = modules_after(tmp_path / "modules", RUN_MAIN, *arguments)
    assert "jobs.senses" in loaded
    assert not loaded & (TRAINING | {"openvino"})


@pytest.mark.parametrize("module", ["pyarrow", "duckdb"])
def test_the_probe_sees_a_heavy_library(tmp_path: Path, module: str) -> None:
    """A heavy library that the code loads is among the names that come back."""
    loaded = modules_after(tmp_path / "modules", f"import {module}")
    assert loaded & HEAVY == {module}
