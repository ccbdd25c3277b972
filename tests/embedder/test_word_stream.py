"""The running words on disk: the same as in the texts, whatever memory there is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from embedder import word_stream
from embedder.array_file import append_array
from embedder.vocabulary import Vocabulary
from embedder.word_stream import END, FORM_BYTES, WordStream, write_stream
from embedder.words import find_words

TEXTS = [
    "The bank, the BANK; 42 banks.",
    "",
    "A river!",
    "the the river 7",
    "Straße strasse STRASSE",
]
PLENTY = 1 << 24


def write(texts: list[str], folder: Path, least_count: int = 1, memory: int = PLENTY) -> WordStream:
    """The stream of texts that come in two batches."""
    half = len(texts) // 2
    batches = [texts[:half], texts[half:]]
    return write_stream(batches, folder, least_count=least_count, memory=memory)


def read(stream: WordStream) -> list[list[str]]:
    """The words of each document."""
    documents: list[list[str]] = [[]]
    for number in stream.numbers.read(0, len(stream.numbers)).tolist():
        if number == END:
            documents.append([])
        else:
            documents[-1].append(stream.vocabulary.forms[number])
    assert documents.pop() == []
    return documents


@pytest.mark.parametrize("n", [3, 100_000])
def test_a_full_disk_is_an_error(n: int) -> None:
    """Numbers that are not written are never lost in silence, however few they are."""
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb") as file:
        append_array(file, np.arange(n))


def test_the_stream_holds_the_words(tmp_path: Path) -> None:
    """Each document is there with its words in order, and the vocabulary counts them."""
    stream = write(TEXTS, tmp_path)
    forms = [[word.form for word in find_words(text)] for text in TEXTS]
    assert read(stream) == forms
    counts = Counter(form for words in forms for form in words)
    found = zip(stream.vocabulary.forms, stream.vocabulary.counts.tolist(), strict=True)
    assert dict(found) == counts
    assert (stream.n_documents, stream.n_words, stream.n_forgotten) == (5, counts.total(), 0)


def test_rare_words_are_left_out(tmp_path: Path) -> None:
    """Words with fewer uses than asked for vanish from vocabulary and text, but not from the sum
    of running words."""
    stream = write(TEXTS, tmp_path, least_count=2)
    assert stream.vocabulary.forms == ("the", "strasse", "bank", "river")
    assert read(stream) == [
        ["the", "bank", "the", "bank"],
        [],
        ["river"],
        ["the", "the", "river"],
        ["strasse"] * 3,
    ]
    assert stream.n_words == 13


def test_little_memory_forgets_rare_words_only(tmp_path: Path) -> None:
    """Where more different words come than fit, frequent ones are counted all the same, and what
    was not counted is told."""
    texts = [f"common usual rare{'x' * (i % 7)}{chr(97 + i % 26)}w{i}" for i in range(3000)]
    stream = write(texts, tmp_path, least_count=10, memory=1000 * FORM_BYTES)
    assert stream.vocabulary.forms == ("common", "usual")
    assert stream.vocabulary.counts.tolist() == [3000, 3000]
    assert stream.n_words == 9000
    assert 1000 < stream.n_forgotten < 3000
    assert read(stream) == [["common", "usual"]] * 3000


def test_words_that_come_again_are_counted_anew(tmp_path: Path) -> None:
    """A frequent word that comes after others were forgotten, and one that was forgotten itself,
    stand where they stood since."""
    rare = [f"common rare{chr(97 + i % 26)}w{i}" for i in range(3000)]
    texts = ["early", *rare[:2000], *["early late"] * 20, *rare[2000:], "late early common"]
    stream = write(texts, tmp_path, least_count=15, memory=1000 * FORM_BYTES)
    assert dict(zip(stream.vocabulary.forms, stream.vocabulary.counts.tolist(), strict=True)) == {
        "common": 3001,
        "early": 21,
        "late": 21,
    }
    found = [" ".join(words) for words in read(stream)]
    assert found == ["", *["common"] * 2000, *["early late"] * 20, *["common"] * 1000, texts[-1]]


def test_forgotten_words_take_no_memory(tmp_path: Path) -> None:
    """What is kept of numbers does not grow with the words that ever came."""
    counter = word_stream._Counter(most_forms=1000)
    with (tmp_path / "numbers.bin").open("wb") as file:
        for start in range(0, 40_000, 100):
            counter.write([" ".join(f"w{i}" for i in range(start, start + 100))], file)
    assert len(counter._counts) + len(counter._old) < 10_000


def test_documents_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a few words at a time, all words come in order, and no piece spans two documents."""
    monkeypatch.setattr(word_stream, "CHUNK", 4)
    stream = write(TEXTS, tmp_path)
    pieces = [[stream.vocabulary.forms[n] for n in piece] for piece in stream.documents(2)]
    assert all(1 <= len(piece) <= 2 for piece in pieces)
    assert [form for piece in pieces for form in piece] == [f for doc in read(stream) for f in doc]
    assert ["banks", "a"] not in pieces and ["river", "the"] not in pieces


def test_a_text_without_words(tmp_path: Path) -> None:
    """Numbers and signs alone make an empty vocabulary and documents without words."""
    stream = write(["1 2", "..."], tmp_path)
    assert len(stream.vocabulary) == 0
    assert read(stream) == [[], []]


@pytest.mark.parametrize(
    ("forms", "counts", "message"),
    [
        (("a", "b"), [2], "for 2 forms"),
        (("a", "a"), [2, 1], "twice"),
        (("a", "b"), [1, 2], "not ordered"),
    ],
)
def test_a_vocabulary_checks_itself(
    forms: tuple[str, ...], counts: list[int], message: str
) -> None:
    """Counts of another length, a form that is there twice and another order are refused."""
    with pytest.raises(ValueError, match=message):
        Vocabulary(forms, np.array(counts))
