"""What the vectors of occurrences rest on: the corpus's function words and a projection."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from embedder.encoders import TextEncoder
from embedder.errors import IndexFormatError
from embedder.function_words import find_function_words
from embedder.occurrences import pool_occurrences
from embedder.passages import cut_documents
from embedder.projection import Projection, encode_codes, fit_projection
from embedder.records import hash_texts
from embedder.specs import ChunkSpec, Overflow, TextKind, digest_of
from embedder.vectors import Rows
from embedder.word_uses import WordFinder
from indexes.durable import NPY_ERRORS, check_files, publish_contents
from indexes.layout import FUNCTION_WORDS_FILE, PROJECTION_FILE, Layout
from indexes.manifest import SenseBasis
from indexes.npy import npy_bytes
from jobs.progress import Progress
from jobs.stream import EncodedPassage, EncodedPassages

FUNCTION_WORD_TEXTS = 2000
PROJECTION_TEXTS = 200
N_COMPONENTS = 96
SEED = 1729


@dataclass(frozen=True)
class Basis:
    """What turns the words of passages into codes.

    Args:
        finder: finds the words.
        projection: vectors to fewer components.
    """

    finder: WordFinder
    projection: Projection


def make_basis(
    layout: Layout,
    encoder: TextEncoder,
    chunking: ChunkSpec,
    texts: Sequence[str],
    cap: int,
    progress: Progress,
) -> tuple[SenseBasis, EncodedPassages]:
    """Find the function words and fit the projection on a sample of a corpus, and write both.

    Args:
        layout: the index.
        encoder: the encoder.
        chunking: how documents become passages.
        texts: the sample, the same on every call.
        cap: most occurrences of a word.
        progress: told of every batch.

    Returns:
        What was written, and the passages that were encoded for it.
    """
    basis, encoded = fit_basis(encoder, chunking, texts, progress)
    words, projection = basis.finder.function_words, basis.projection
    array = np.vstack([projection.mean[None], projection.components.T])
    contents = {
        FUNCTION_WORDS_FILE: json.dumps(sorted(words), ensure_ascii=False).encode(),
        PROJECTION_FILE: npy_bytes(array),
    }
    name = digest_of([cap, *(content.hex() for content in contents.values())])[:32]
    files = publish_contents(layout.sense_folder(name), contents)
    record = SenseBasis(id=name, cap=cap, n_components=projection.n_components, files=files)
    return record, encoded


def fit_basis(
    encoder: TextEncoder, chunking: ChunkSpec, texts: Sequence[str], progress: Progress
) -> tuple[Basis, EncodedPassages]:
    """The function words of a sample of a corpus and a projection of its other words' uses, and
    the passages that were encoded for it."""
    finder = WordFinder(find_function_words(texts))
    few = random.Random(SEED).sample(list(texts), min(len(texts), PROJECTION_TEXTS))
    # Several threads add up in any order, and the projection is to be the same everywhere.
    with threadpool_limits(1, user_api="blas"):
        passages = _encode(encoder, chunking, few, finder, progress)
        width = passages[0].uses.shape[1] if passages else encoder.encoder.spec.width
        nothing = np.empty((0, width), dtype=np.float32)
        uses = np.concatenate([nothing, *(passage.uses for passage in passages)])
        projection = fit_projection(uses, N_COMPONENTS)
        encoded = {
            passage.hash: EncodedPassage(passage.row, encode_codes(projection.apply(passage.uses)))
            for passage in passages
        }
    return Basis(finder, projection), encoded


def open_basis(layout: Layout, record: SenseBasis) -> Basis:
    """Read what `make_basis` wrote; every code depends on every byte of it.

    Raises:
        IndexFormatError: a file is damaged.
    """
    folder = layout.sense_folder(record.id)
    check_files(folder, record.files, with_digests=True)
    try:
        words = json.loads((folder / FUNCTION_WORDS_FILE).read_text("utf-8"))
        values = np.load(folder / PROJECTION_FILE, allow_pickle=False)
        projection = Projection(values[0], np.ascontiguousarray(values[1:].T))
        finder = WordFinder(frozenset(words))
    except (*NPY_ERRORS, TypeError, IndexError) as error:
        raise IndexFormatError(
            f"{folder} is damaged: {error}.", f"Remove {layout.root} and build it anew."
        ) from error
    return Basis(finder, projection)


@dataclass(frozen=True)
class _Passage:
    """A passage of the sample.

    Args:
        hash: of its text.
        row: its vector, shape (width,).
        uses: those of its words, shape (n_uses, width).
    """

    hash: bytes
    row: Rows
    uses: Rows


def _encode(
    encoder: TextEncoder,
    chunking: ChunkSpec,
    texts: Sequence[str],
    finder: WordFinder,
    progress: Progress,
) -> list[_Passage]:
    """The first passage of each text."""
    spec = ChunkSpec(overflow=Overflow.TRUNCATE, window=chunking.window, stride=chunking.stride)
    prompt = encoder.prompt(TextKind.PASSAGE)
    cut = cut_documents(texts, encoder.tokenizer, spec, prompt=prompt, ids=texts)
    passages = [texts[p.document][p.start : p.end] for p in cut.passages]
    hashes = hash_texts(passages)
    words = finder.find(passages, hashes, encoder)
    found: dict[int, _Passage] = {}
    pieces = [p.pieces for p in cut.passages]
    for indices, batch, encoded in encoder.encode_batches(pieces, with_states=True):
        assert encoded.states is not None
        pooled = pool_occurrences(encoded.states, [words[number] for number in indices])
        for number, row, uses in zip(indices, encoded.rows, pooled, strict=True):
            found[number] = _Passage(hashes[number].tobytes(), row.copy(), uses)
        progress.count_tokens(int(batch.attention_mask.sum()), batch.piece_ids.size)
    return [found[number] for number in sorted(found)]
