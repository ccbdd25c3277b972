"""The static engine: means of the table's vectors, whatever the batch, and refusals that help."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import SENTENCES, make_model
from safetensors.numpy import load_file, save_file

from embedder.checkpoint import open_checkpoint
from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.encoders.network import load_network
from embedder.errors import EmbedderError, EngineError, ModelError, RequestError
from embedder.specs import Engine, Pooling, Precision
from embedder.static_table import StaticTable, write_static_model
from embedder.tokens import Tokenizer, padded_length
from embedder.vectors import normalise

WIDTH = 12
TEXTS = [*SENTENCES, *(" ".join(SENTENCES[:n]) for n in (2, 4)), "", "No!", "bank", "☃ ☃☃"]


def make_static(folder: Path, teacher: Path) -> Path:
    """A static model with random vectors and weights, none for special pieces."""
    checkpoint = open_checkpoint(str(teacher))
    tokenizer = Tokenizer(checkpoint)
    chance = np.random.default_rng(1)
    vectors = chance.standard_normal((tokenizer.n_pieces, WIDTH)).astype(np.float32)
    weights = chance.uniform(0.1, 1, tokenizer.n_pieces).astype(np.float32)
    weights[tokenizer.special_ids] = 0
    empty = normalise(chance.standard_normal((1, WIDTH)).astype(np.float32))[0]
    folder.mkdir(parents=True)
    write_static_model(folder, StaticTable(vectors, weights, empty), checkpoint, {})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A static model with the tiny model's tokenizer."""
    return make_static(tmp_path_factory.mktemp("static") / "model", tiny_model)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    """It, open."""
    return open_encoder(EncoderOptions(model=str(folder)))


@pytest.fixture(scope="module")
def alone(encoder: TextEncoder) -> np.ndarray:
    """The vectors of the texts, each encoded alone."""
    return np.concatenate([encoder.encode([text]) for text in TEXTS])


def test_a_text_of_one_piece_has_the_tables_vector(folder: Path, encoder: TextEncoder) -> None:
    """The vector of a text that is one piece is that piece's in model.safetensors, unit length."""
    vectors = load_file(folder / "model.safetensors")["vectors"]
    for word in ("bank", "river", "a", "!"):
        [piece] = encoder.tokenizer.encode([word])[0][1:-1]
        np.testing.assert_allclose(
            encoder.encode([word])[0], normalise(vectors[[piece]])[0], atol=1e-6
        )


def test_a_text_is_the_weighted_mean_of_its_pieces(folder: Path, encoder: TextEncoder) -> None:
    """A text's vector is the sum of weight times vector over its pieces, scaled to unit length."""
    stored = load_file(folder / "model.safetensors")
    for text in SENTENCES:
        pieces = encoder.tokenizer.encode([text])[0]
        wanted = sum(stored["weights"][p] * stored["vectors"][p].astype(float) for p in pieces)
        found = encoder.encode([text])[0]
        np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-6)


def test_texts_without_known_pieces_have_a_vector(folder: Path, encoder: TextEncoder) -> None:
    """An empty text and one of unknown pieces alone get the vector kept for them, a unit one."""
    empty = load_file(folder / "model.safetensors")["empty"]
    assert np.array_equal(encoder.encode(["", " ", "☃ ☃☃"]), np.stack([empty] * 3))
    assert np.linalg.norm(empty) == pytest.approx(1)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chosen=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=60),
    max_batch_tokens=st.sampled_from([1, 16, 64, 200, 1024, 1 << 20]),
)
def test_a_vector_does_not_depend_on_its_batch(
    encoder: TextEncoder, alone: np.ndarray, chosen: list[int], max_batch_tokens: int
) -> None:
    """In any company, order and batch size a text has the vector it has alone, bit for bit."""
    together = replace(encoder, max_batch_tokens=max_batch_tokens)
    assert np.array_equal(together.encode([TEXTS[i] for i in chosen]), alone[chosen])


def test_states_are_what_is_summed(encoder: TextEncoder) -> None:
    """Rows are the sums of the states at unit length; states of padding and special pieces are
    zero, and of others the weighted vectors."""
    pieces = encoder.tokenizer.encode(SENTENCES[:3])
    batch = encoder.tokenizer.batch(pieces, padded_length(max(map(len, pieces))))
    rows, states = encoder.encoder.encode_states(batch)
    assert states is not None and states.shape == (*batch.piece_ids.shape, WIDTH)
    assert np.array_equal(rows, normalise(states.sum(axis=1)))
    is_inside = np.isin(batch.piece_ids, encoder.tokenizer.special_ids, invert=True)
    assert np.array_equal(states.any(axis=2), is_inside & (batch.attention_mask == 1))


def test_the_spec_is_the_folders(encoder: TextEncoder, tiny_model: Path) -> None:
    """Width is the table's, the window the teacher's, the precision fp32; the engine is numpy."""
    spec, teacher = encoder.encoder.spec, open_checkpoint(str(tiny_model)).spec()
    assert (spec.width, spec.max_tokens, spec.precision) == (WIDTH, teacher.max_tokens, "fp32")
    assert spec.tokenizer == teacher.tokenizer
    assert "static" in encoder.encoder.description


