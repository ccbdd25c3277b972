"""Engines agree with torch at fp32 or refuse to run, and share what they export."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from models import SENTENCES, make_model
from safetensors.torch import load_file, save_file

from embedder.checkpoint import open_checkpoint
from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.encoders.export import has_vnni, is_bf16_supported
from embedder.encoders.parity import LEAST_COSINE, REFERENCE_TEXTS, check_parity, least_cosine
from embedder.errors import EngineError, OutputError, RequestError
from embedder.specs import Engine, Precision, digest_of
from embedder.tokens import Tokenizer

needs_bf16 = pytest.mark.skipif(
    not is_bf16_supported(), reason="this processor has no bf16 arithmetic"
)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with nothing in it, not even itself."""
    folder = tmp_path / "fresh"
    monkeypatch.setenv("EMBEDDER_CACHE", str(folder))
    return folder


def exported(cache: Path) -> list[Path]:
    """Folders of exported graphs in a cache, those half made included."""
    return sorted((cache / "graphs").glob("*")) if cache.exists() else []


def open_engine(
    model: str | Path, engine: Engine | None, precision: Precision | None, **options: object
) -> TextEncoder:
    """An encoder over a model."""
    return open_encoder(
        EncoderOptions(model=str(model), engine=engine, precision=precision, **options)  # type: ignore[arg-type]
    )


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosines of matching unit rows."""
    return np.einsum("ij,ij->i", one, other, dtype=np.float64)


@pytest.fixture(scope="module")
def texts(sample_corpus: Path) -> list[str]:
    """Texts of the sample."""
    column = pq.read_table(sample_corpus, columns=["text"]).column("text")
    return list(column.slice(0, 320).to_pylist())


@pytest.fixture(scope="module")
def reference(texts: Sequence[str]) -> np.ndarray:
    """Vectors of the first texts by torch at fp32."""
    encoder = open_engine("default", Engine.TORCH, Precision.FP32, device="cpu")
    return encoder.encode(texts[:64])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "precision", "mean", "least"),
    [
        (Engine.OPENVINO, Precision.FP32, 0.999999, 0.99999),
        pytest.param(Engine.OPENVINO, Precision.BF16, 0.9999, 0.999, marks=needs_bf16),
        (Engine.TORCH, Precision.BF16, 0.9999, 0.999),
    ],
)
def test_coarse_arithmetic_stays_near_fp32(
    texts: Sequence[str],
    reference: np.ndarray,
    engine: Engine,
    precision: Precision,
    mean: float,
    least: float,
) -> None:
    """Vectors of the sample at each precision have nearly the direction of torch's at fp32."""
    found = open_engine("default", engine, precision, device="cpu").encode(texts[:64])
    assert cosines(found, reference).mean() >= mean
    assert cosines(found, reference).min() >= least


@pytest.mark.slow
def test_int8_stays_near_fp32(texts: Sequence[str], reference: np.ndarray) -> None:
    """int8 calibrated on other texts of the corpus stays near torch's fp32 vectors."""
    encoder = open_encoder(
        EncoderOptions(engine=Engine.OPENVINO, precision=Precision.INT8),
        calibration=lambda: texts[64:],
    )
    found = cosines(encoder.encode(texts[:64]), reference)
    assert found.mean() >= (0.997 if has_vnni() else 0.995)  # of weights of seven bits
    assert found.min() >= 0.99
    assert encoder.encoder.spec.calibration == digest_of(list(texts[64:]))


def test_texts_of_the_parity_check_reach_past_the_window() -> None:
    """The parity check sees texts of few tokens and one longer than the bundled model's window."""
    checkpoint = open_checkpoint()
    lengths = [len(pieces) for pieces in Tokenizer(checkpoint).encode(REFERENCE_TEXTS)]
    assert min(lengths) <= 4
    assert max(lengths) > checkpoint.max_tokens


@pytest.mark.parametrize("precision", Precision)
def test_a_cosine_is_held_against_its_floor(precision: Precision) -> None:
    """A cosine at the floor passes; one below it, or NaN, is an EngineError with the cosine."""
    floor = LEAST_COSINE[precision]
    check_parity(precision, floor, engine="E", model="m")
    with pytest.raises(EngineError, match=f"{floor - 0.01:.4f}.*{floor}"):
        check_parity(precision, floor - 0.01, engine="E", model="m")
    with pytest.raises(EngineError, match="nan"):
        check_parity(precision, float("nan"), engine="E", model="m")


def test_the_least_cosine_is_of_matching_rows() -> None:
    """The least cosine is the smallest over rows that stand at the same place."""
    rows = np.eye(3, dtype=np.float32)
    turned = rows.copy()
    turned[1] = [0.6, 0.8, 0]
    assert least_cosine(rows, rows) == 1
    assert least_cosine(rows, turned) == pytest.approx(0.8)


