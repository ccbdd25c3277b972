"""Parquet files of several kinds, and what comes of reading damaged ones."""

from __future__ import annotations

import os
import random
import re
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from mutations import damaged

from embedder.columns import ColumnRequest
from embedder.corpus import open_corpus, read_shards, shard_digest
from embedder.errors import EmbedderError
from jobs.queries import read_queries

WORDS = ["lorem", "ipsum", "dolor", "sit", "amet", "größe", "名前", "bank", "river", "money"]
N_ROWS = 400


def write_bases(folder: Path) -> None:
    """Whole files: types, encodings, compressions, pages and row groups of many kinds."""
    plain, nested, typed = _plain(), _nested(), _typed()
    coded = plain.set_column(1, "text", plain["text"].dictionary_encode())
    large = plain.set_column(1, "text", plain["text"].cast(pa.large_string()))
    encodings = {
        "id": "DELTA_LENGTH_BYTE_ARRAY",
        "text": "DELTA_BYTE_ARRAY",
        "year": "DELTA_BINARY_PACKED",
    }
    bases: dict[str, tuple[pa.Table, dict[str, Any]]] = {
        "plain": (plain, {"compression": "none", "use_dictionary": False}),
        "dictionary": (coded, {"compression": "snappy"}),
        "row-groups": (plain, {"compression": "none", "row_group_size": 7}),
        "nested": (nested, {"compression": "zstd", "row_group_size": 150}),
        "no-arrow-schema": (nested, {"compression": "none", "store_schema": False}),
        "zstd": (
            typed,
            {"compression": "zstd", "data_page_version": "2.0", "write_page_index": True},
        ),
        "snappy": (typed, {"compression": "snappy", "data_page_size": 500}),
        "delta": (
            plain,
            {"compression": "gzip", "use_dictionary": False, "column_encoding": encodings},
        ),
        "lz4": (large, {"compression": "lz4", "write_page_checksum": True}),
    }
    for name, (table, options) in bases.items():
        pq.write_table(table, folder / f"{name}.base", **options)


def _plain() -> pa.Table:
    chance = random.Random(0)
    texts = [" ".join(chance.choices(WORDS, k=chance.randrange(1, 12))) for _ in range(N_ROWS)]
    return pa.table(
        {
            "id": [f"d{i}" for i in range(N_ROWS)],
            "text": [text if i % 17 else None for i, text in enumerate(texts)],
            "year": [2000 + i % 25 for i in range(N_ROWS)],
        }
    )


def _nested() -> pa.Table:
    pairs = pa.array([[("k", i)] for i in range(N_ROWS)], pa.map_(pa.string(), pa.int64()))
    return (
        _plain()
        .append_column("tags", pa.array([[f"t{j}" for j in range(i % 4)] for i in range(N_ROWS)]))
        .append_column("info", pa.array([{"a": i, "b": [{"c": str(i)}]} for i in range(N_ROWS)]))
        .append_column("pairs", pairs)
    )


def _typed() -> pa.Table:
    moments = pa.array([i * 86_400 * 10**6 for i in range(N_ROWS)], pa.timestamp("us", "UTC"))
    amounts = pa.array(range(N_ROWS), pa.int64()).cast(pa.decimal128(24, 2))
    shares = pa.array([i / 7 for i in range(N_ROWS)])
    return (
        _plain()
        .append_column("when", moments)
        .append_column("amount", amounts)
        .append_column("share", shares)
        .append_column("flag", pa.array([i % 3 == 0 for i in range(N_ROWS)]))
    )


def read_damaged(folder: Path, seed: int) -> str:
    """Read one damaged file as a corpus: `rows`, the name of the error, or `bad` and what."""
    request = ColumnRequest(metadata=()) if seed % 3 == 0 else None
    return _read(_write_damaged(folder, seed), seed, request)


def read_contradiction(folder: Path, seed: int) -> str:
    """Read a file one of whose chunks claims another type than the schema gives its column."""
    claimed, chunk = seed % 8, seed // 8
    path, texts = folder / f"contradicting-{os.getpid()}.parquet", [f"{i}" for i in range(50)]
    pq.write_table(pa.table({"id": texts, "text": texts}), path, store_schema=False)
    content = bytearray(path.read_bytes())
    # In Thrift's compact protocol: the type (6, text, is 0x0c), and a list of encodings after it.
    entries = [m.start() for m in re.finditer(rb"\x15\x0c\x19", content)]
    content[entries[chunk] + 1] = 2 * claimed
    path.write_bytes(content)
    return _read(path, seed)


def _read(path: Path, seed: int, request: ColumnRequest | None = None) -> str:
    try:
        corpus = open_corpus([str(path)], request)
        shards = corpus.shards()
        digests = [shard_digest(shard, corpus) for shard in shards]
        n_rows = sum(rows.n_rows for rows in read_shards(shards, corpus))
    except EmbedderError as error:
        return _judged(seed, error)
    except Exception:  # noqa: BLE001 - it is what this looks for
        return f"bad: seed {seed}: {traceback.format_exc(limit=-3)}"
    assert len(digests) == len(shards)
    return "rows" if n_rows else "no rows"


def query_damaged(folder: Path, seed: int) -> str:
    """Read one damaged file for its queries."""
    path = _write_damaged(folder, seed)
    try:
        queries = list(read_queries(str(path), "text" if seed % 2 else None))
    except EmbedderError as error:
        return _judged(seed, error)
    except Exception:  # noqa: BLE001 - it is what this looks for
        return f"bad: seed {seed}: {traceback.format_exc(limit=-3)}"
    return "rows" if queries else "no rows"


def _write_damaged(folder: Path, seed: int) -> Path:
    bases = [path.read_bytes() for path in sorted(folder.glob("*.base"))]
    path = folder / f"damaged-{os.getpid()}.parquet"
    path.write_bytes(damaged(bases[seed % len(bases)], bases, seed))
    return path


def _judged(seed: int, error: EmbedderError) -> str:
    if "\n" in str(error) or not error.message:
        return f"bad: seed {seed}: a message of several lines: {error}"
    return type(error).__name__
