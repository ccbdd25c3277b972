"""Text of pre-training: vocabulary, pieces on disk, pairs of segments, masks."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import SENTENCES, make_model

from embedder.checkpoint import open_checkpoint
from embedder.errors import RequestError
from embedder.tokens import Tokenizer
from embedder.training.pretraining import piece_file
from embedder.training.pretraining.examples import PretrainingExamples
from embedder.training.pretraining.masks import Masker, draw_for
from embedder.training.pretraining.next_segments import draw_partners
from embedder.training.pretraining.options import Objective
from embedder.training.pretraining.piece_file import (
    PIECES,
    TRAIN,
    VALIDATION,
    Part,
    PieceLayout,
    open_part,
    write_pieces,
)
from embedder.training.pretraining.segments import cut_pairs
from embedder.training.pretraining.special import SpecialPieces, read_special
from embedder.training.pretraining.wordpiece import save_wordpiece, train_wordpiece
from embedder.training.run import IGNORED

TRAIN_TWICE = """
import sys, pyarrow.parquet as pq
from embedder.training.pretraining.wordpiece import train_wordpiece
texts = pq.read_table(sys.argv[1])["text"].to_pylist()[:300]
print(train_wordpiece(lambda: [texts], n_pieces=900).to_str())
"""


@pytest.fixture(scope="module")
def texts(sample_corpus: Path) -> list[str]:
    """300 paragraphs."""
    found: list[str] = pq.read_table(sample_corpus)["text"].to_pylist()[:300]
    return found


def test_equal_text_gives_an_equal_vocabulary(sample_corpus: Path) -> None:
    """In processes and with threads of their own, two runs give the same bytes."""
    made = set()
    for n_threads in ("1", "3"):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN_TWICE, str(sample_corpus)],
            env={"RAYON_NUM_THREADS": n_threads, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=True,
        )
        made.add(done.stdout)
    assert len(made) == 1


@pytest.mark.parametrize("is_cased", [False, True])
def test_a_vocabulary_reads_its_text(texts: list[str], tmp_path: Path, is_cased: bool) -> None:
    """The tokenizer opens as BERT's does, has as many pieces as were asked for, knows all letters
    of its corpus, and tells upper case only if it was asked to."""
    from transformers import AutoTokenizer

    made = train_wordpiece(lambda: [texts], n_pieces=900, is_cased=is_cased)
    assert made.get_vocab_size() == 900
    save_wordpiece(made, tmp_path, is_cased=is_cased, max_tokens=64)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert opened.mask_token_id == made.token_to_id("[MASK]") == 4 and opened.model_max_length == 64
    for text in texts[:50]:
        assert opened(text)["input_ids"] == made.encode(text).ids
        assert made.token_to_id("[UNK]") not in made.encode(text).ids
    assert (made.encode("The").ids == made.encode("the").ids) is not is_cased
    assert opened.decode(made.encode("the end").ids, skip_special_tokens=True) == "the end"


def test_a_vocabulary_fits_its_corpus(texts: list[str]) -> None:
    """Where nobody says how many pieces, there are few for little text; fewer than the letters
    need are refused."""
    assert train_wordpiece(lambda: [texts]).get_vocab_size() == 1000
    with pytest.raises(RequestError, match=r"40 pieces is too small.* --vocabulary at least \d+"):
        train_wordpiece(lambda: [texts], n_pieces=40)
    with pytest.raises(RequestError, match="no text"):
        train_wordpiece(lambda: [[" "]])


@given(
    sentences=st.lists(st.integers(0, 30), max_size=20),
    most=st.integers(2, 12),
)
@settings(max_examples=300)
def test_segments_lose_nothing(sentences: list[int], most: int) -> None:
    """The pairs of a document hold each of its pieces once, in order, and no segment is empty or
    too long; only a document of one piece has none."""
    pairs = cut_pairs(sentences, most)
    n_pieces = sum(sentences)
    if n_pieces < 2:
        assert pairs == []
        return
    edges = [0, *(end for _, _, end in pairs)]
    assert edges[-1] == n_pieces
    for (before, after), (start, split, end) in zip(pairwise(edges), pairs, strict=True):
        assert (start, end) == (before, after)
        assert 0 < split - start <= most and 0 < end - split <= most


def test_segments_end_with_sentences() -> None:
    """Sentences are cut only if they are too long; the last of an odd number of segments is cut
    where a sentence ends, near its middle."""
    assert cut_pairs([4, 3, 5, 4], 8) == [(0, 7, 12), (12, 14, 16)]
    assert cut_pairs([3, 5], 8) == [(0, 3, 8)]
    assert cut_pairs([2, 2, 3], 8) == [(0, 4, 7)]
    assert cut_pairs([20], 8) == [(0, 8, 16), (16, 18, 20)]
    assert cut_pairs([8, 8, 1], 8) == [(0, 8, 15), (15, 16, 17)]


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=30), seed=st.integers(0, 1000))
@settings(max_examples=200)
def test_second_segments_are_exchanged(sizes: list[int], seed: int) -> None:
    """Each second segment is read once; one that is not the true next is of another document; and
    half of them are not, unless most pairs are of one document."""
    documents = np.repeat(np.arange(len(sizes)), sizes)
    partners = draw_partners(documents, np.random.default_rng(seed))
    assert sorted(partners.tolist()) == list(range(len(documents)))
    is_moved = partners != np.arange(len(documents))
    assert (documents[partners] != documents)[is_moved].all()
    if max(sizes) * 4 <= len(documents):
        assert is_moved.sum() == len(documents) // 2


def test_second_segments_change() -> None:
    """Another epoch exchanges others, and with others."""
    documents = np.arange(400) // 2
    first, second = (draw_partners(documents, draw_for(1, epoch, 0)) for epoch in (0, 1))
    assert 0.35 < ((first != np.arange(400)) == (second != np.arange(400))).mean() < 0.65
    assert (first == second).mean() < 0.35


SPECIAL = SpecialPieces(
    before=np.array([2]),
    after=np.array([3]),
    mask=4,
    pad=0,
    n_pieces=1000,
    ids=np.arange(5),
)


def masked(**changes: Any) -> Counter[str]:
    """What became of the pieces of 2,000 examples of 100, by fate."""
    masker = Masker(SPECIAL, **changes)
    fates: Counter[str] = Counter()
    for number in range(2000):
        draw = draw_for(7, 0, number)
        pieces = SPECIAL.around(draw.integers(5, 1000, 100))
        starts = draw.random(102) < 0.6
        seen, labels = masker.mask(pieces, starts, draw)
        is_asked = labels != IGNORED
        assert (labels[is_asked] == pieces[is_asked]).all()
        assert (seen[~is_asked] == pieces[~is_asked]).all()
        assert (
            not is_asked[[0, -1]].any()
            and not SPECIAL.is_special(seen[is_asked])[seen[is_asked] != 4].any()
        )
        fates["pieces"] += 100
        fates["asked"] += is_asked.sum()
        fates["masked"] += (seen[is_asked] == 4).sum()
        fates["kept"] += (seen[is_asked] == pieces[is_asked]).sum()
        if masker.is_whole_word:
            begins = starts | np.isin(np.arange(102), [0, 1, 101])
            numbers = begins.cumsum()
            for word in np.unique(numbers[is_asked]):
                assert is_asked[numbers == word].all()
    return fates


@pytest.mark.parametrize(
    ("share", "changes"),
    [
        (0.15, {}),
        (0.15, {"is_whole_word": True}),
        (0.5, {"share": 0.5}),
        (0.5, {"share": 0.5, "is_whole_word": True}),
    ],
)
def test_masks_have_the_published_shares(share: float, changes: dict[str, Any]) -> None:
    """15 % of the pieces are to be found, or what is asked for, of which 80 % are masked, 10 % kept
    and 10 % exchanged; special pieces are never touched, and whole words are asked for whole."""
    fates = masked(**changes)
    assert fates["asked"] / fates["pieces"] == pytest.approx(share, abs=0.002)
    assert fates["masked"] / fates["asked"] == pytest.approx(0.8, abs=0.01)
    assert fates["kept"] / fates["asked"] == pytest.approx(0.1, abs=0.01)


def test_masks_depend_on_seed_epoch_and_example() -> None:
    """The same three give the same mask; any other one another."""
    pieces, masker = SPECIAL.around(np.arange(5, 105)), Masker(SPECIAL)
    keys = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]
    made = [masker.mask(pieces, None, draw_for(*key))[1].tobytes() for key in keys]
    assert len(set(made)) == 4
    assert masker.mask(pieces, None, draw_for(1, 0, 0))[1].tobytes() == made[0]


def write(
    folder: Path, documents: Sequence[str], **changes: Any
) -> tuple[Tokenizer, Part, Part, PieceLayout]:
    """Documents as a piece file of the tiny model's vocabulary."""
    tokenizer = Tokenizer(open_checkpoint(str(make_model(folder / "model"))))
    special = read_special(tokenizer, "tiny")
    layout = PieceLayout(
        **{"length": 32, "has_pairs": False, "has_starts": False, "held_out": 0.2, **changes}
    )
    (folder / "pieces").mkdir()
    batches = [documents[i : i + 7] for i in range(0, len(documents), 7)]
    counts = write_pieces(batches, folder / "pieces", tokenizer, special, layout)
    train, validation = (
        open_part(folder / "pieces", name, special, layout) for name in (TRAIN, VALIDATION)
    )
    assert counts.n_documents + counts.n_too_short == len(documents)
    return tokenizer, train, validation, layout


