"""Students with fewer layers: they start as their teacher, and their loss is what it says."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from models import CONFIGS, SENTENCES, make_model

from embedder.checkpoint import open_checkpoint
from embedder.encoders import EncoderOptions, open_encoder
from embedder.errors import RequestError, SourceError
from embedder.specs import Engine
from embedder.tokens import Tokenizer
from embedder.training.distillation.language import TEMPERATURE, soft_loss
from embedder.training.distillation.layers import choose_layers, match_layers, take_layers
from embedder.training.distillation.options import DistillationOptions
from embedder.training.distillation.preparation import prepare_sentences
from embedder.training.distillation.sentences import SentenceDistillation, hidden_loss
from embedder.training.distillation.texts import (
    HELD_OUT,
    TRAIN,
    PieceTexts,
    TextLayout,
    taught_texts,
    write_texts,
)
from embedder.training.encoder import TrainableEncoder, open_trainable

TEXTS = [*SENTENCES, "the bank of the river", "interest rates. The crane is rising.", "green steel"]


@pytest.mark.parametrize(
    ("n_teacher", "n_student", "kept", "matched"),
    [
        (12, 6, [0, 2, 4, 7, 9, 11], [1, 3, 6, 8, 10, 11]),  # as DistilBERT has them
        (6, 3, [0, 2, 5], [1, 4, 5]),
        (4, 4, [0, 1, 2, 3], [0, 1, 2, 3]),
        (6, 2, [0, 5], [4, 5]),
        (6, 1, [0], [5]),
    ],
)
def test_layers_are_evenly_spaced(
    n_teacher: int, n_student: int, kept: list[int], matched: list[int]
) -> None:
    """A student keeps the first and the last layer and evenly spaced ones between; each is like
    the teacher's layer before the next one that was kept."""
    assert choose_layers(n_teacher, n_student) == kept
    assert match_layers(kept, n_teacher) == matched


@pytest.mark.parametrize("n_student", [0, 3])
def test_more_layers_than_there_are_are_refused(n_student: int) -> None:
    """No layers, or more than the teacher has, are a RequestError that says the bounds."""
    with pytest.raises(RequestError, match=rf"{n_student} layers.*has 2.*1 to 2"):
        choose_layers(2, n_student)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_student_is_its_teachers_layers(tmp_path: Path, kind: str) -> None:
    """Of every kind of model, the kept layers and all that is not a layer have the teacher's
    weights; saved and opened anew, the student gives the vectors that it gave."""
    count = "n_layers" if kind == "distilbert" else "num_hidden_layers"
    folder = make_model(tmp_path / "teacher", kind, **{count: 4})
    teacher, student = open_trainable(str(folder)), open_trainable(str(folder))
    student.network.transformer = take_layers(teacher.transformer, [0, 3])
    theirs, own = (dict(e.transformer.named_parameters()) for e in (teacher, student))
    renamed = {name: name.replace(".1.", ".3.") for name in own}
    assert all(torch.equal(own[name], theirs[renamed[name]]) for name in own)
    assert len(own) < len(theirs)
    (tmp_path / "student").mkdir()
    student.eval().save(tmp_path / "student")
    opened = open_encoder(
        EncoderOptions(model=str(tmp_path / "student"), engine=Engine.TORCH, device="cpu")
    )
    assert open_checkpoint(str(tmp_path / "student")).n_layers == 2
    np.testing.assert_allclose(opened.encode(TEXTS), student.encode(TEXTS), atol=1e-5)


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of four layers."""
    return make_model(tmp_path_factory.mktemp("teacher") / "m", num_hidden_layers=4)


def distillation(folder: Path, n_layers: int) -> SentenceDistillation:
    """A student of so many layers with its teacher, in evaluation mode."""
    teacher, student = open_trainable(str(folder)), open_trainable(str(folder))
    kept = choose_layers(4, n_layers)
    student.network.transformer = take_layers(teacher.transformer, kept)
    return SentenceDistillation(student, teacher, match_layers(kept, 4)).eval()


def test_a_student_with_all_layers_has_no_loss(teacher_folder: Path) -> None:
    """With all layers the student is the teacher: its loss is zero, and with fewer it is not."""
    model = distillation(teacher_folder, 4)
    batch = model.student.collate_texts(TEXTS)
    assert model(**batch)["loss"].item() == pytest.approx(0, abs=1e-5)
    assert distillation(teacher_folder, 2)(**batch)["loss"].item() > 0.01


def test_the_teacher_is_neither_trained_nor_saved(teacher_folder: Path) -> None:
    """Gradients reach the student's layers alone; the teacher's weights are not in the module's
    state, and stay in evaluation mode."""
    model = distillation(teacher_folder, 2).train()
    teacher = model._teacher.on(torch.device("cpu"))
    before = [p.clone() for p in teacher.parameters()]
    model(**model.student.collate_texts(TEXTS))["loss"].backward()
    assert all(p.grad is None for p in teacher.parameters())
    trained = [n for n, p in model.student.named_parameters() if p.grad is not None]
    assert any("encoder.layer.1." in name for name in trained)
    assert any("word_embeddings" in name for name in trained)
    assert all(name.startswith("student.") for name in model.state_dict())
    assert not teacher.training and not teacher.transformer.training
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.parameters(), strict=True))


def test_padding_has_no_part_in_the_loss(teacher_folder: Path) -> None:
    """A batch padded further has the same loss."""
    model = distillation(teacher_folder, 2)
    batch = model.student.collate_texts(TEXTS)
    wider = {name: torch.nn.functional.pad(values, (0, 7)) for name, values in batch.items()}
    assert model(**wider)["loss"].item() == pytest.approx(model(**batch)["loss"].item(), abs=1e-5)


def test_the_hidden_loss_by_hand() -> None:
    """1 - cosine, meaned over the pieces of a layer and over layers."""
    one = torch.tensor([[[1.0, 0], [0, 2], [5, 5]]])
    other = torch.tensor([[[3.0, 0], [1, 0], [9, 9]]])
    mask = torch.tensor([[1, 1, 0]])
    assert hidden_loss([one, one], [other, one], mask).item() == pytest.approx((0.5 + 0) / 2)


def write(folder: Path, tokenizer: Tokenizer, texts: list[str], held_out: float = 0.3) -> Path:
    """Texts as pieces."""
    layout = TextLayout(length=12, held_out=held_out)
    write_texts([texts[:3], texts[3:]], folder / "text", tokenizer, layout)
    return folder / "text"


def test_what_is_read_is_what_was_written(tmp_path: Path, tiny_model: Path) -> None:
    """Each different text, and one sentence of those with several, is on one side, cut off at the
    length with its last special piece; equal texts are there once."""
    tokenizer = Tokenizer(open_checkpoint(str(tiny_model)))
    folder = write(tmp_path, tokenizer, [*TEXTS, TEXTS[0], " ".join(SENTENCES)])
    parts = [PieceTexts(folder, name) for name in (TRAIN, HELD_OUT)]
    found = [tuple(part[i].tolist()) for part in parts for i in range(len(part))]
    wanted = {text for document in [*TEXTS, " ".join(SENTENCES)] for text in taught_texts(document)}
    assert len(found) == len(wanted) == len(TEXTS) + 2
    assert set(found) == {
        tuple(tokenizer.cut(ids, 12).tolist()) for ids in tokenizer.encode(sorted(wanted))
    }
    assert all(len(part) for part in parts)
    assert max(map(len, found)) == 12
    assert len(parts[0].spread(3)) == 3 and len(parts[0].spread(100)) == len(parts[0])


def test_one_document_at_least_is_held_out(tmp_path: Path, tiny_model: Path) -> None:
    """With the smallest share one document is held out, and of a single one there is an error; so
    there is without text. Nothing half written stays."""
    tokenizer = Tokenizer(open_checkpoint(str(tiny_model)))
    (tmp_path / "b").mkdir()
    folder = write(tmp_path / "b", tokenizer, TEXTS[:5], 1e-9)
    assert (len(PieceTexts(folder, TRAIN)), len(PieceTexts(folder, HELD_OUT))) == (4, 1)
    with pytest.raises(RequestError, match="1 different documents"):
        write(tmp_path, tokenizer, ["interest rates. The crane is rising."] * 3)
    with pytest.raises(SourceError, match="no text"):
        write(tmp_path, tokenizer, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]


def test_texts_are_on_disk_before_they_have_their_name(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files have been synced when the folder appears, so a run that goes on after a loss of
    power finds them whole."""
    synced: set[int] = set()
    before: list[set[int]] = []
    sync, rename = os.fsync, Path.rename

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        sync(handle)

    def note_rename(path: Path, target: Path) -> Path:
        before.append(set(synced))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(Path, "rename", note_rename)
    folder = write(tmp_path, Tokenizer(open_checkpoint(str(tiny_model))), TEXTS)
    assert {path.stat().st_ino for path in (folder, *folder.iterdir())} == before[-1]


