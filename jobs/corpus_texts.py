"""The documents of a corpus, read as often as a job needs them."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from embedder.columns import ColumnRequest
from embedder.corpus import open_corpus, read_shards, shard_digest
from embedder.errors import SourceError
from embedder.specs import digest_of
from indexes.durable import replace_file
from jobs.progress import Progress

RECORD_FILE = "left-out.json"
"""Rows without usable text by reason, in the folder of a training."""


class CorpusTexts:
    """The texts of some columns of Parquet sources, a column after the other.

    Args:
        sources: Parquet files, folders, globs or URLs.
        columns: the columns with text; none to find the one there is.
        limit: only the first so many rows.
        progress: told of what is read.

    Raises:
        SourceError: a file is missing, is no Parquet, or all are empty.
        ColumnError: the columns cannot be decided, or a file lacks one.
    """

    def __init__(
        self, sources: Sequence[str], columns: Sequence[str], limit: int | None, progress: Progress
    ) -> None:
        asked: Sequence[str | None] = columns or [None]
        self._corpora = [
            open_corpus(sources, ColumnRequest(text=column, metadata=())) for column in asked
        ]
        self._shards = [corpus.shards(limit) for corpus in self._corpora]
        self._progress = progress
        self.counts: Counter[str] = Counter()
        """Rows left out when they were last read, by reason."""
        self._record: Path | None = None

    @property
    def title(self) -> str:
        """The names of its files, the first of them if there are many."""
        names = [source.file.name for source in self._corpora[0].sources]
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"

    def __call__(self) -> Iterator[list[str]]:
        """The texts, none null or blank.

        Raises:
            SourceError: a file cannot be read, or there is no text.
        """
        self.counts = Counter()
        has_text = False
        self._progress.start_stage(
            "reading", sum(s.n_rows for shards in self._shards for s in shards)
        )
        for corpus, shards in zip(self._corpora, self._shards, strict=True):
            with contextlib.closing(read_shards(shards, corpus)) as opened:
                for rows in opened:
                    self.counts.update(rows.counts)
                    has_text = has_text or bool(rows.texts)
                    yield rows.texts
                    self._progress.count_documents(rows.n_rows)
        if not has_text:
            names = " and ".join(repr(corpus.columns.text) for corpus in self._corpora)
            raise SourceError(
                f"The column {names} of {self._corpora[0].sources[0].file.name} holds no text.",
                "Name another column with --text.",
            )
        if self._record is not None:
            replace_file(self._record, json.dumps(dict(sorted(self.counts.items()))).encode())

    @contextlib.contextmanager
    def remembering(self, room: Path) -> Iterator[None]:
        """Keep in a training's folder what rows are left out: resumed, it does not read them."""
        self._record = room / RECORD_FILE
        try:
            yield
        except BaseException:
            # With nothing else to go on from, the folder is not kept for it.
            if not any(path.is_dir() for path in room.iterdir()):
                self._record.unlink(missing_ok=True)
            raise
        if self._record.is_file():
            self.counts = Counter(json.loads(self._record.read_text("utf-8")))

    def facts(self) -> dict[str, int]:
        """Rows left out, for people to read."""
        return {f"rows left out: {reason}": n for reason, n in sorted(self.counts.items())}

    def digest(self) -> str:
        """Identity of its content."""
        return digest_of(
            [
                [corpus.columns.text, *(shard_digest(shard, corpus) for shard in shards)]
                for corpus, shards in zip(self._corpora, self._shards, strict=True)
            ]
        )