def some_documents(n: int = 60) -> list[str]:
    """Documents of one to five sentences, none like another."""
    return [
        " ".join(f"{SENTENCES[(i + j) % 4].capitalize()} {i}." for j in range(1 + i % 5))
        for i in range(n)
    ]


def test_packing_loses_nothing(tmp_path: Path) -> None:
    """Packed examples hold the pieces of all documents, each whole and closed by a separator,
    all examples full but the last; held-out documents are apart."""
    documents = some_documents()
    tokenizer, train, validation, layout = write(tmp_path, documents, has_starts=True)
    found = []
    for part in (train, validation):
        cut = [part.packed(i) for i in range(len(part))]
        assert all(len(pieces) == layout.length - 2 for pieces, _ in cut[:-1])
        pieces = np.concatenate([pieces for pieces, _ in cut])
        starts = np.concatenate([flags for _, flags in cut if flags is not None])
        assert len(starts) == len(pieces) == part.n_pieces
        ends = np.flatnonzero(pieces == part.special.after[0])
        found.append([d.tolist() for d in np.split(pieces, ends + 1)[:-1]])
    sep = int(train.special.after[0])
    encoded = [[*ids.tolist(), sep] for ids in tokenizer.encode_inside(documents)]
    assert len(found[1]) > 3
    assert sorted(found[0] + found[1]) == sorted(encoded)


