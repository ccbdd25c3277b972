"""Passages cover their documents, fit the window, and are stretches that stand for themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embedder.checkpoint import open_checkpoint
from embedder.encoders import EncoderOptions, open_encoder
from embedder.errors import DocumentTooLongError, RequestError
from embedder.passages import BLOCK_CHARACTERS, Cut, Passage, cut_documents
from embedder.specs import ChunkSpec, Overflow
from embedder.tokens import Tokenizer

WORDS = st.sampled_from(
    [
        *("the", "bank", "antidisestablishmentarianism", "x" * 120, "3.14", "e.g.", "..."),
        *("猫である", "Würde", "ß", "🙂", "\u00ad", "\x00", "\n\n"),
    ]
)
TEXTS = st.lists(WORDS | st.text(max_size=12), min_size=1, max_size=60).map(" ".join)
PROMPT = "query: "


@cache
def tokenizer() -> Tokenizer:
    """The bundled model's tokenizer."""
    return Tokenizer(open_checkpoint())


def chunks(window: int, stride: int, overflow: Overflow = Overflow.WINDOW) -> ChunkSpec:
    """How to cut."""
    return ChunkSpec(overflow=overflow, window=window, stride=stride)


def cut(texts: Sequence[str], spec: ChunkSpec, prompt: str = "") -> Cut:
    """Cut with the bundled model's tokenizer."""
    ids = [f"d{i}" for i in range(len(texts))]
    return cut_documents(texts, tokenizer(), spec, prompt=prompt, ids=ids)


def uncovered(text: str, passages: Sequence[Passage]) -> list[str]:
    """The pieces of a text, as characters, that reach outside every passage."""
    is_covered = np.zeros(len(text), bool)
    for passage in passages:
        is_covered[passage.start : passage.end] = True
    offsets = tokenizer().encode_with_offsets(text).offsets
    return [text[start:end] for start, end in offsets if not is_covered[start:end].all()]


def assert_laws(text: str, spec: ChunkSpec, prompt: str = "") -> list[Passage]:
    """Assert what holds for every cut into windows; returns the passages."""
    passages = cut([text], spec, prompt).passages
    assert passages
    assert uncovered(text, passages) == []
    for passage in passages:
        [alone] = tokenizer().encode([prompt + text[passage.start : passage.end]])
        assert np.array_equal(passage.pieces, alone)
        assert len(passage.pieces) <= spec.window
    for before, after in pairwise(passages):
        assert before.start < after.start
    return passages


@settings(max_examples=150)
@given(TEXTS, st.integers(8, 40), st.integers(1, 60), st.sampled_from(["", PROMPT]))
def test_passages_cover_fit_and_stand_alone(
    text: str, window: int, stride: int, prompt: str
) -> None:
    """Each kept piece is in a passage; each passage fits and is tokenised as its text alone."""
    if text.strip():
        assert_laws(text, chunks(window, stride), prompt)


