"""`embedder blend`: weights between those of two encoders, in a folder that is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from corpora import assert_refused, tree, weights
from in_process import Here
from models import SENTENCES, add_pooling, make_model

from embedder import EncoderOptions, open_encoder
from embedder.specs import Pooling
from jobs import BlendOptions, blend


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two networks of one shape."""
    room = tmp_path_factory.mktemp("models")
    return make_model(room / "one"), make_model(room / "other", seed=5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_weights_lie_between(models: tuple[Path, Path], tmp_path: Path, share: float) -> None:
    """Each weight is the mean of both, by the share; the ends are the models themselves, whose
    vectors the folder gives."""
    one, other = models
    made = blend(BlendOptions(model=str(one), other=str(other), out=tmp_path / "b", share=share))
    found, first, second = (weights(folder) for folder in (made, one, other))
    for name, weight in found.items():
        wanted = (1 - share) * first[name] + share * second[name]
        np.testing.assert_allclose(weight, wanted, rtol=1e-5, atol=1e-6)
    rows = [
        open_encoder(EncoderOptions(model=str(folder))).encode(SENTENCES)
        for folder in (made, one, other)
    ]
    near = [float((rows[0] * side).sum(1).min()) for side in rows[1:]]
    assert [value > 0.99999 for value in near] == [share == 0, share == 1]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_the_order_says_which_is_which(
    models: tuple[Path, Path], tmp_path: Path, here: Here
) -> None:
    """A share of one in the other is the rest of the other in the one."""
    one, other = models
    here("blend", one, other, "--share", 0.25, "--out", tmp_path / "a", "-q")
    done = here(
        *("blend", other, one, "--share", 0.75, "--out", tmp_path / "b", "--format", "json", "-q")
    )
    assert json.loads(done.stdout)["out"] == str(tmp_path / "b")
    first, second = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(np.allclose(first[name], second[name], atol=1e-6) for name in first)
    text = here("blend", one, other, "--out", tmp_path / "c").stdout
    card = (tmp_path / "c" / "README.md").read_text("utf-8")
    assert all(f"| 0.5 | `{model}` |" in card for model in models)
    assert "0.5 of" in text and f"--model {tmp_path / 'c'}" in text


def test_what_is_no_pair_is_refused(models: tuple[Path, Path], tmp_path: Path, here: Here) -> None:
    """Another shape, vocabulary or pooling, a static model, and a folder that is there: one line,
    and nothing is written."""
    one, other = models
    deeper = make_model(tmp_path / "deeper", num_hidden_layers=3)
    renamed = shutil.copytree(one, tmp_path / "renamed")
    content = json.loads((renamed / "tokenizer.json").read_text("utf-8"))
    pieces = content["model"]["vocab"]
    pieces["bank"], pieces["river"] = pieces["river"], pieces["bank"]
    (renamed / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    first = shutil.copytree(one, tmp_path / "first")
    add_pooling(first, Pooling.CLS)
    static = tmp_path / "static"
    static.mkdir()
    (static / "model.safetensors").write_bytes((one / "model.safetensors").read_bytes())
    (static / "tokenizer.json").write_bytes((one / "tokenizer.json").read_bytes())
    (static / "config.json").write_text(json.dumps({"model_type": "static", "hidden_size": 32}))
    before = tree(tmp_path)
    out = tmp_path / "out"
    for model, words in (
        (deeper, ("different shapes", "trained from")),
        (renamed, ("different vocabularies",)),
        (first, ("pooling", "cls")),
        (static, ("static",)),
        (tmp_path / "none", ("none",)),
    ):
        assert_refused(here("blend", one, model, "--out", out, "-q"), *words)
    assert_refused(here("blend", one, other, "--out", first, "-q"), "there already")
    assert tree(tmp_path) == before