def _watched(encode: Any, seen: list[str]) -> Any:
    """A method of the tokenizer that keeps the texts it gets."""

    def watched(tokenizer: Tokenizer, texts: Sequence[str]) -> Any:
        seen.extend(texts)
        return encode(tokenizer, texts)

    return watched


@pytest.mark.parametrize("changes", [{"has_starts": True}, {"has_pairs": True}], ids=str)
def test_long_documents_are_encoded_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, bool]
) -> None:
    """A document that is too long to be encoded at once gives the same files, though no text that
    the tokenizer sees is longer than it may be."""
    documents, contents = some_documents(), []
    for name, most in (("whole", piece_file.MOST_CHARACTERS), ("parts", 20)):
        seen: list[str] = []
        with monkeypatch.context() as patch:
            patch.setattr(piece_file, "MOST_CHARACTERS", most)
            for method in ("encode_inside", "encode_inside_with_starts"):
                patch.setattr(Tokenizer, method, _watched(getattr(Tokenizer, method), seen))
            (tmp_path / name).mkdir()
            write(tmp_path / name, documents, **changes)
        files = sorted((tmp_path / name / "pieces").rglob("*.bin"))
        contents.append({str(f.relative_to(tmp_path / name)): f.read_bytes() for f in files})
        assert (max(map(len, seen)) > 20) == (name == "whole")
    assert len(contents[0]) > 2 and contents[0] == contents[1]


