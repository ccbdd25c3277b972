"""Vectors of words as a folder that any program can read.

config.json      how they were trained and on what; size and sha256 of the other two
vectors.npy      float32, shape (n_words, width), as trained, not of unit length
words.parquet    word and count, row for row, the most frequent word first
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedder.array_file import append_array
from embedder.errors import EmbedderError, ModelError, SourceError, WordError, cause_of
from embedder.vocabulary import Vocabulary
from embedder.whole_table import read_whole_table
from embedder.word_vectors import WordVectors
from embedder.words import word_form
from indexes.durable import NPY_ERRORS, publish_folder, record_file
from indexes.npy import npy_header
from indexes.parquet_writer import ParquetWriter
from jobs.output import check_new_folder

CONFIG, VECTORS, WORDS = "config.json", "vectors.npy", "words.parquet"
FORMAT, VERSION = "embedder word vectors", 1
SCHEMA = pa.schema([("word", pa.string()), ("count", pa.int64())])


@dataclass(frozen=True)
class WordFolder:
    """Vectors of words, and where they are from.

    Args:
        path: the folder.
        method: `word2vec` or `glove`.
        vectors: the vectors.
    """

    path: Path
    method: str
    vectors: WordVectors

    @property
    def title(self) -> str:
        """What the vectors are, in a few words."""
        n, width = len(self.vectors), self.vectors.width
        return f"{self.path}: {self.method}, {n:,} words, {width} components"

    def find(self, word: str) -> int:
        """The number of a word, whatever its case.

        Raises:
            WordError: it has no vector.
        """
        form = word_form(word.strip())
        place = self.vectors.places.get(form)
        if place is None:
            raise WordError(
                f"{form!r} has no vector in {self.path}, which has those of "
                f"{len(self.vectors):,} words.",
                "Train with a smaller --least-count, or choose another word.",
            )
        return place


def write_word_folder(
    final: Path, room: Path, vectors: WordVectors, method: str, made: Mapping[str, Any]
) -> int:
    """Write vectors; the folder appears when it is complete.

    Args:
        final: where it appears.
        room: a new folder on the same file system, in which it is made.
        vectors: the vectors.
        method: how they were trained.
        made: what else is to be remembered of that, JSON-able.

    Returns:
        The size of its files in bytes.

    Raises:
        OutputError: something has the final name by now.
        OSError: the disk takes no more.
    """
    room.mkdir()
    with (room / VECTORS).open("wb") as file:
        file.write(npy_header(vectors.rows.dtype, vectors.rows.shape))
        append_array(file, vectors.rows)
    vocabulary = vectors.vocabulary
    table = pa.table([list(vocabulary.forms), vocabulary.counts], schema=SCHEMA)
    with (
        (room / WORDS).open("wb") as file,
        ParquetWriter(file, SCHEMA, compression="zstd") as writer,
    ):
        writer.write_table(table)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "method": method,
        "n_words": len(vectors),
        "width": vectors.width,
        **made,
        "files": {name: asdict(record_file(room / name)) for name in (VECTORS, WORDS)},
    }
    (room / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", "utf-8")
    check_new_folder(final)
    records = publish_folder(room, final)
    return sum(record.size for record in records.values())


def open_words(path: str | Path) -> WordFolder:
    """Read vectors that `embedder words train` wrote.

    Raises:
        ModelError: there is no such folder, or a file in it is not as it was written.
    """
    folder = Path(path)
    config = _read_config(folder)
    for name, record in config["files"].items():
        try:
            found = asdict(record_file(folder / name))
        except OSError as error:
            raise _damaged(folder / name, error.strerror or error) from error
        if found != record:
            raise _damaged(folder / name, "its size or digest is another than was written")
    try:
        table = read_whole_table(folder / WORDS).cast(SCHEMA)
        rows = np.load(folder / VECTORS, allow_pickle=False)
        counts = table["count"].to_numpy()
        vectors = WordVectors(Vocabulary(tuple(table["word"].to_pylist()), counts), rows)
    except (*NPY_ERRORS, SourceError, pa.ArrowException) as error:
        raise _damaged(folder, getattr(error, "message", error)) from error
    return WordFolder(folder, str(config["method"]), vectors)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text("utf-8"))
        is_ours = config["format"] == FORMAT and set(config["files"]) == {VECTORS, WORDS}
        version, _ = config["version"], config["method"]
    except OSError as error:
        raise ModelError(
            f"{folder} holds no vectors of words: {path} cannot be read ({error.strerror}).",
            "Train some with: embedder words train SOURCES --out FOLDER",
        ) from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(path, "it is no config of vectors of words") from error
    if not is_ours or version != VERSION:
        raise _damaged(path, f"wanted is the format {FORMAT!r}, version {VERSION}")
    found: dict[str, Any] = config
    return found


def _damaged(path: Path, cause: object) -> EmbedderError:
    return ModelError(f"{path} is damaged: {cause_of(cause)}.", "Train the vectors anew.")
