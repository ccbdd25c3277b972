"""Vectors are those that Hugging Face and sentence-transformers compute."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from models import CONFIGS, LAYERS, POSITIONS, WIDTH, add_pooling, make_model, make_tokenizer
from safetensors.torch import save_file

from embedder.checkpoint import open_checkpoint
from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
from embedder.specs import Engine, Pooling, Precision, TextKind
from embedder.tokens import Tokenizer

TOLERANCE = 1e-4
ENGINES = [Engine.OPENVINO, Engine.TORCH]
SLOW_EXPORT = [pytest.param(Engine.OPENVINO, marks=pytest.mark.slow), Engine.TORCH]
TEXTS = [
    "the bank of the river was green",
    "No!",
    "interest in green energy is rising. the bank raised its interest rates again",
    "",
    "Die Würde des Menschen ist unantastbar. " * 2,
    "a crane lifted the steel beam",
    "the river " * 40,
    "bank",
]

Folders = Callable[[str], Path]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Tiny models by architecture, each made once."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = make_model(tmp_path_factory.mktemp("kinds") / kind, kind)
        return made[kind]

    return folder


def open_fp32(model: str | Path, engine: Engine, **options: Any) -> TextEncoder:
    """An encoder on the CPU at fp32."""
    return open_encoder(
        EncoderOptions(
            model=str(model), engine=engine, precision=Precision.FP32, device="cpu", **options
        )
    )


def pool(states: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector from the states of one text without padding, shape (n_pieces, width)."""
    if pooling is Pooling.CLS:
        return states[0]
    if pooling is Pooling.MAX:
        return states.max(dim=0).values
    weights = torch.ones(len(states))
    if pooling is Pooling.WEIGHTED:
        weights = torch.arange(1, len(states) + 1).float()
    return (weights[:, None] * states).sum(0) / weights.sum()


def reference(
    folder: Path, texts: Sequence[str], pooling: Pooling = Pooling.MEAN, layers: int = 1
) -> np.ndarray:
    """Hugging Face's model on one text at a time, without padding; shape (n_texts, width)."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    checkpoint = open_checkpoint(str(folder))
    rows = []
    for ids in Tokenizer(checkpoint).encode(texts):
        if len(ids) > checkpoint.max_tokens:
            ids = np.append(ids[: checkpoint.max_tokens - 1], ids[-1])  # the end token stays
        with torch.no_grad():
            output = model(torch.tensor(ids)[None], output_hidden_states=True)
        states = sum(output.hidden_states[-layers:]) / layers
        if layers == 1:
            states = output.last_hidden_state
        row = pool(states[0], pooling)
        rows.append((row / row.norm()).numpy())
    return np.stack(rows)


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    """Assert that all components agree, and that the reference tells the texts apart."""
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= TOLERANCE
    apart = wanted[:, None] - wanted[None]
    assert np.abs(apart).max(axis=2)[~np.eye(len(wanted), dtype=bool)].min() > 10 * TOLERANCE


@pytest.mark.parametrize("engine", SLOW_EXPORT)
@pytest.mark.parametrize("kind", CONFIGS)
def test_each_architecture_equals_hugging_face(folders: Folders, kind: str, engine: Engine) -> None:
    """Mean-pooled vectors of a mixed batch equal Hugging Face's, one text at a time."""
    folder = folders(kind)
    assert_close(open_fp32(folder, engine).encode(TEXTS), reference(folder, TEXTS))


@pytest.mark.parametrize("engine", SLOW_EXPORT)
@pytest.mark.parametrize("pooling", Pooling)
def test_each_pooling_equals_its_definition(
    folders: Folders, pooling: Pooling, engine: Engine
) -> None:
    """Each pooling equals its definition applied to one text's states without padding."""
    folder = folders("bert")
    found = open_fp32(folder, engine, pooling=pooling).encode(TEXTS)
    assert_close(found, reference(folder, TEXTS, pooling))


@pytest.mark.parametrize("engine", SLOW_EXPORT)
@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_layers_are_averaged(folders: Folders, kind: str, engine: Engine) -> None:
    """Two layers are the mean of the last two layers' states, pooled."""
    folder = folders(kind)
    found = open_fp32(folder, engine, layers=2).encode(TEXTS)
    assert_close(found, reference(folder, TEXTS, layers=2))
    assert np.abs(found - reference(folder, TEXTS)).max() > 10 * TOLERANCE