def test_equal_documents_are_on_one_side(tmp_path: Path) -> None:
    """A text that comes twice is never trained on and held out at once; and one document at least
    is held out."""
    documents = some_documents(20)
    for name, some, share in (("many", documents, 0.2), ("few", documents[:3], 1e-9)):
        (tmp_path / name).mkdir()
        _, train, validation, _ = write(tmp_path / name, some + some, held_out=share)
        trained, held = (
            {bytes(d) for d in np.split(p, np.flatnonzero(p == 3) + 1)[:-1]}
            for p in (
                np.concatenate([part.packed(i)[0] for i in range(len(part))])
                for part in (train, validation)
            )
        )
        assert trained and held and not trained & held


def test_what_is_too_short_is_not_held_out(tmp_path: Path) -> None:
    """The one document that is held out of few is one that can be read, wherever short ones lie."""
    for number, short in enumerate(("Hello.", "Yes.", "No one.", "A bank.", "Why?", "42")):
        folder = tmp_path / str(number)
        folder.mkdir()
        documents = [*some_documents(6)[1:5], short]
        _, train, validation, _ = write(folder, documents, held_out=1e-9, has_pairs=True)
        assert train.n_pieces and validation.n_pieces


def test_pairs_are_what_they_say(tmp_path: Path) -> None:
    """A true second segment is the text that follows; a random one is of another document; half
    are random; each piece of the corpus is read once an epoch; and what is read is the same again
    for the same epoch."""
    documents = some_documents()
    _, train, _, layout = write(tmp_path, documents, has_pairs=True)
    examples = PretrainingExamples(train, Objective.MLM, is_whole_word=False, seed=3)
    running = np.fromfile(train.folder / PIECES, np.uint16)
    n_random, read = 0, Counter[int]()
    for number in range(len(examples)):
        example = examples[number]
        pieces = np.where(example.labels == IGNORED, example.piece_ids, example.labels)
        assert len(pieces) <= layout.length
        first, second = (pieces[example.segments == which] for which in (0, 1))
        assert (first[0], first[-1], second[-1]) == (2, 3, 3)
        a, b = first[1:-1], second[:-1]
        read.update([*a.tolist(), *b.tolist()])
        follows = np.concatenate(
            [train.segment(number, which)[0] for which in (0, 1)]
        ).tolist() == [*a.tolist(), *b.tolist()]
        assert follows or example.is_random
        assert np.array_equal(a, train.segment(number, 0)[0])
        n_random += bool(example.is_random)
    assert read == Counter(running.tolist())
    assert n_random == len(examples) // 2
    again = PretrainingExamples(train, Objective.MLM, is_whole_word=False, seed=3)
    assert all(np.array_equal(again[i].piece_ids, examples[i].piece_ids) for i in range(9))
    again.set_epoch(1)
    assert not all(np.array_equal(again[i].piece_ids, examples[i].piece_ids) for i in range(9))


def test_one_sided_examples_ask_for_the_next_piece(tmp_path: Path) -> None:
    """Each place is to find the piece that stands after it, and nothing is masked."""
    _, train, _, _ = write(tmp_path, some_documents())
    examples = PretrainingExamples(train, Objective.CAUSAL, is_whole_word=False, seed=3)
    example = examples[0]
    assert (example.labels[:-2] == example.piece_ids[1:-1]).all()
    assert (example.labels[-2:] == IGNORED).all() and 4 not in example.piece_ids
    assert examples.mean_to_find() == pytest.approx(
        np.mean([(examples[i].labels != IGNORED).sum() for i in range(len(examples))])
    )
