"""Questions and long texts to windows that fit the encoder: every piece of a text is in one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.answered_questions import Answer
from embedder.errors import ModelError, RequestError
from embedder.tokens import PairSpecials, Pieces, PieceSpans, Tokenizer

LEAST_CONTEXT = 8
"""Pieces of a text that a window must have room for."""


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """How questions and texts are cut.

    Args:
        max_tokens: pieces of a window, special tokens included.
        max_question_tokens: pieces of a question that are read; at most half of the window.
        overlap: pieces of the text that two windows beside each other share, at most half of
            what fits. An answer of so many pieces is in a window whole, wherever it stands.
    """

    max_tokens: int = 384
    max_question_tokens: int = 64
    overlap: int = 128

    def __post_init__(self) -> None:
        if self.max_question_tokens < 1 or self.overlap < 0:
            raise RequestError(
                f"Questions of {self.max_question_tokens} tokens and an overlap of {self.overlap} "
                "make no sense.",
                "Give at least 1 and 0.",
            )


@dataclass(frozen=True)
class Window:
    """A question and a stretch of its text, ready for a network.

    Args:
        row: number of the question among those that were cut.
        piece_ids: int64, shape (length,): the question, the stretch, and special tokens.
        first: place in `piece_ids` of the first piece of the stretch.
        start: number of that piece among those of the text.
        n_context: pieces of the stretch.
        spans: where in the text each piece of the text stands, in the stretch or not.
    """

    row: int
    piece_ids: Pieces
    first: int
    start: int
    n_context: int
    spans: PieceSpans

    def segment_ids(self) -> npt.NDArray[np.int64]:
        """0 for the question and 1 for the text, as BERT numbers them, shape (length,)."""
        return (np.arange(len(self.piece_ids)) >= self.first).astype(np.int64)

    def can_hold_answer(self) -> npt.NDArray[np.bool_]:
        """The pieces of the stretch, and the first, which stands for no answer; shape (length,)."""
        can = np.zeros(len(self.piece_ids), dtype=np.bool_)
        can[0] = can[self.first : self.first + self.n_context] = True
        return can

    def place(self, pieces: tuple[int, int]) -> tuple[int, int] | None:
        """Places in `piece_ids` of two pieces of the text, None unless both are here."""
        first, last = pieces
        if not self.start <= first <= last < self.start + self.n_context:
            return None
        return first - self.start + self.first, last - self.start + self.first

    def characters(self, first: int, last: int) -> tuple[int, int]:
        """The characters of the text, half-open, under two pieces of the stretch from 0."""
        return int(self.spans.starts[self.start + first]), int(self.spans.ends[self.start + last])


def pieces_of(answer: Answer, spans: PieceSpans) -> tuple[int, int] | None:
    """First and last piece that an answer touches, None if the tokenizer drops all of it."""
    touched = np.flatnonzero((spans.ends > answer.start) & (spans.starts < answer.end))
    return (int(touched[0]), int(touched[-1])) if len(touched) else None


def make_windows(
    tokenizer: Tokenizer, questions: Sequence[str], contexts: Sequence[str], spec: WindowSpec
) -> Iterator[Window]:
    """Cut each question and its text into windows, at least one, in order.

    Args:
        tokenizer: text to pieces.
        questions: the questions.
        contexts: the text that each is about.
        spec: how they are cut.

    Raises:
        ModelError: the tokenizer puts no special token before a pair of texts, so there is no
            place that stands for no answer.
        RequestError: the windows are too short.
    """
    specials = _specials(tokenizer)
    distinct = list(dict.fromkeys(contexts))  # SQuAD asks five questions about a text
    encoded = dict(zip(distinct, tokenizer.encode_inside_with_spans(distinct), strict=True))
    asked = tokenizer.encode_inside_with_spans(questions)
    for row, ((question, _), context) in enumerate(zip(asked, contexts, strict=True)):
        n_special = sum(map(len, specials))
        n_question = min(spec.max_question_tokens, (spec.max_tokens - n_special) // 2)
        yield from _cut(row, question[: max(0, n_question)], *encoded[context], specials, spec)


def _specials(tokenizer: Tokenizer) -> PairSpecials:
    specials = tokenizer.pair_specials()
    if not specials.before:
        raise ModelError(
            "The model's tokenizer puts no special token before a pair of texts, and one is "
            "wanted that stands for no answer.",
            "Use a model whose tokenizer.json has a post-processor, as BERT's has.",
        )
    return specials


def _cut(
    row: int,
    question: Pieces,
    context: Pieces,
    spans: PieceSpans,
    specials: PairSpecials,
    spec: WindowSpec,
) -> Iterator[Window]:
    before = np.concatenate([specials.before, question, specials.between]).astype(np.int64)
    after = np.asarray(specials.after, dtype=np.int64)
    room = spec.max_tokens - len(before) - len(after)
    if room < LEAST_CONTEXT:
        raise RequestError(
            f"A window of {spec.max_tokens} tokens leaves room for {room} of the text.",
            "Give a larger --window.",
        )
    for start in _starts(len(context), room, spec.overlap):
        part = context[start : start + room]
        ids = np.concatenate([before, part, after])
        yield Window(row, ids, len(before), start, len(part), spans)


def _starts(n_pieces: int, room: int, overlap: int) -> Iterator[int]:
    """First pieces of windows that cover `n_pieces`; no window lies in the one before."""
    step = room - min(overlap, room // 2)
    start = 0
    yield start
    while start + room < n_pieces:
        start += step
        yield start
