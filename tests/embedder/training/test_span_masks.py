"""Stretches of context that are hidden."""

from __future__ import annotations

import torch
from torch import Tensor

from embedder.training.span_masks import draw_spans


def row(pattern: str) -> tuple[Tensor, Tensor]:
    """A text of one letter a piece: t of text, W of the word, . of neither."""
    is_text = torch.tensor([[letter in "tW" for letter in pattern]])
    return is_text, torch.tensor([[letter == "W" for letter in pattern]])


def hidden(pattern: str, length: int, *draws: float) -> str:
    """The same with x for what is hidden."""
    [found] = draw_spans(*row(pattern), length, torch.tensor([draws])).tolist()
    return "".join("x" if f else letter for f, letter in zip(found, pattern, strict=True))


def test_cases_by_hand() -> None:
    """A stretch on either side goes from its first place to its last; where a side has no more
    room than a stretch, nothing of it is hidden."""
    assert hidden(".ttttWttt.", 2, 0, 0) == ".xxttWxxt."
    assert hidden(".ttttWttt.", 2, 0.999999, 0.999999) == ".ttxxWtxx."
    assert hidden(".ttttWttt..", 3, 0.5, 0.5) == ".txxxWttt.."
    assert hidden(".W.", 1, 0.5, 0.5) == ".W."
    assert hidden(".WWtt", 1, 0.9, 0.6) == ".WWtx"
    assert hidden(".ttttWttt.", 0, 0.5, 0.5) == ".ttttWttt."


def test_any_draw() -> None:
    """Whatever is drawn, a stretch lies in one side's text, and every place comes up."""
    is_text, is_word = row("..tttttWWttttttt..")
    draws = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
    found = draw_spans(is_text.expand(500, -1), is_word.expand(500, -1), 3, draws)
    assert (found.sum(1) == 6).all()
    assert not (found & ~(is_text & ~is_word)).any()
    assert torch.equal(found.any(0), (is_text & ~is_word)[0])
