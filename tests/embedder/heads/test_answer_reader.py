"""The best answer over all windows of a text, by a network that knows the pieces alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from models import SENTENCES
from torch import Tensor, nn

from embedder.answer_windows import WindowSpec
from embedder.checkpoint import open_checkpoint
from embedder.errors import EngineError
from embedder.heads.answer_reader import NOTHING, AnswerReader
from embedder.heads.linear import LinearHead
from embedder.tokens import Tokenizer

FILLER = " ".join(SENTENCES[2].split() * 5)
ANSWER = "interest rates"


class Pieces(nn.Module):
    """A network whose state of a piece is the piece: one for its own number, zero elsewhere."""

    def __init__(self, n_pieces: int) -> None:
        super().__init__()
        self.config = SimpleNamespace()
        self.rows = nn.Parameter(torch.eye(n_pieces))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        """States, shape (n, length, n_pieces)."""
        return SimpleNamespace(last_hidden_state=self.rows[input_ids])


def open_reader(model: Path, *, most_pieces: int = 5, weight: float = 3.0) -> AnswerReader:
    """A reader to which answers start with `interest` and end with `rates`."""
    tokenizer = Tokenizer(open_checkpoint(str(model)))
    [(ids, _)] = tokenizer.encode_inside_with_spans([ANSWER])
    n_pieces = 256
    weights = np.zeros((2, n_pieces), dtype=np.float32)
    weights[0, ids[0]] = weights[1, ids[1]] = weight
    return AnswerReader(
        transformer=Pieces(n_pieces),
        layer=LinearHead(weights, np.zeros(2, dtype=np.float32)),
        tokenizer=tokenizer,
        spec=WindowSpec(max_tokens=40, overlap=6),
        most_pieces=most_pieces,
        max_batch_tokens=100,
    )


def test_an_answer_is_found_wherever_it_stands(tiny_model: Path) -> None:
    """In texts of many windows the answer is found at each place, with its own characters; a
    question that holds the answer's words is not taken for the text."""
    reader = open_reader(tiny_model)
    words = FILLER.split()
    contexts = [
        " ".join([*words[:place], ANSWER, *words[place:]]) for place in range(len(words) + 1)
    ]
    for span, context in zip(
        reader.read([ANSWER] * len(contexts), contexts), contexts, strict=True
    ):
        assert context[span.start : span.end] == ANSWER
        assert span.margin == 6


def test_of_several_the_first_counts(tiny_model: Path) -> None:
    """Of equally good answers in several windows the first is found, whatever the batches are."""
    context = f"{FILLER} {ANSWER} {FILLER} {ANSWER}"
    [span] = open_reader(tiny_model).read(["what"], [context])
    assert span.start == context.index(ANSWER)


def test_a_long_answer_is_not_one(tiny_model: Path) -> None:
    """No span is longer than the longest answer."""
    context = "interest in green energy and rates"
    for most in (1, 3):
        [span] = open_reader(tiny_model, most_pieces=most).read(["what"], [context])
        assert len(context[span.start : span.end].split()) <= most
        assert span.margin == 3


def test_a_text_without_pieces_has_no_answer(tiny_model: Path) -> None:
    """Nothing is found in a text of which the tokenizer leaves nothing."""
    assert open_reader(tiny_model).read(["what"], ["\u200b"]) == [NOTHING]


def test_scores_that_are_no_numbers_are_an_error(tiny_model: Path) -> None:
    """A network that overflows is an error, and no answer."""
    reader = open_reader(tiny_model)
    with torch.no_grad():
        reader.transformer.rows.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(EngineError, match="no number"):
        reader.read(["what"], [ANSWER])
