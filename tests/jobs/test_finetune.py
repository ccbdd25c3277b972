"""Fine-tuning memorises, resumes to the same weights, reproduces, and refuses bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from corpora import assert_refused, run_with_file_limit
from in_process import Here

from embedder import EncoderOptions, open_encoder
from embedder.errors import EngineError, LabelError, OutputError, RequestError
from embedder.specs import Engine
from embedder.training import loop
from embedder.training.options import Schedule, TrainingOptions, TrainPrecision
from jobs import FinetuneOptions, finetune
from jobs.finetuning import estimate_finetune
from jobs.progress import Progress

TEXTS = [
    ("the river bank", "the green bank of the river", 5.0),
    ("the bank raised rates", "interest rates of the bank", 4.5),
    ("a crane lifted steel", "the crane is rising", 4.0),
    ("green energy", "interest in green energy", 3.5),
    ("the river was green", "a steel beam", 1.5),
    ("interest rates", "the crane over the river", 1.0),
    ("the beam", "energy is rising again", 0.5),
    ("a crane", "the bank of interest", 0.0),
]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight scored pairs."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    first, second, scores = zip(*TEXTS, strict=True)
    pq.write_table(pa.table({"text1": first, "text2": second, "score": scores}), path)
    return path


@pytest.fixture
def options(pairs: Path, tiny_model: Path, tmp_path: Path) -> FinetuneOptions:
    """Twelve steps on the eight pairs, three evaluations."""
    return FinetuneOptions(
        task="similarity",
        train=(pairs,),
        dev=pairs,
        out=tmp_path / "out",
        model=str(tiny_model),
        training=TrainingOptions(
            max_steps=12,
            batch=8,
            learning_rate=5e-3,
            evaluate_every=4,
            seed=3,
            device="cpu",
            precision=TrainPrecision.FP32,
        ),
    )


def weights(folder: Path) -> bytes:
    """The weights of a model folder."""
    return (folder / "model.safetensors").read_bytes()


def test_eight_pairs_are_memorised(options: FinetuneOptions) -> None:
    """Trained on eight pairs, the cosines get their order, and the loss falls."""
    summary = finetune(replace(options, training=replace(options.training, max_steps=80)))
    losses = [point.loss for point in summary.record.curve if point.loss is not None]
    assert losses[-1] < 0.5 * losses[0]
    assert summary.record.measures["spearman"] > max(0.9, summary.before["spearman"])


def test_folders_of_others_stay(options: FinetuneOptions) -> None:
    """A folder that has the name of a run's own, and was there before, is refused and kept."""
    folder = options.out.with_name("out.training")
    folder.mkdir()
    (folder / "notes.txt").write_text("the only copy")
    for restart in (False, True):
        with pytest.raises(OutputError, match="not of an earlier run"):
            finetune(replace(options, restart=restart))
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_threads_are_for_the_training_alone(
    options: FinetuneOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it trains there are as many as were asked for, and afterwards as many as before."""
    before, seen = torch.get_num_threads(), set()
    finish = loop.finish_checkpoint

    def look(*args: Any, **rest: Any) -> None:
        seen.add(torch.get_num_threads())
        finish(*args, **rest)

    monkeypatch.setattr(loop, "finish_checkpoint", look)
    training = replace(options.training, threads=before + 1)
    finetune(replace(options, training=training))
    assert seen == {before + 1} and torch.get_num_threads() == before
    estimate_finetune(replace(options, out=Path(options.out) / "new", training=training))
    assert torch.get_num_threads() == before


def test_the_folder_is_a_model_that_measures_as_it_was_trained(
    options: FinetuneOptions, pairs: Path
) -> None:
    """The folder opens as an encoder whose cosines have the correlation that metrics.json says,
    beside a curve, a card and no trace of the work."""
    summary = finetune(options)
    folder = Path(options.out)
    encoder = open_encoder(EncoderOptions(model=str(folder), engine=Engine.TORCH))
    first, second, _ = zip(*TEXTS, strict=True)
    cosines = (encoder.encode(first) * encoder.encode(second)).sum(1)
    scores = [score for *_, score in TEXTS]
    measured = np.corrcoef(np.argsort(np.argsort(cosines)), np.argsort(np.argsort(scores)))[0, 1]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["measures"]["spearman"] == pytest.approx(measured)
    assert [point["step"] for point in metrics["curve"] if point["measures"]] == [0, 4, 8, 12]
    assert (folder / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
    card = (folder / "README.md").read_text()
    assert f"{summary.record.measures['spearman']:.4f}" in card and "similarity" in card
    assert sorted(path.name for path in folder.parent.iterdir()) == ["out"]


def test_equal_seeds_give_equal_weights(options: FinetuneOptions, tmp_path: Path) -> None:
    """Two runs with one seed are equal to the byte; another seed gives other weights."""
    finetune(options)
    finetune(replace(options, out=tmp_path / "again"))
    other = replace(options.training, seed=4)
    finetune(replace(options, out=tmp_path / "other", training=other))
    assert weights(tmp_path / "again") == weights(tmp_path / "out")
    assert weights(tmp_path / "other") != weights(tmp_path / "out")


KILLED_AFTER = """
import sys
from pathlib import Path
from embedder.training import loop
finish = loop.finish_checkpoint
def kill(folder, step, **rest):
    if step == {step} and not {whole}:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    finish(folder, step, **rest)
    if step == {step}:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
loop.finish_checkpoint = kill
from jobs.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("step", "whole"), [(8, True), (8, False), (12, True)])
def test_a_killed_run_resumes_to_the_same_weights(
    tmp_path: Path, here: Here, pairs: Path, tiny_model: Path, step: int, whole: bool
) -> None:
    """Killed when a checkpoint is whole or just before, the last one too, the same command goes on
    from the newest whole one and ends with the weights and the curve of a run that was not."""
    arguments = [
        *("finetune", "similarity", str(pairs), "--eval", str(pairs), "--model", str(tiny_model)),
        *("--max-steps", "12", "--batch", "4", "--evaluate-every", "4", "--device", "cpu"),
        # Sums of other numbers of threads are rounded otherwise.
        *("--out", str(tmp_path / "killed"), "--learning-rate", "0.005", "--threads", "1"),
    ]
    script = KILLED_AFTER.format(step=step, whole=whole)
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "killed").exists()
    assert here(*arguments).returncode == 0
    arguments[arguments.index(str(tmp_path / "killed"))] = str(tmp_path / "whole")
    assert here(*arguments).returncode == 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")