@pytest.mark.parametrize("engine", SLOW_EXPORT)
@pytest.mark.parametrize("kind", CONFIGS)
def test_states_are_of_two_layers(folders: Folders, kind: str, engine: Engine) -> None:
    """The states of pieces are the last layer's, and the middle layer's at half of their length;
    what pads a text changes none of them."""
    folder = folders(kind)
    encoder = open_fp32(folder, engine)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    texts = [encoder.cut(ids) for ids in encoder.tokenizer.encode(TEXTS)]
    for indices, _, encoded in encoder.encode_batches(texts, with_states=True):
        assert encoded.states is not None
        for number, found in zip(indices, encoded.states, strict=True):
            with torch.no_grad():
                layers = model(torch.tensor(texts[number])[None], output_hidden_states=True)
            last, middle = layers.last_hidden_state[0], layers.hidden_states[-1 - LAYERS // 2][0]
            longer = last.norm(dim=1, keepdim=True) / middle.norm(dim=1, keepdim=True)
            wanted = (last + 0.5 * longer * middle).numpy()
            assert np.abs(found[: len(wanted)] - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_window_cuts_texts(folders: Folders, engine: Engine) -> None:
    """A text longer than the chosen window has the vector of its first pieces and the end token."""
    encoder = open_fp32(folders("bert"), engine, max_tokens=12)
    cut, whole = encoder.encode(["bank " * 50, "bank " * 10])
    assert np.abs(cut - whole).max() <= TOLERANCE


# sentence-transformers


def sentence_transformer(folder: Path) -> Any:
    """The folder as sentence-transformers opens it."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def assert_same_as_sentence_transformers(
    folder: Path, texts: Sequence[str] = TEXTS, engine: Engine = Engine.TORCH
) -> np.ndarray:
    """Assert that the folder's vectors are those of sentence-transformers; returns them."""
    model = sentence_transformer(folder)
    wanted: np.ndarray = model.encode(list(texts), normalize_embeddings=True)
    assert_close(open_fp32(folder, engine).encode(texts), wanted)
    return wanted


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_the_bundled_model_equals_sentence_transformers(engine: Engine) -> None:
    """The bundled model's vectors are sentence-transformers', beyond the window too."""
    texts = [*TEXTS, "吾輩は猫である。名前はまだ無い。", "The river rose. " * 400]
    wanted = sentence_transformer(open_checkpoint().folder).encode(texts)
    assert_close(open_fp32("default", engine).encode(texts), wanted)


@pytest.mark.parametrize(
    ("mode", "pooling"),
    [
        ("mean_tokens", Pooling.MEAN),
        ("cls_token", Pooling.CLS),
        ("max_tokens", Pooling.MAX),
        ("weightedmean_tokens", Pooling.WEIGHTED),
        ("mean_sqrt_len_tokens", Pooling.MEAN),
    ],
)
def test_each_pooling_folder_equals_sentence_transformers(
    tiny_copy: Path, mode: str, pooling: Pooling
) -> None:
    """The pooling and the window that a folder asks for are sentence-transformers'."""
    add_pooling(tiny_copy, mode)
    checkpoint = open_checkpoint(str(tiny_copy))
    assert (checkpoint.pooling, checkpoint.max_tokens) == (pooling, POSITIONS - 4)
    assert_same_as_sentence_transformers(tiny_copy)


def test_the_new_form_of_a_pooling_folder_is_read(tiny_copy: Path) -> None:
    """A pooling folder that names its mode as one value is read as sentence-transformers does."""
    add_pooling(tiny_copy, "mean_tokens")
    values = {"embedding_dimension": WIDTH, "pooling_mode": "max"}
    (tiny_copy / "1_Pooling" / "config.json").write_text(json.dumps(values))
    assert open_checkpoint(str(tiny_copy)).pooling is Pooling.MAX
    assert_same_as_sentence_transformers(tiny_copy)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["document", "passage", "corpus"])
def test_prompts_equal_sentence_transformers(tiny_copy: Path, name: str, engine: Engine) -> None:
    """Queries and passages get the folder's prompts, as sentence-transformers puts them."""
    add_pooling(tiny_copy, "mean_tokens")
    prompts = {"query": "green river: ", name: "interest rates: "}
    (tiny_copy / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    encoder, model = open_fp32(tiny_copy, engine), sentence_transformer(tiny_copy)
    queries = encoder.encode(TEXTS, TextKind.QUERY)
    assert_close(queries, model.encode(TEXTS, prompt_name="query"))
    passages = encoder.encode(TEXTS, TextKind.PASSAGE)
    assert_close(passages, model.encode(TEXTS, prompt_name=name))
    assert np.abs(queries - passages).max() > 10 * TOLERANCE


@pytest.mark.parametrize("engine", ENGINES)
def test_an_option_replaces_the_folders_prompt(tiny_copy: Path, engine: Engine) -> None:
    """A prompt given as an option is used in place of the folder's, an empty one too."""
    plain = open_fp32(tiny_copy, engine).encode(["the bank"])
    prompts = {"query": "green river: "}
    (tiny_copy / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    options = {"query_prompt": "", "passage_prompt": "the "}
    encoder = open_fp32(tiny_copy, engine, **options)
    assert np.array_equal(encoder.encode(["the bank"], TextKind.QUERY), plain)
    assert np.array_equal(encoder.encode(["bank"], TextKind.PASSAGE), plain)


@pytest.mark.parametrize(
    "activation",
    ["activation.Tanh", "linear.Identity", "activation.ReLU", "activation.GELU"],
)
def test_a_dense_module_equals_sentence_transformers(tiny_copy: Path, activation: str) -> None:
    """A dense layer after the pooling gives sentence-transformers' vectors and width."""
    add_dense(tiny_copy, 24, f"torch.nn.modules.{activation}")
    assert assert_same_as_sentence_transformers(tiny_copy).shape[1] == 24


@pytest.mark.parametrize("engine", SLOW_EXPORT)
def test_a_dense_module_without_bias_equals_sentence_transformers(
    tiny_copy: Path, engine: Engine
) -> None:
    """A dense layer without a bias gives sentence-transformers' vectors."""
    add_dense(tiny_copy, 40, "torch.nn.modules.linear.Identity", bias=False)
    assert assert_same_as_sentence_transformers(tiny_copy, engine=engine).shape[1] == 40


def add_dense(folder: Path, width: int, activation: str, *, bias: bool = True) -> None:
    """Add pooling and a dense layer with random weights."""
    add_pooling(folder, "mean_tokens")
    modules = json.loads((folder / "modules.json").read_text())
    kind = "sentence_transformers.models.Dense"
    modules[2:] = [
        {"idx": 2, "name": "2", "path": "2_Dense", "type": kind},
        {**modules[2], "idx": 3, "name": "3", "path": "3_Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    for name in ("2_Dense", "3_Normalize"):
        (folder / name).mkdir()
    (folder / "2_Dense" / "config.json").write_text(
        json.dumps(
            {
                "in_features": WIDTH,
                "out_features": width,
                "bias": bias,
                "activation_function": activation,
            }
        )
    )
    generator = torch.Generator().manual_seed(1)
    weights = {"linear.weight": torch.randn(width, WIDTH, generator=generator)}
    if bias:
        weights["linear.bias"] = torch.randn(width, generator=generator)
    save_file(weights, folder / "2_Dense" / "model.safetensors")


def test_lower_casing_equals_sentence_transformers(tiny_copy: Path) -> None:
    """A folder that asks for lower case over a cased tokenizer gives the same vectors."""
    tokenizer = make_tokenizer(tiny_copy)
    add_pooling(tiny_copy, "mean_tokens")
    values = json.loads((tiny_copy / "tokenizer.json").read_text())
    values["normalizer"].update(lowercase=False, strip_accents=True)
    (tiny_copy / "tokenizer.json").write_text(json.dumps(values))
    texts = ["The BANK of the River", "GREEN energy", "ÉNERGIE Würde"]
    cased = open_fp32(tiny_copy, Engine.TORCH).encode(texts)
    settings = {"max_seq_length": POSITIONS - 4, "do_lower_case": True}
    (tiny_copy / "sentence_bert_config.json").write_text(json.dumps(settings))
    lowered = assert_same_as_sentence_transformers(tiny_copy, texts)
    assert np.abs(lowered - cased).max() > 10 * TOLERANCE
    assert tokenizer.token_to_id("BANK") is None