def test_an_export_that_is_too_far_off_leaves_nothing(
    tiny_model: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An fp32 graph below the floor is an EngineError, and nothing stays in the cache."""
    monkeypatch.setitem(LEAST_COSINE, Precision.FP32, 1.1)
    with pytest.raises(
        EngineError, match=r"fp32.*least cosine.* (1\.0000|0\.9999).*--engine torch"
    ):
        open_engine(tiny_model, Engine.OPENVINO, Precision.FP32)
    assert exported(empty_cache) == []


@pytest.mark.slow
def test_an_engine_that_is_too_far_off_is_replaced_by_torch(
    tiny_model: Path,
    empty_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a chosen engine, one below the floor gives way to torch, and the log says so."""
    monkeypatch.setitem(LEAST_COSINE, Precision.FP32, 1.1)
    encoder = open_engine(tiny_model, None, Precision.FP32, device="cpu")
    assert encoder.encoder.description == "torch fp32 on cpu"
    assert "least cosine" in caplog.text
    assert "Torch is used instead" in caplog.text


@pytest.fixture(scope="module")
def coarse_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with weights so large that rounding to bf16 or int8 turns its vectors."""
    folder = make_model(tmp_path_factory.mktemp("coarse") / "model", num_hidden_layers=4)
    weights = load_file(folder / "model.safetensors")
    for values in weights.values():
        if values.dim() > 1:
            values.mul_(20)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@needs_bf16
@pytest.mark.slow
def test_a_model_that_bf16_turns_is_refused_at_bf16(
    coarse_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that bf16 really spoils is an EngineError at bf16, and runs at fp32 when free."""
    with pytest.raises(EngineError, match=r"bf16.*least cosine.*0\.\d{4}.*--precision fp32"):
        open_engine(coarse_model, Engine.OPENVINO, Precision.BF16)
    encoder = open_engine(coarse_model, Engine.OPENVINO, None)
    assert encoder.encoder.spec.precision is Precision.FP32
    assert "fp32 is used instead" in caplog.text


@pytest.mark.slow
def test_a_model_that_int8_turns_is_refused_at_int8(coarse_model: Path, empty_cache: Path) -> None:
    """A model that int8 really spoils is an EngineError at int8, and its graph is not kept."""
    options = EncoderOptions(model=str(coarse_model), precision=Precision.INT8)
    with pytest.raises(EngineError, match=r"int8.*least cosine.*0\.\d{4}.*bf16 or fp32"):
        open_encoder(options, calibration=lambda: SENTENCES * 4)
    [fp32_graph] = exported(empty_cache)
    assert not fp32_graph.name.startswith(".")


@pytest.mark.slow
def test_two_processes_may_export_at_once(tiny_model: Path, empty_cache: Path) -> None:
    """Two processes that export one model at the same time both run, and leave one folder."""
    code = (
        "from embedder.encoders import EncoderOptions, open_encoder\n"
        "from embedder.specs import Engine\n"
        f"options = EncoderOptions(model={str(tiny_model)!r}, engine=Engine.OPENVINO)\n"
        "print(open_encoder(options).encode(['the bank']).tobytes().hex())"
    )
    command = [sys.executable, "-c", code]
    both = [
        subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    [folder] = exported(empty_cache)
    assert sorted(path.name for path in folder.iterdir()) == [
        "graph.bin",
        "graph.xml",
        "parity.json",
    ]


@pytest.mark.slow
def test_an_export_happens_once(
    tiny_model: Path, empty_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A second encoder of the same model reads what the first one exported."""
    caplog.set_level(logging.INFO)
    first = open_engine(tiny_model, Engine.OPENVINO, Precision.FP32).encode(SENTENCES)
    second = open_engine(tiny_model, Engine.OPENVINO, Precision.FP32).encode(SENTENCES)
    assert np.array_equal(first, second)
    assert caplog.text.count("exporting") == 1
    assert len(exported(empty_cache)) == 1


def test_a_cache_that_cannot_be_written_is_named(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache below a regular file is an OutputError that names it and the variable."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBEDDER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match=r"file/cache cannot be written.*EMBEDDER_CACHE"):
        open_engine(tiny_model, Engine.OPENVINO, Precision.FP32)


# What is refused


def test_int8_is_not_torchs(tiny_model: Path) -> None:
    """int8 with the torch engine is an EngineError that names the engine which has it."""
    with pytest.raises(EngineError, match=r"no int8.*--engine openvino"):
        open_engine(tiny_model, Engine.TORCH, Precision.INT8, device="cpu")


@pytest.mark.parametrize("calibration", [None, lambda: []])
def test_int8_needs_texts(tiny_model: Path, calibration: object) -> None:
    """int8 without texts to calibrate on is a RequestError."""
    options = EncoderOptions(model=str(tiny_model), precision=Precision.INT8)
    with pytest.raises(RequestError, match="int8 is calibrated"):
        open_encoder(options, calibration=calibration)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "xpu:99"])
def test_a_device_that_is_not_there_is_refused(tiny_model: Path, device: str) -> None:
    """A device that torch does not have is an EngineError that names it."""
    with pytest.raises(EngineError, match=f"'{device}'.*--device"):
        open_engine(tiny_model, Engine.TORCH, None, device=device)


def test_openvino_runs_on_the_cpu_alone(tiny_model: Path) -> None:
    """Another device with OpenVINO is a RequestError that names torch."""
    with pytest.raises(RequestError, match=r"--device cuda.*--engine torch"):
        open_engine(tiny_model, Engine.OPENVINO, None, device="cuda")


@needs_bf16
def test_the_choice_on_a_cpu_is_openvino_at_bf16(tiny_model: Path) -> None:
    """Left free on a CPU with bf16, the engine is OpenVINO at bf16."""
    encoder = open_engine(tiny_model, None, None, device="cpu")
    assert encoder.encoder.description == "OpenVINO bf16 on cpu"
    assert encoder.encoder.spec.precision is Precision.BF16