def test_measures_are_of_held_out_texts(tmp_path: Path, teacher_folder: Path) -> None:
    """With all layers the mean and the least cosine are one; with fewer they are those between
    the student's and the teacher's vectors of the held-out texts."""
    for n_layers in (4, 2):
        room = tmp_path / str(n_layers)
        room.mkdir()
        options = DistillationOptions(layers=n_layers, model=str(teacher_folder), held_out=0.4)
        run = prepare_sentences(lambda: [TEXTS], options, [], room)
        model = run.model.eval()
        assert isinstance(model, SentenceDistillation)
        held_out = PieceTexts(room / "text", HELD_OUT)
        pieces = [held_out[i] for i in range(len(held_out))]
        teacher: TrainableEncoder = open_trainable(str(teacher_folder)).eval()
        cosines = (teacher.encode_pieces(pieces) * model.student.encode_pieces(pieces)).sum(1)
        measures = run.evaluate()
        assert measures["cosine"] == pytest.approx(cosines.mean(), abs=1e-5)
        assert measures["least_cosine"] == pytest.approx(cosines.min(), abs=1e-5)
        assert (measures["cosine"] == pytest.approx(1, abs=1e-5)) == (n_layers == 4)
        assert run.facts["layers"] == n_layers


def test_the_soft_loss_by_hand() -> None:
    """The divergence of softened probabilities, summed over places, times the temperature's
    square; nothing between equal scores, whatever is added to all of a place."""
    own, wanted = torch.tensor([[0.0, 1, 2], [1, 1, 1]]), torch.tensor([[2.0, 0, 1], [1, 1, 1]])
    p, q = (np.exp(s[0].numpy() / TEMPERATURE) for s in (wanted, own))
    p, q = p / p.sum(), q / q.sum()
    expected = TEMPERATURE**2 * (p * np.log(p / q)).sum()
    assert soft_loss(own, wanted).item() == pytest.approx(expected, rel=1e-5)
    assert soft_loss(own + 3, own).item() == pytest.approx(0, abs=1e-6)