def test_another_table_is_another_space(folder: Path, tmp_path: Path, tiny_model: Path) -> None:
    """A changed weight changes the fingerprint, so an index refuses the other model."""
    other = make_static(tmp_path / "other", tiny_model)
    same = open_checkpoint(str(other)).spec()
    assert same.space == open_checkpoint(str(folder)).spec().space
    arrays = load_file(other / "model.safetensors")
    arrays["weights"] = arrays["weights"] * np.float32(0.5)
    save_file(arrays, other / "model.safetensors")
    assert open_checkpoint(str(other)).spec().space != same.space


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": Engine.TORCH}, r"--engine torch was asked.* Leave --engine out"),
        ({"engine": Engine.OPENVINO}, r"--engine openvino"),
        ({"precision": Precision.BF16}, r"--precision bf16"),
        ({"precision": Precision.INT8}, r"--precision int8"),
        ({"device": "cuda"}, r"--device cuda"),
        ({"layers": 2}, r"no layers.*--layers"),
        ({"pooling": Pooling.CLS}, r"averages.*--pooling"),
    ],
)
def test_what_contradicts_a_static_model_is_refused(
    folder: Path, changes: dict[str, object], message: str
) -> None:
    """An engine, precision, device, layers or pooling of networks: a RequestError that names it."""
    options = replace(EncoderOptions(model=str(folder)), **changes)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=message):
        open_encoder(options)


def test_what_agrees_with_a_static_model_is_taken(folder: Path, alone: np.ndarray) -> None:
    """Its own engine, precision, device and pooling may be named."""
    options = EncoderOptions(
        model=str(folder),
        engine=Engine.STATIC,
        precision=Precision.FP32,
        device="cpu",
        threads=1,
        layers=1,
        pooling=Pooling.MEAN,
    )
    assert np.array_equal(open_encoder(options).encode(TEXTS), alone)


def test_the_static_engine_runs_no_network(tiny_model: Path) -> None:
    """--engine static with a network is a RequestError that says how to make a static model."""
    with pytest.raises(RequestError, match=r"is a network.*embedder distil SOURCES --static"):
        open_encoder(EncoderOptions(model=str(tiny_model), engine=Engine.STATIC))


def test_a_static_model_is_no_network(folder: Path) -> None:
    """Where a network is wanted, as in training, a static model is a ModelError that says so."""
    checkpoint = open_checkpoint(str(folder))
    with pytest.raises(ModelError, match=r"static model.*--model"):
        load_network(checkpoint, checkpoint.spec())


def damage(folder: Path, name: str, value: object) -> None:
    """Change one array of a model, or leave it out."""
    arrays = load_file(folder / "model.safetensors")
    if value is None:
        del arrays[name]
    else:
        arrays[name] = np.array(value, dtype=getattr(value, "dtype", np.float32))
    save_file(arrays, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", None, "lacks 'weights'"),
        ("weights", [1.0], "shapes"),
        ("vectors", np.zeros((3, 2), np.float64), "shapes|float32"),
        ("empty", np.zeros(WIDTH, np.float32), "unit length"),
        ("empty", np.full(WIDTH, np.nan, np.float32), "not finite"),
    ],
)
def test_a_damaged_table_is_named(
    tmp_path: Path, tiny_model: Path, name: str, value: object, message: str
) -> None:
    """Arrays that are missing or of wrong shapes and values are a ModelError with the file."""
    folder = make_static(tmp_path / "m", tiny_model)
    damage(folder, name, value)
    with pytest.raises(ModelError, match=message) as raised:
        open_encoder(EncoderOptions(model=str(folder)))
    assert "model.safetensors" in raised.value.message and "distil" in raised.value.hint


def test_other_damage_is_named(tmp_path: Path, tiny_model: Path) -> None:
    """A cut file, another width in config.json and a tokenizer with more pieces are errors."""
    folder = make_static(tmp_path / "m", tiny_model)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 9}))
    with pytest.raises(ModelError, match="9 components, not 12"):
        open_encoder(EncoderOptions(model=str(folder)))
    (folder / "config.json").write_text(json.dumps(config))
    whole = (folder / "model.safetensors").read_bytes()
    arrays = load_file(folder / "model.safetensors")
    few = {**arrays, "vectors": arrays["vectors"][:9], "weights": arrays["weights"][:9]}
    save_file(few, folder / "model.safetensors")
    with pytest.raises(EngineError, match="has vectors of 9"):
        open_encoder(EncoderOptions(model=str(folder))).encode(["bank"])
    (folder / "model.safetensors").write_bytes(whole[:-5])
    with pytest.raises(EmbedderError, match=r"model\.safetensors"):
        open_encoder(EncoderOptions(model=str(folder)))


def test_lower_casing_comes_along(tmp_path: Path) -> None:
    """Where the teacher's folder asks for lower case before the tokenizer, the student's does."""
    teacher = make_model(tmp_path / "teacher")
    (teacher / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 20, "do_lower_case": True})
    )
    made = open_checkpoint(str(make_static(tmp_path / "student", teacher)))
    assert made.use_lower_case and made.max_tokens == 20
