"""Folders of static vectors made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from embedder.vocabulary import Vocabulary
from embedder.word_vectors import WordVectors
from jobs.word_folder import write_word_folder


def write_words(folder: Path, rows: Mapping[str, Sequence[float]]) -> Path:
    """A folder with the vectors of some words, the first of which is the most frequent."""
    counts = np.arange(len(rows), 0, -1)
    vectors = WordVectors(
        Vocabulary(tuple(rows), counts), np.array(list(rows.values()), dtype=np.float32)
    )
    write_word_folder(folder, folder.with_name(f"{folder.name}.room"), vectors, "word2vec", {})
    return folder
