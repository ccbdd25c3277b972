"""Uses of words: their pieces, and vectors that depend on the text alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from embedder import open_encoder
from embedder.encoders import EncoderOptions, TextEncoder
from embedder.occurrences import (
    OWN_WEIGHT,
    PieceRanges,
    UsePieces,
    find_pieces,
    pool_occurrences,
)
from embedder.passages import cut_documents
from embedder.projection import fit_projection
from embedder.records import hash_text, hash_texts
from embedder.specs import ChunkSpec, Overflow
from embedder.vectors import Rows, normalise
from embedder.word_uses import WordFinder, draws, encode_words
from embedder.words import find_words

TEXTS = [
    "the bank of the river was green",
    "The BANK raised its interest-rates, again and again!",
    "a crane lifted the steel beam over the unbelievably long river",
    "bank",
    "",
    "42 -- !",
]


@pytest.fixture(scope="module")
def encoder(tiny_model: Path, cache: Path) -> TextEncoder:
    """The tiny model."""
    return open_encoder(EncoderOptions(model=str(tiny_model)))


def test_words_get_their_own_pieces(encoder: TextEncoder) -> None:
    """The pieces of a word are those whose characters lie in it, all of them, and no others."""
    for text, (ids, spans) in zip(TEXTS, encoder.tokenizer.encode_with_spans(TEXTS), strict=True):
        words = list(find_words(text))
        starts = np.array([w.start for w in words], dtype=np.int32)
        ends = np.array([w.end for w in words], dtype=np.int32)
        ranges = find_pieces(spans, starts, ends)
        for word, first, last in zip(words, ranges.first, ranges.last, strict=True):
            own = [i for i in range(len(ids)) if spans.starts[i] < word.end]
            own = [i for i in own if spans.ends[i] > word.start and spans.ends[i] > spans.starts[i]]
            assert list(range(first, last)) == own and own


def _pool(states: Rows, is_text: npt.NDArray[np.bool_], ranges: PieceRanges) -> list[Rows]:
    return pool_occurrences(states[None], [UsePieces(np.zeros(len(states), int), ranges, is_text)])


def test_pooling_of_a_case_worked_by_hand() -> None:
    """With one piece to a text the vector is the piece's own; special pieces never count."""
    states = np.array([[9, 9], [3, 4], [9, 9]], dtype=np.float32)
    ranges = PieceRanges(np.array([1], np.int32), np.array([2], np.int32))
    [found] = _pool(states, np.array([False, True, False]), ranges)
    np.testing.assert_allclose(found, [[0.6, 0.8]], rtol=1e-6)


def test_a_use_leans_towards_its_own_word() -> None:
    """The neighbourhood is weighted by distance, and the word's own states come on top."""
    states = np.eye(5, dtype=np.float32)
    ranges = PieceRanges(np.array([0, 4], np.int32), np.array([1, 5], np.int32))
    [(first, last)] = _pool(states, np.ones(5, dtype=np.bool_), ranges)
    assert (np.diff(first) < 0).all() and (np.diff(last) > 0).all()
    assert first[0] / first[1] > first[1] / first[2] or OWN_WEIGHT == 0
    np.testing.assert_allclose(first, last[::-1], rtol=1e-6)


def test_words_of_a_passage_do_not_depend_on_others(encoder: TextEncoder) -> None:
    """The codes of a text's words are the same in any batch, to the last bit."""
    finder = WordFinder(frozenset({"the", "of"}))

    def codes(texts: list[str]) -> dict[str, bytes]:
        words = finder.find(texts, hash_texts(texts), encoder)
        pieces = encoder.tokenizer.encode(texts)
        found = {}
        for indices, _, encoded in encoder.encode_batches(pieces, with_states=True):
            assert encoded.states is not None
            own = encode_words(encoded.states, [words[i] for i in indices], projection)
            for number, codes in zip(indices, own, strict=True):
                assert codes.shape == (len(words[number].records), projection.n_components)
                found[texts[number]] = codes.tobytes()
        return found

    rng = np.random.default_rng(3)
    rows = normalise(rng.standard_normal((200, encoder.encoder.spec.width)).astype(np.float32))
    projection = fit_projection(rows, 8)
    together = codes(TEXTS)
    assert together == codes(TEXTS[::-1])
    for text in TEXTS:
        assert codes([text])[text] == together[text]


def test_function_words_and_numbers_are_no_uses(encoder: TextEncoder) -> None:
    """What the finder leaves out has no record; what it finds is known by its form."""
    finder = WordFinder(frozenset({"the", "of"}))
    [found] = finder.find(TEXTS[:1], hash_texts(TEXTS[:1]), encoder)
    text = TEXTS[0]
    assert found.forms == ["bank", "river", "was", "green"]
    assert found.records["word"].tolist() == [hash_text(form) for form in found.forms]
    spans = zip(found.records["start"].tolist(), found.records["length"].tolist(), strict=True)
    assert [text[start : start + length] for start, length in spans] == found.forms


def test_words_do_not_depend_on_where_pieces_were_known_from(encoder: TextEncoder) -> None:
    """Spans that came with the passages, of all or of some, make no difference."""
    cut = cut_documents(
        TEXTS,
        encoder.tokenizer,
        ChunkSpec(overflow=Overflow.TRUNCATE, window=16, stride=16),
        prompt="",
        ids=TEXTS,
        with_spans=True,
    )
    texts = [TEXTS[p.document][p.start : p.end] for p in cut.passages]
    spans = [p.spans for p in cut.passages]
    assert any(spans) and not all(spans)
    finder = WordFinder(frozenset({"the"}))
    found, wanted = (finder.find(texts, hash_texts(texts), encoder, s) for s in (spans, None))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.records, other.records)
        np.testing.assert_array_equal(one.ranges.first, other.ranges.first)
        np.testing.assert_array_equal(one.ranges.last, other.ranges.last)
        np.testing.assert_array_equal(one.is_text, other.is_text)
        assert one.forms == other.forms


def test_a_word_of_several_pieces_is_their_sum() -> None:
    """The states of a word's pieces are added up, also where words share a piece."""
    states = np.random.default_rng(1).standard_normal((9, 4)).astype(np.float32)
    first, last = np.array([[1, 2], [3, 6], [5, 6], [6, 9]], dtype=np.int32).T
    [found] = _pool(states, np.zeros(9, dtype=np.bool_), PieceRanges(first, last))
    sums = np.stack([states[a:b].sum(axis=0) for a, b in zip(first, last, strict=True)])
    np.testing.assert_allclose(found, normalise(sums), rtol=1e-5)


def test_draws_are_uniform_and_of_the_place() -> None:
    """Numbers by which a sample is drawn spread evenly, and equal places have equal ones."""
    starts = np.arange(100_000, dtype=np.int32)
    found = draws(np.uint64(12345), starts)
    counts = np.bincount(found >> 12, minlength=16)
    assert abs(counts / counts.mean() - 1).max() < 0.05
    np.testing.assert_array_equal(found, draws(np.uint64(12345), starts))
    assert (found != draws(np.uint64(54321), starts)).mean() > 0.99
