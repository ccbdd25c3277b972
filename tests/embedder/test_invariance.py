"""A text's vector is the same to the last bit however the work was cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import SENTENCES

from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.encoders.export import is_bf16_supported
from embedder.specs import Engine, Precision

TEXTS = [" ".join(SENTENCES[i % 5].split() * (1 + i % 6)) for i in range(30)] + ["", "No!", "bank"]
CASES = [
    (Engine.OPENVINO, Precision.FP32),
    (Engine.OPENVINO, Precision.BF16),
    (Engine.TORCH, Precision.FP32),
    (Engine.TORCH, Precision.BF16),
]


def open_engine(model: str, engine: Engine, precision: Precision) -> TextEncoder:
    """An encoder on the CPU, or skip where the processor lacks the precision."""
    if engine is Engine.OPENVINO and precision is Precision.BF16 and not is_bf16_supported():
        pytest.skip("this processor has no bf16 arithmetic")
    return open_encoder(
        EncoderOptions(model=model, engine=engine, precision=precision, device="cpu")
    )


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def encoder(request: pytest.FixtureRequest, tiny_model: Path) -> TextEncoder:
    """The tiny model on each engine, at each precision that the engine has."""
    return open_engine(str(tiny_model), *request.param)


@pytest.fixture(scope="module")
def alone(encoder: TextEncoder) -> np.ndarray:
    """The vectors of the texts, each encoded alone."""
    return np.concatenate([encoder.encode([text]) for text in TEXTS])


def test_texts_differ(alone: np.ndarray) -> None:
    """The texts have vectors that differ, so that a mix-up would show."""
    assert len(np.unique(alone, axis=0)) == len(set(TEXTS))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chosen=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=60),
    max_batch_tokens=st.sampled_from([1, 16, 64, 200, 1024, 4096, 1 << 20]),
)
def test_a_vector_does_not_depend_on_its_batch(
    encoder: TextEncoder, alone: np.ndarray, chosen: list[int], max_batch_tokens: int
) -> None:
    """In any company, order and batch size a text has the vector it has alone, bit for bit."""
    together = replace(encoder, max_batch_tokens=max_batch_tokens)
    assert np.array_equal(together.encode([TEXTS[i] for i in chosen]), alone[chosen])


def test_a_result_is_not_overwritten(encoder: TextEncoder) -> None:
    """Vectors that were returned stay as they are when more texts are encoded."""
    first = encoder.encode(TEXTS[:1])
    kept = first.copy()
    encoder.encode(TEXTS[1:2])
    assert np.array_equal(first, kept)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "precision"), CASES, ids=str)
def test_the_bundled_model_does_not_depend_on_the_batch(
    sample_corpus: Path, engine: Engine, precision: Precision
) -> None:
    """Vectors of the sample by the bundled model are the same in any batch, order and budget."""
    texts = pq.read_table(sample_corpus, columns=["text"]).column("text").to_pylist()[:24]
    texts += ["No!", "bank", texts[0] * 20]
    encoder = open_engine("default", engine, precision)
    wanted = np.concatenate([encoder.encode([text]) for text in texts])
    for budget in (300, 4096):
        order = np.random.default_rng(budget).permutation(len(texts))
        found = replace(encoder, max_batch_tokens=budget).encode([texts[i] for i in order])
        assert np.array_equal(found, wanted[order]), budget


@pytest.mark.parametrize("engine", [Engine.OPENVINO, Engine.TORCH])
def test_threads_do_not_change_a_vector(tiny_model: Path, engine: Engine) -> None:
    """One thread and two give the same vectors but for rounding."""
    options = EncoderOptions(
        model=str(tiny_model), engine=engine, precision=Precision.FP32, device="cpu"
    )
    one, two = (open_encoder(replace(options, threads=n)).encode(TEXTS) for n in (1, 2))
    assert np.abs(one - two).max() < 1e-5
