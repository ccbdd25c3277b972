"""Windows over texts that questions are about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import SENTENCES, make_model

from embedder.answer_windows import Window, WindowSpec, make_windows, pieces_of
from embedder.answered_questions import Answer
from embedder.checkpoint import open_checkpoint
from embedder.errors import RequestError
from embedder.tokens import Tokenizer

CONTEXT = " ".join(SENTENCES * 8)
WORDS = " ".join(SENTENCES).split()


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    """The tokenizer of the tiny BERT."""
    return Tokenizer(open_checkpoint(str(tiny_model)))


def windows(tokenizer: Tokenizer, question: str, context: str, spec: WindowSpec) -> list[Window]:
    """The windows of one question."""
    return list(make_windows(tokenizer, [question], [context], spec))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    question=st.lists(st.sampled_from(WORDS), min_size=1, max_size=30),
    context=st.lists(st.sampled_from([*WORDS, "Zürich,", "\u200b", "日本"]), max_size=120),
    max_tokens=st.integers(24, 90),
    max_question_tokens=st.integers(1, 40),
    overlap=st.integers(0, 60),
)
def test_windows_cover_every_piece(
    tokenizer: Tokenizer,
    question: list[str],
    context: list[str],
    max_tokens: int,
    max_question_tokens: int,
    overlap: int,
) -> None:
    """Every piece of a text is in a window, no window is too long, and each holds the question's
    beginning and the pieces of its own stretch."""
    spec = WindowSpec(
        max_tokens=max_tokens, max_question_tokens=max_question_tokens, overlap=overlap
    )
    text = " ".join(context)
    [(ids, spans)] = tokenizer.encode_inside_with_spans([text])
    covered = set()
    for window in windows(tokenizer, " ".join(question), text, spec):
        assert len(window.piece_ids) <= max_tokens
        part = slice(window.start, window.start + window.n_context)
        inside = window.piece_ids[window.first : window.first + window.n_context]
        assert np.array_equal(inside, ids[part])
        assert window.can_hold_answer().sum() == window.n_context + 1
        covered |= set(range(*part.indices(len(ids))))
    assert covered == set(range(len(ids)))
    assert len(spans.starts) == len(ids)


@pytest.mark.parametrize("overlap", [0, 5, 12])
def test_an_answer_is_whole_in_a_window(tokenizer: Tokenizer, overlap: int) -> None:
    """An answer of as many pieces as windows share, and one more, is found again in a window
    wherever it stands, with its own characters."""
    spec = WindowSpec(max_tokens=40, max_question_tokens=8, overlap=overlap)
    found = windows(tokenizer, "what was green", CONTEXT, spec)
    assert len(found) > 5
    spans = found[0].spans
    for first in range(len(spans.starts) - overlap):
        last = first + overlap
        start, end = int(spans.starts[first]), int(spans.ends[last])
        pieces = pieces_of(Answer(CONTEXT[start:end], start), spans)
        assert pieces == (first, last)
        places = [(window, window.place(pieces)) for window in found]
        whole = [(window, place) for window, place in places if place is not None]
        assert whole, (first, last)
        for window, (at, to) in whole:
            inside = (at - window.first, to - window.first)
            assert window.characters(*inside) == (start, end)


def test_what_the_tokenizer_drops(tokenizer: Tokenizer) -> None:
    """An answer of characters that the tokenizer drops has no pieces; a part of a word has all
    pieces that it touches."""
    text = "bank \u200b river"
    spans = windows(tokenizer, "what", text, WindowSpec())[0].spans
    assert pieces_of(Answer("\u200b", 5), spans) is None
    assert pieces_of(Answer("ive", 8), spans) == (1, 1)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_windows_are_what_transformers_makes(tmp_path: Path, kind: str) -> None:
    """The pieces are those that Hugging Face's tokenizers make of a pair, with its overflow."""
    from tokenizers import Tokenizer as Backend

    folder = make_model(tmp_path / kind, kind)
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(40, stride=10, strategy="only_second")
    whole = backend.encode("what was green", CONTEXT)
    spec = WindowSpec(max_tokens=40, overlap=10)
    ours = windows(Tokenizer(open_checkpoint(str(folder))), "what was green", CONTEXT, spec)
    theirs = [encoding.ids for encoding in [whole, *whole.overflowing]]
    assert [window.piece_ids.tolist() for window in ours] == theirs


def test_a_text_of_nothing_has_a_window(tokenizer: Tokenizer) -> None:
    """A text without pieces has one window, in which only `no answer` can be said."""
    [window] = windows(tokenizer, "bank", "", WindowSpec())
    assert window.n_context == 0
    assert window.can_hold_answer().tolist() == [True, False, False, False]
    assert window.segment_ids().tolist() == [0, 0, 0, 1]


def test_a_window_without_room_is_refused(tokenizer: Tokenizer) -> None:
    """A window that has no room for a text is an error that says what to give."""
    with pytest.raises(RequestError, match="--window"):
        windows(tokenizer, "what was green", CONTEXT, WindowSpec(max_tokens=8))