def curve(folder: Path) -> Any:
    """The learning curve of a model folder."""
    return json.loads((folder / "metrics.json").read_text())["curve"]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """The command line in this process."""
    yield Here(capsys)


def test_another_request_does_not_go_on_with_an_unfinished_run(
    options: FinetuneOptions, tmp_path: Path
) -> None:
    """What was left of a run with other settings is refused by name, and --restart removes it."""
    room = tmp_path / "out.training"
    room.mkdir()
    found = {"task": "similarity", "model digest": "other"}
    (room / "request.json").write_text(json.dumps(found))
    with pytest.raises(RequestError, match=r"other settings: the model is not what it was;.*'eval"):
        finetune(options)
    finetune(replace(options, restart=True))
    assert (tmp_path / "out").is_dir() and not room.exists()


def test_a_run_goes_on_however_its_files_are_named(
    options: FinetuneOptions,
    pairs: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same model and data at other places are the same; other data is not."""
    finish = loop.finish_checkpoint

    def stop(*args: Any, **rest: Any) -> None:
        finish(*args, **rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "finish_checkpoint", stop)
        finetune(options)
    moved = shutil.copytree(tiny_model, tmp_path / "moved")
    monkeypatch.chdir(pairs.parent)
    dev = tmp_path / "dev.parquet"
    pq.write_table(pq.read_table(pairs).slice(0, 6), dev)
    with pytest.raises(RequestError, match="settings: the eval is not what it was"):
        finetune(replace(options, dev=dev))
    asked = replace(options, model=str(moved), train=(pairs.name,), dev=pairs.name)
    said = Notes()
    finetune(asked, said)
    assert said.lines == ["going on from step 4, where it was stopped"]
    request = json.loads((tmp_path / "out" / "metrics.json").read_text())["request"]
    assert (request["model"], request["train"]) == (str(moved), [pairs.name])


class Notes(Progress):
    """Keeps what a run says."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        """Keep it."""
        self.lines.append(line)


@pytest.mark.parametrize("case", [{"max_steps": 13}, {"epochs": 2.5}])
def test_a_run_that_lacks_its_folder_alone(
    options: FinetuneOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]
) -> None:
    """Stopped when all steps are done, in the middle of an epoch, it takes no more of them."""
    own = {"batch": 2, "max_steps": None, "schedule": Schedule.CONSTANT, **case}
    options = replace(options, training=replace(options.training, **own))
    finetune(options)
    again = replace(options, out=tmp_path / "again")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("jobs.training_folder.render_curve", interrupt)
        finetune(again)
    finetune(again)
    assert weights(tmp_path / "again") == weights(tmp_path / "out")
    assert curve(tmp_path / "again") == curve(tmp_path / "out")


def interrupt(*_: Any) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def test_a_training_outlives_what_took_its_name(
    options: FinetuneOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that appears at --out meanwhile is left alone, and so is what was trained."""
    final = tmp_path / "out"

    def appear(*arguments: Any) -> bytes:
        final.mkdir()
        return b""

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="is there already"):
        patch.setattr("jobs.training_folder.render_curve", appear)
        finetune(options)
    with pytest.raises(OutputError, match="is there already"):
        finetune(options)
    assert list(final.iterdir()) == []
    final.rmdir()
    said = Notes()
    finetune(options, said)
    assert said.lines == ["going on from step 12, where it was stopped"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_left_of_a_finished_run_goes(
    options: FinetuneOptions, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the folder is in place, the same run finds it there, and clears up."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("jobs.training_folder.shutil.rmtree", interrupt_on_room)
        finetune(options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.training"]
    other = replace(options, training=replace(options.training, seed=9))
    for asked, n_left in ((other, 2), (options, 1)):
        with pytest.raises(OutputError, match="is there already"):
            finetune(asked)
        assert len(list(tmp_path.iterdir())) == n_left


def interrupt_on_room(path: Path, **_: Any) -> None:
    """Interrupt when the folder of a run is removed."""
    if Path(path).name.endswith(".training"):
        raise KeyboardInterrupt


def test_a_run_that_diverges_is_no_model(options: FinetuneOptions, tmp_path: Path) -> None:
    """Weights that are no numbers any more are told, and not written, after the last step too."""
    for steps in (1, 3):
        training = replace(
            options.training, learning_rate=1e30, max_steps=steps, evaluate_every=steps
        )
        with pytest.raises(EngineError, match=r"loss .* is (nan|inf).*--restart"):
            finetune(replace(options, training=training, restart=True))
        assert not (tmp_path / "out").exists()


def test_one_step_trains(options: FinetuneOptions, tiny_model: Path) -> None:
    """The first step changes weights, so that one alone is not for nothing."""
    finetune(replace(options, training=replace(options.training, max_steps=1)))
    assert weights(Path(options.out)) != weights(tiny_model)


def test_what_is_no_request(options: FinetuneOptions, pairs: Path) -> None:
    """A task that there is not, and a file where several are wanted."""
    with pytest.raises(RequestError, match="no task 'nope'"):
        replace(options, task="nope")
    with pytest.raises(TypeError, match=r"several files, as in \('.*pairs.parquet',\)"):
        replace(options, train=str(pairs))


def test_frozen_layers_stay_and_others_do_not(options: FinetuneOptions, tiny_model: Path) -> None:
    """With --freeze 1 the embeddings and the first layer keep their weights to the bit."""
    from safetensors.numpy import load_file

    finetune(replace(options, training=replace(options.training, freeze=1)))
    before, after = (load_file(f / "model.safetensors") for f in (tiny_model, Path(options.out)))
    same = {name for name in before if np.array_equal(before[name], after[name])}
    frozen = {n for n in before if n.startswith(("embeddings.", "encoder.layer.0."))}
    assert frozen <= same
    assert not {n for n in same if n.startswith("encoder.layer.1.") and n.endswith("weight")}


def test_low_rank_updates_are_merged(options: FinetuneOptions, tiny_model: Path) -> None:
    """With --lora the folder has the names and shapes of the model that it started from, and the
    change of each weight has at most that rank."""
    from safetensors.numpy import load_file

    training = replace(options.training, lora=2, learning_rate=0.02)
    summary = finetune(replace(options, training=training))
    before, after = (load_file(f / "model.safetensors") for f in (tiny_model, Path(options.out)))
    assert {n: a.shape for n, a in after.items()} == {n: a.shape for n, a in before.items()}
    name = "encoder.layer.0.attention.self.query.weight"
    assert np.linalg.matrix_rank(after[name] - before[name], tol=1e-5) == 2
    embeddings = "embeddings.word_embeddings.weight"
    assert np.array_equal(after[embeddings], before[embeddings])
    assert summary.record.measures["spearman"] > summary.before["spearman"]


def test_patience_stops_a_run_that_gets_no_better(options: FinetuneOptions) -> None:
    """With a learning rate that changes nothing, --patience ends the run, and says so."""
    training = replace(options.training, learning_rate=1e-12, evaluate_every=1, patience=2)
    record = finetune(replace(options, training=training)).record
    assert record.stopped_early and record.n_steps == 3


@pytest.mark.parametrize("step", [2, 3])
def test_a_resumed_run_has_no_more_patience(options: FinetuneOptions, step: int) -> None:
    """Interrupted while patience lasts, or when it is over but for writing, and run again from
    elsewhere, a run stops where it would have stopped, with the best step's weights."""
    training = replace(options.training, learning_rate=1e-12, evaluate_every=1, patience=2)
    asked = replace(options, training=training, out=Path(os.path.relpath(options.out)))
    finish = loop.finish_checkpoint

    def interrupt(folder: Path, number: int, **rest: Any) -> None:
        finish(folder, number, **rest)
        if number == step:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "finish_checkpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finetune(asked)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(Path(options.out).parent.parent)
        record = finetune(replace(asked, out=options.out)).record
    assert record.stopped_early and (record.n_steps, record.best_step) == (3, 1)


def test_something_is_left_to_train(options: FinetuneOptions) -> None:
    """With all layers frozen there is nothing to train, or nothing to put low-rank updates
    beside; a dry run says so too."""
    for changes in ({"freeze": 2}, {"freeze": 2, "lora": 2}):
        asked = replace(options, training=replace(options.training, **changes))
        with pytest.raises(RequestError, match=r"All 2 layers are to be frozen, .*--freeze"):
            finetune(asked)
        with pytest.raises(RequestError, match="All 2 layers are to be frozen"):
            estimate_finetune(asked)


def test_checkpointing_and_accumulation_change_nothing_but_memory(
    options: FinetuneOptions, tmp_path: Path
) -> None:
    """Activations computed again give the same weights."""
    finetune(options)
    training = replace(options.training, checkpointing=True)
    finetune(replace(options, out=tmp_path / "again", training=training))
    a, b = (load(tmp_path / name) for name in ("out", "again"))
    assert all(np.allclose(a[name], b[name], atol=1e-5) for name in a)


def load(folder: Path) -> dict[str, Any]:
    """The weights of a model folder by name."""
    from safetensors.numpy import load_file

    found: dict[str, Any] = load_file(folder / "model.safetensors")
    return found


def test_a_dry_run_writes_nothing(
    options: FinetuneOptions, here: Here, tmp_path: Path, pairs: Path, tiny_model: Path
) -> None:
    """--dry-run says how many steps there are and how long they take, and leaves no folder."""
    done = here(
        *("finetune", "similarity", pairs, "--eval", pairs, "--out", tmp_path / "out"),
        *("--model", tiny_model, "--dry-run", "--format", "json", "--epochs", 2, "--batch", 4),
    )
    found = json.loads(done.stdout)
    assert found["n_steps"] == 4 and found["seconds"] > 0
    assert found["facts"] == {"training pairs": 8, "evaluation pairs": 8}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("text1", " ", "Row 3 of .* has an empty text in the column 'text1'"),
        ("text2", None, "Row 3 of .* has nothing in the column 'text2'"),
        ("score", float("nan"), "Row 3 of .* has nan in the column 'score'"),
        ("score", None, "Row 3 of .* has nothing in the column 'score'"),
    ],
)
def test_a_bad_row_is_named_before_training(
    options: FinetuneOptions, tmp_path: Path, column: str, value: Any, message: str
) -> None:
    """A row that cannot be used is named, and nothing is left."""
    rows = [dict(zip(("text1", "text2", "score"), row, strict=True)) for row in TEXTS]
    rows[2][column] = value
    bad = tmp_path / "bad.parquet"
    pq.write_table(pa.Table.from_pylist(rows), bad)
    with pytest.raises(LabelError, match=message):
        finetune(replace(options, train=(bad,)))
    assert not (tmp_path / "out").exists()


def test_scores_that_order_nothing(options: FinetuneOptions, tmp_path: Path) -> None:
    """Pairs of one score are refused, those to train on and those that are held out."""
    rows = [dict(zip(("text1", "text2", "score"), row, strict=True)) for row in TEXTS]
    bad = tmp_path / "bad.parquet"
    pq.write_table(pa.Table.from_pylist([{**row, "score": 3.0} for row in rows]), bad)
    with pytest.raises(LabelError, match=r"scores of .*bad.parquet in .*'score' are all 3,"):
        finetune(replace(options, train=(bad,)))
    with pytest.raises(LabelError, match=r"of the 1 of 8 pairs that are held out .* are all"):
        finetune(replace(options, dev=None))


def test_refusals(here: Here, tmp_path: Path, pairs: Path, tiny_model: Path) -> None:
    """A missing column, file or device, a folder that is there and too many layers: one line."""
    base = ["finetune", "similarity", pairs, "--model", tiny_model, "--device", "cpu", "-q"]
    base += ["--eval", pairs]
    new = ["--out", tmp_path / "new"]
    assert_refused(here(*base, *new, "--score", "gold"), "no column 'gold'")
    assert_refused(here(*base, *new, "--eval", tmp_path / "no.parquet"), "no.parquet")
    assert_refused(here(*base, *new, "--freeze", 9), "9 layers", "--freeze")
    assert_refused(here(*base, *new, "--precision", "fp16"), "fp16 needs a CUDA device")
    assert_refused(here(*base, "--out", tmp_path), "is there already")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n_bytes", [500, 20_000, 140_000])
def test_a_full_disk_is_one_line(
    tmp_path: Path, pairs: Path, tiny_model: Path, n_bytes: int
) -> None:
    """Where the disk takes no more, be it the weights or the optimizer's state that is written,
    there is one line, and no folder."""
    command = ("finetune", "similarity", pairs, "--eval", pairs, "--model", tiny_model, "-q")
    how = ("--device", "cpu", "--max-steps", "1", "--out", tmp_path / "new")
    done = run_with_file_limit(n_bytes, *command, *how)
    assert_refused(done, "cannot be written")
    assert not (tmp_path / "new").exists()


def test_bf16_learns_too(options: FinetuneOptions) -> None:
    """Mixed precision learns the pairs, and the weights that are written are fp32."""
    training = replace(options.training, precision=TrainPrecision.BF16)
    summary = finetune(replace(options, training=training))
    assert summary.record.precision == "bf16"
    assert summary.record.measures["spearman"] > 0.9
    assert all(array.dtype == np.float32 for array in load(Path(options.out)).values())


def test_time_is_measured(options: FinetuneOptions) -> None:
    """The record's seconds are those that passed."""
    started = time.monotonic()
    summary = finetune(options)
    assert 0 < summary.record.seconds <= time.monotonic() - started
