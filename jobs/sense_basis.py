"""What the vectors of occurrences rest on: the corpus's function words and a projection."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedder.encoders import TextEncoder
from embedder.errors import IndexFormatError
from embedder.function_words import find_function_words
from embedder.occurrences import pool_occurrences
from embedder.passages import cut_documents
from embedder.projection import Projection, fit_projection
from embedder.records import hash_texts
from embedder.specs import ChunkSpec, Overflow, TextKind, digest_of
from embedder.vectors import Rows
from embedder.word_uses import WordFinder
from indexes.durable import NPY_ERRORS, check_files, publish_contents
from indexes.layout import FUNCTION_WORDS_FILE, PROJECTION_FILE, Layout
from indexes.manifest import SenseBasis
from indexes.npy import npy_bytes

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
    layout: Layout, encoder: TextEncoder, chunking: ChunkSpec, texts: Sequence[str], cap: int
) -> SenseBasis:
    """Find the function words and fit the projection on a sample of a corpus, and write both.

    Args:
        layout: the index.
        encoder: the encoder.
        chunking: how documents become passages.
        texts: the sample, the same on every call.
        cap: most occurrences of a word.
    """
    words, projection = fit_basis(encoder, chunking, texts)
    array = np.vstack([projection.mean[None], projection.components.T])
    contents = {
        FUNCTION_WORDS_FILE: json.dumps(sorted(words), ensure_ascii=False).encode(),
        PROJECTION_FILE: npy_bytes(array),
    }
    name = digest_of([cap, *(content.hex() for content in contents.values())])[:32]
    files = publish_contents(layout.sense_folder(name), contents)
    return SenseBasis(id=name, cap=cap, n_components=projection.n_components, files=files)


def fit_basis(
    encoder: TextEncoder, chunking: ChunkSpec, texts: Sequence[str]
) -> tuple[frozenset[str], Projection]:
    """The function words of a sample of a corpus, and a projection of its other words' uses."""
    words = find_function_words(texts)
    few = random.Random(SEED).sample(list(texts), min(len(texts), PROJECTION_TEXTS))
    uses = _uses(encoder, chunking, few, WordFinder(words))
    return words, fit_projection(uses, N_COMPONENTS)


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


def _uses(
    encoder: TextEncoder, chunking: ChunkSpec, texts: Sequence[str], finder: WordFinder
) -> Rows:
    """Vectors of the uses of words in some texts, shape (n_uses, width)."""
    spec = ChunkSpec(overflow=Overflow.TRUNCATE, window=chunking.window, stride=chunking.stride)
    prompt = encoder.prompt(TextKind.PASSAGE)
    cut = cut_documents(texts, encoder.tokenizer, spec, prompt=prompt, ids=texts)
    passages = [texts[p.document][p.start : p.end] for p in cut.passages]
    words = finder.find(passages, hash_texts(passages), encoder)
    pieces = [p.pieces for p in cut.passages]
    parts: dict[int, Rows] = {}
    width = encoder.encoder.spec.width
    for indices, _, encoded in encoder.encode_batches(pieces, with_states=True):
        assert encoded.states is not None
        width = encoded.states.shape[2]
        pooled = pool_occurrences(encoded.states, [words[number] for number in indices])
        parts.update(zip(indices, pooled, strict=True))
    nothing = np.empty((0, width), dtype=np.float32)
    return np.concatenate([nothing, *(parts[number] for number in sorted(parts))])