@settings(max_examples=50)
@given(st.lists(TEXTS.filter(str.strip), min_size=2, max_size=4), st.integers(8, 30))
def test_a_document_is_cut_the_same_beside_others(texts: list[str], window: int) -> None:
    """A document's passages do not depend on the documents beside it."""
    spec = chunks(window, window // 2)
    together = cut(texts, spec).passages
    alone = [(i, p) for i, text in enumerate(texts) for p in cut([text], spec).passages]
    assert [(p.document, p.start, p.end) for p in together] == [
        (i, p.start, p.end) for i, p in alone
    ]


@settings(max_examples=100)
@given(TEXTS.filter(str.strip))
@example(f" {'x' * 121} {'x' * 120}")
def test_what_fits_is_one_whole_passage(text: str) -> None:
    """A document that fits is one passage with all its text, white space included."""
    n_pieces = len(tokenizer().encode([text])[0])
    found = cut([text], chunks(max(4, n_pieces), 4))
    assert [(p.start, p.end) for p in found.passages] == [(0, len(text))]
    assert (found.n_windowed, found.n_truncated) == (0, 0)


def test_passages_overlap_by_window_less_stride() -> None:
    """Windows of one-piece words start a stride apart, and the last one reaches back to be full."""
    text = " ".join(["bank", "river"] * 25)  # 50 pieces
    passages = assert_laws(text, chunks(12, 7))
    first_words = [len(text[: p.start].split()) for p in passages]
    assert first_words == [0, 7, 14, 21, 28, 35, 40]
    assert all(len(p.pieces) == 12 for p in passages)


def test_no_word_is_split() -> None:
    """Windows begin and end between words as long as words fit."""
    text = " ".join(["antidisestablishmentarianism", "bank"] * 30)
    for passage in assert_laws(text, chunks(20, 10)):
        assert text[passage.start : passage.end].split() == [
            word
            for word in text[passage.start : passage.end].split()
            if word in ("antidisestablishmentarianism", "bank")
        ]


@pytest.mark.parametrize("stride", [1, 7, 10, 12, 1000])
@pytest.mark.parametrize("window", [4, 5, 12])
def test_odd_strides_end_and_cover(window: int, stride: int) -> None:
    """Cutting ends and covers with a stride of one, of the room, and larger than the window."""
    assert_laws(
        "the bank of the river was green and the crane lifted a beam", chunks(window, stride)
    )


@pytest.mark.parametrize(
    "text",
    [
        "吾輩は猫である。名前はまだ無い。" * 200,
        "x" * 5000,
        "supercalifragilistic" * 250,
        ("x" * 90 + " ") * 60,
        "a" + " " * 5000 + "b" * 50 + " c" * 100,
        "\u00ad\u200b" * 2000 + "bank " * 300,
        "🙂" * 3000,
    ],
    ids=["cjk", "one letter", "one word", "long words", "spaces", "ignored", "emoji"],
)
def test_unusual_texts_are_covered(text: str) -> None:
    """Texts without spaces, of spaces, of emoji or of ignored characters obey the same laws."""
    assert_laws(text, chunks(64, 48))


def test_several_passages_are_counted_once() -> None:
    """The counts are of documents, not of passages."""
    found = cut(["bank " * 100, "short", "river " * 50], chunks(16, 8))
    assert (found.n_windowed, found.n_truncated) == (2, 0)
    assert {p.document for p in found.passages} == {0, 1, 2}


def test_truncating_keeps_the_first_window() -> None:
    """Truncation gives one passage, the first of the windows, and is counted."""
    text = "the bank of the river was green " * 20
    found = cut([text, "short"], chunks(16, 8, Overflow.TRUNCATE))
    [first, *_] = cut([text], chunks(16, 8)).passages
    assert [(p.document, p.start, p.end) for p in found.passages] == [
        (0, 0, first.end),
        (1, 0, 5),
    ]
    assert (found.n_windowed, found.n_truncated) == (0, 1)


def test_an_error_names_the_document() -> None:
    """A document that is too long is an error that names its id, where one is asked for."""
    with pytest.raises(DocumentTooLongError, match=r"'d1'.*16 tokens"):
        cut(["short", "bank " * 50], chunks(16, 8, Overflow.ERROR))
    assert len(cut(["short"], chunks(16, 8, Overflow.ERROR)).passages) == 1


def test_a_prompt_counts_towards_the_window() -> None:
    """A text that fills the window alone is cut once a prompt stands before it."""
    text = " ".join(["bank"] * 10)
    assert len(cut([text], chunks(12, 12)).passages) == 1
    prompted = assert_laws(text, chunks(12, 12), PROMPT)
    assert [len(p.pieces) for p in prompted] == [12, 12]


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    """A prompt that fills the window is refused, rather than every text getting one vector."""
    prompt, window = "query: " * 8, 16
    with pytest.raises(RequestError, match="prompt"):
        cut(["the bank of the river"], chunks(window, 8), prompt)
        open_encoder(EncoderOptions(passage_prompt=prompt, max_tokens=window))


def test_text_that_the_tokenizer_drops_is_one_passage() -> None:
    """A document of characters that the tokenizer drops is one passage of no pieces."""
    text = "\u200b" * 2000
    found = cut([text], chunks(16, 8))
    assert [(p.start, p.end, len(p.pieces)) for p in found.passages] == [(0, len(text), 2)]


def test_an_enormous_document_is_covered_across_blocks() -> None:
    """A document of several blocks obeys the laws, and no word is split where blocks meet."""
    text = " ".join(f"word{i} bank" for i in range(30_000))
    assert len(text) > 3 * BLOCK_CHARACTERS
    for passage in assert_laws(text, chunks(256, 200)):
        assert passage.start == 0 or text[passage.start - 1] == " "
        assert passage.end == len(text) or text[passage.end] == " "


def test_an_enormous_word_is_covered_across_blocks() -> None:
    """Three hundred thousand characters without a space are covered."""
    assert_laws("吾輩は猫である" * 43_000, chunks(512, 512))
