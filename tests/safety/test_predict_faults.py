"""A crash, a full disk or Ctrl-C at every call that `predict` changes files with.

After each there is no output, or the whole one; and the same command, run again, ends
byte-identical to a run that nothing disturbed, with nothing left beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import WRITES, Kind
from forked import Ended, Fault, Zygote, running_zygote
from models import SENTENCES
from tiny_heads import make_head

MODULES = (
    "torch",
    "transformers",
    "transformers.models.bert.modeling_bert",
    "embedder.encoders.torch_encoder",
    "embedder.heads.classify",
    "jobs.predict",
)
SETTINGS = {"jobs.predict_plan.WINDOW_ROWS": 13, "jobs.predict_parts.PART_ROWS": 26}
KINDS = (
    Kind.KILL_BEFORE,
    Kind.KILL_AFTER,
    Kind.KILL_HALFWAY,
    Kind.NO_SPACE_FROM_NOW_ON,
    Kind.INTERRUPT,
)
"""What takes turns."""

INTERRUPTED = 130
N_AT_ONCE = 2


@pytest.fixture(scope="module")
def predicting(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Zygote]:
    """Runs commands in forked processes that have torch."""
    address = tmp_path_factory.mktemp("zygote") / "socket"
    with running_zygote(address, MODULES) as zygote:
        yield zygote


Predict = Callable[..., Ended]


@pytest.fixture(scope="module")
def predict(
    predicting: Zygote, quick_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Predict:
    """Answer for 50 rows in two parts, in a folder of its own, perhaps with a fault."""
    model = make_head(tmp_path_factory.mktemp("heads") / "head")
    source = quick_folder / "asked.parquet"
    texts = [None if i % 9 == 8 else SENTENCES[i % 5] for i in range(50)]
    pq.write_table(pa.table({"text": texts}), source, row_group_size=15)

    def run(folder: Path, fault: tuple[int, Kind] | None = None) -> Ended:
        folder.mkdir(exist_ok=True)
        arguments = ("predict", model, source, "--out", folder / "o.parquet", "-q")
        return predicting.run(
            *arguments,
            "--device",
            "cpu",
            cwd=folder,
            fault=fault and Fault(folder, fault[1], fault[0]),
            settings=SETTINGS,
        )

    return run


@pytest.mark.slow
def test_a_fault_at_every_call(predict: Predict, quick_folder: Path) -> None:
    """Whatever happens at whichever call, nothing is lost and nothing is half there."""
    recorded = predict(quick_folder / "usual", (0, Kind.RECORD))
    assert recorded.returncode == 0, recorded
    usual = (quick_folder / "usual" / "o.parquet").read_bytes()
    calls = recorded.report
    assert all(call["name"] != "past" for call in calls), "files are written past os"
    kinds = itertools.cycle(KINDS)
    points = []
    for call in calls:
        kind = next(kinds)
        if kind is Kind.KILL_HALFWAY and call["name"] not in WRITES:
            kind = Kind.KILL_AFTER
        points.append((call["n"], kind))

    def disturb(point: tuple[int, Kind]) -> list[str]:
        folder = quick_folder / f"predict-{point[0]}"
        out = folder / "o.parquet"
        done = predict(folder, point)
        problems = [*_wrong_ending(done, point[1])]
        if out.exists() and out.read_bytes() != usual:
            problems.append("the output is not whole")
        again = predict(folder)
        if (again.returncode, again.stderr) != (0, "") or out.read_bytes() != usual:
            problems.append(f"the next run failed: {again}")
        elif [path.name for path in folder.iterdir()] != ["o.parquet"]:
            problems.append(f"left: {sorted(path.name for path in folder.iterdir())}")
        return [f"{point}, {calls[point[0] - 1]}: {problem}" for problem in problems]

    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        problems = list(itertools.chain(*pool.map(disturb, points)))
    assert len(points) > 20
    assert not problems, "\n".join(problems)


def _wrong_ending(done: Ended, kind: Kind) -> Iterator[str]:
    if kind.value.startswith("kill"):
        if not done.is_killed:
            yield f"not killed: {done}"
    elif kind is Kind.INTERRUPT:
        if done.returncode not in (0, INTERRUPTED) or "Traceback" in done.stderr:
            yield f"not interrupted: {done}"
        if done.returncode and "Run the same command again" not in done.stderr:
            yield f"no word of how to go on: {done}"
    elif done.returncode:
        lines = done.stderr.splitlines()
        if len(lines) != 1 or "cannot be written: No space left on device." not in lines[0]:
            yield f"no word of the full disk: {done}"
