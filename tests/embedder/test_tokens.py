"""Pieces are those of the model's own tokenizer, and batches lose and repeat none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from embedder.checkpoint import open_checkpoint
from embedder.errors import ModelError
from embedder.tokens import LENGTH_STEP, TokenBatch, Tokenizer, padded_length, plan_batches

TEXTS = ["", "a", "The bank of the river.", "Würde, 猫, Москва", "interest rates " * 600]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The bundled model's tokenizer."""
    return Tokenizer(open_checkpoint())


def test_pieces_are_those_of_hugging_face(tokenizer: Tokenizer) -> None:
    """Piece ids equal those of the model's own tokenizer, and nothing is cut off."""
    reference = transformers.AutoTokenizer.from_pretrained(open_checkpoint().folder)
    wanted = reference(TEXTS, truncation=False)["input_ids"]
    assert [ids.tolist() for ids in tokenizer.encode(TEXTS)] == wanted


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_a_text_has_the_same_pieces_alone(tokenizer: Tokenizer, texts: list[str]) -> None:
    """A text's pieces do not depend on the texts beside it."""
    alone = [tokenizer.encode([text])[0].tolist() for text in texts]
    assert [ids.tolist() for ids in tokenizer.encode(texts)] == alone


@given(st.text(max_size=50))
def test_offsets_belong_to_the_pieces_inside(tokenizer: Tokenizer, text: str) -> None:
    """Pieces with offsets are the whole text's pieces less the special tokens."""
    [whole] = tokenizer.encode([text])
    inside = tokenizer.encode_with_offsets(text)
    assert inside.ids == whole[1:-1].tolist()
    assert all(0 <= start <= end <= len(text) for start, end in inside.offsets)


def test_special_tokens_are_counted(tokenizer: Tokenizer) -> None:
    """BERT puts two special tokens around a text, one of them behind it."""
    assert (tokenizer.n_special, tokenizer.n_after) == (2, 1)


@given(
    st.lists(st.integers(1, 600), max_size=60),
    st.integers(1, 5000),
)
def test_batches_hold_each_text_once(lengths: list[int], budget: int) -> None:
    """The batches of a plan hold each text exactly once."""
    planned = [i for indices, _ in plan_batches(lengths, budget) for i in indices]
    assert sorted(planned) == list(range(len(lengths)))


@given(
    st.lists(st.integers(1, 600), max_size=60),
    st.integers(1, 5000),
)
def test_batches_keep_the_budget_and_one_length(lengths: list[int], budget: int) -> None:
    """A batch holds texts of one padded length, within the budget unless it is one text."""
    for indices, length in plan_batches(lengths, budget):
        assert {padded_length(lengths[i]) for i in indices} == {length}
        assert len(indices) == 1 or len(indices) * length <= budget


@given(st.integers(1, 10_000))
def test_padding_is_the_least_to_a_step(n_pieces: int) -> None:
    """A padded length is the next multiple of the step."""
    assert 0 <= padded_length(n_pieces) - n_pieces < LENGTH_STEP
    assert padded_length(n_pieces) % LENGTH_STEP == 0


def test_the_longest_batch_comes_first() -> None:
    """Padded lengths of a plan never grow, so that most memory is asked for at once."""
    lengths = [padded for _, padded in plan_batches([3, 200, 9, 64, 64, 500], 128)]
    assert lengths == sorted(lengths, reverse=True)


def test_a_batch_holds_its_pieces_and_padding(tokenizer: Tokenizer) -> None:
    """A batch's row is the text's pieces, then padding where the mask is zero."""
    pieces = tokenizer.encode(["the bank", "the bank of the river"])
    batch = tokenizer.batch(pieces, 16)
    for row, mask, ids in zip(batch.piece_ids, batch.attention_mask, pieces, strict=True):
        assert np.array_equal(row[mask == 1], ids)
        assert (row[mask == 0] == tokenizer.pad_id).all()
        assert np.array_equal(mask, np.arange(16) < len(ids))


def test_shapes_that_differ_are_refused() -> None:
    """A batch whose mask has another shape than its pieces is refused."""
    ones = np.ones((2, 8), np.int64)
    with pytest.raises(ValueError, match="attention_mask"):
        TokenBatch(ones, ones[:1])


def test_a_damaged_tokenizer_is_named(tiny_copy: Path) -> None:
    """A tokenizer.json that cannot be read is a ModelError that names the file."""
    (tiny_copy / "tokenizer.json").write_text('{"version": "1.0", "model": {}}')
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        Tokenizer(open_checkpoint(str(tiny_copy)))
