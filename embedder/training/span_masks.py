"""Stretches of the context of a word's use that are hidden, drawn by chance."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_spans(is_text: Tensor, is_word: Tensor, length: int, draws: Tensor) -> Tensor:
    """Which pieces are hidden: a stretch on either side of the word, where there is room for more
    than that, bool, shape (n, n_pieces).

    Args:
        is_text: which pieces are no special tokens and no padding, shape (n, n_pieces).
        is_word: which are the word's own, one stretch a text, the same shape.
        length: pieces of a stretch; 0 for none.
        draws: numbers from 0 to below 1 that say where, shape (n, 2).
    """
    places = torch.arange(is_text.shape[1], device=is_text.device)
    text_start, text_end = _first(is_text), _end(is_text)
    word_start, word_end = _first(is_word), _end(is_word)
    sides = ((text_start, word_start, draws[:, 0]), (word_end, text_end, draws[:, 1]))
    hidden = torch.zeros_like(is_text)
    for start, end, draw in sides:
        room = end - start - length
        begin = start + (draw * (room + 1).clamp(min=1)).long()
        inside = (places >= begin[:, None]) & (places < (begin + length)[:, None])
        hidden = hidden | (inside & (room > 0)[:, None])
    return hidden


def _first(flags: Tensor) -> Tensor:
    return flags.int().argmax(1)


def _end(flags: Tensor) -> Tensor:
    return flags.shape[1] - flags.int().flip(1).argmax(1)
