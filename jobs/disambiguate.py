"""`embedder disambiguate`: the senses of words in rows of text, streamed into a file."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.columns import ColumnRequest
from embedder.corpus import Corpus, open_corpus, read_every_row
from embedder.errors import RequestError
from embedder.occurrences import Use
from embedder.pipeline import run_ahead
from embedder.rows import EveryRow
from embedder.senses import assign
from embedder.vectors import Rows
from indexes.layout import Layout
from indexes.lock import hold_open
from indexes.manifest import Manifest
from indexes.manifest_file import read_manifest
from indexes.sense_inventory import SenseInventory, WordSenses
from jobs.column_types import column_types, to_types
from jobs.output import appearing, check_file_name, column_names
from jobs.progress import Progress
from jobs.query_encoder import QueryOptions
from jobs.row_files import RowFormat, choose_row_format, write_tables
from jobs.targets import Status, Target, TargetColumns, check_fields, find_all, find_targets
from jobs.use_encoder import CutUses, UseEncoder, open_use_encoder

QUEUE_BATCHES = 4
QUEUE_WINDOWS = 2

WINDOW_ROWS = 8192
WINDOW_PASSAGES = 2048
WINDOW_TOKENS = 150_000
"""A window is what is sorted by length before it is cut into batches."""

KEPT_WORDS = 100_000
"""Words whose senses are looked up once."""

ID = pa.field("id", pa.string(), nullable=False)
ANSWER = (
    pa.field("word", pa.string()),
    pa.field("start", pa.int32()),
    pa.field("end", pa.int32()),
    pa.field("sense", pa.string()),
    pa.field("confidence", pa.float32()),
    pa.field("status", pa.string(), nullable=False),
)
OWN_NAMES = (ID.name, *(column.name for column in ANSWER))


@dataclass(frozen=True, kw_only=True)
class DisambiguateOptions:
    """Whose senses are asked for, and where the answers go.

    Args:
        sources: files, folders, globs and URLs.
        out: the file.
        format: how it is written; None for what the ending of `out` says.
        text: the column of the text; None to find it.
        id: the column that identifies a row; None to find it, and to number the rows without one.
        targets: which word of each row is meant; without columns, every word with senses.
        fields: columns of the sources to write beside.
        limit: read only so many rows.
        encoder: how to encode.
    """

    sources: tuple[str, ...]
    out: str | Path
    format: RowFormat | None = None
    text: str | None = None
    id: str | None = None
    targets: TargetColumns = field(default_factory=TargetColumns)
    fields: tuple[str, ...] = ()
    limit: int | None = None
    encoder: QueryOptions = field(default_factory=QueryOptions)


@dataclass(frozen=True, kw_only=True)
class DisambiguateSummary:
    """What was written.

    Args:
        out: the file.
        n_rows: rows read.
        n_words: words written, one a line.
        n_answered: those of them that have a sense.
        counts: the others of them, by reason.
        left_out: where all words are asked for, those without senses and texts that cannot be
            read, which have no row, by reason.
        defects: rows whose id or value beside was defective, by reason.
        n_tokens: tokens encoded.
        seconds: time that it took.
    """

    out: str
    n_rows: int
    n_words: int
    n_answered: int
    counts: dict[str, int]
    left_out: dict[str, int]
    defects: dict[str, int]
    n_tokens: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


def disambiguate(
    layout: Layout, options: DisambiguateOptions, progress: Progress | None = None
) -> DisambiguateSummary:
    """Write the sense of a word of each row, or of every word that has senses, in order.

    With a target, each row of the sources has a row in the file, one that cannot be answered a
    status that says why. Without one, each use of a word with senses has a row. Memory is
    bounded, and the answers are the same however the work is cut into batches.

    Args:
        layout: the index whose senses are meant.
        options: whose senses are asked for, and where the answers go.
        progress: told of what happens; silent by default.

    Raises:
        IndexNotFoundError: there is no index.
        RequestError: it has no senses, or the options contradict each other.
        ColumnError: a column is missing or of a wrong type.
        SourceError: a source cannot be read, has no rows, or a target lies outside its text.
        OutputError: the file cannot be written; nothing is left of it then.
    """
    started, progress = time.monotonic(), progress or Progress()
    final, form = check_file_name(options.out), choose_row_format(options.format, options.out)
    corpus = _open_corpus(options)
    check_file_name(final, [layout.root, *(source.file.path for source in corpus.sources)])
    progress.start_stage("opening")
    with hold_open(layout.readers):
        senses, encoder = _open_senses(layout, options)
        run = _Run(corpus, options, senses, encoder, progress)
        with appearing(final) as [file]:
            n_words = write_tables(run.tables(), run.schema, form, file)
    return DisambiguateSummary(
        out=str(final),
        n_rows=run.n_rows,
        n_words=n_words,
        n_answered=n_words - run.n_without,
        counts=dict(sorted(run.counts.items())),
        left_out=dict(sorted(run.left_out.items())),
        defects=dict(sorted(run.defects.items())),
        n_tokens=progress.n_tokens,
        seconds=time.monotonic() - started,
    )


def _open_corpus(options: DisambiguateOptions) -> Corpus:
    if options.limit is not None and options.limit < 1:
        raise RequestError(f"--limit {options.limit} leaves nothing to read.", "Give at least 1.")
    request = ColumnRequest(text=options.text, id=options.id, metadata=())
    corpus = open_corpus(options.sources, request)
    options.targets.check(corpus)
    check_fields(corpus.sources, options.fields, corpus.partition_types)
    beside = tuple(dict.fromkeys([*options.targets.names.values(), *options.fields]))
    return replace(corpus, columns=replace(corpus.columns, metadata=beside))


class _Senses:
    """The senses of words by their forms, and why a form has none."""

    def __init__(self, inventory: SenseInventory, function_words: frozenset[str]) -> None:
        self._function_words, self._inventory = function_words, inventory
        self.find = lru_cache(KEPT_WORDS)(self._find)

    def _find(self, form: str) -> WordSenses | None:
        """The senses of a word, without its uses, which are many and of no use here."""
        found = self._inventory.find(form)
        return replace(found, uses=found.uses[:0].copy()) if found else None

    def why_not(self, form: str) -> str:
        """Why a form has no senses, empty if it has some."""
        if form in self._function_words:
            return Status.FUNCTION_WORD
        return "" if self.find(form) else Status.UNKNOWN_WORD


def _open_senses(layout: Layout, options: DisambiguateOptions) -> tuple[_Senses, UseEncoder]:
    manifest: Manifest = read_manifest(layout).finished()
    encoder = open_use_encoder(layout, manifest, options.encoder)
    if manifest.senses is None:
        raise RequestError(
            f"{layout.root} has no senses yet, for its first run has not finished.",
            "Run embedder index again first.",
        )
    inventory = SenseInventory(layout, manifest.senses)
    return _Senses(inventory, frozenset(encoder.function_words)), encoder


@dataclass(frozen=True)
class _Asked:
    """Rows with their targets, and those that need a vector, cut for the encoder.

    Args:
        rows: the rows.
        targets: the words, in order.
        numbers: numbers of the targets that need a vector.
        cut: their passages.
    """

    rows: EveryRow
    targets: list[Target]
    numbers: list[int]
    cut: CutUses


class _Run:
    """One run over a corpus: rows, targets, vectors, senses, tables.

    Args:
        corpus: the sources.
        options: whose senses are asked for.
        senses: of the index.
        encoder: gives uses of words the index's vectors.
        progress: told of every batch.
    """

    def __init__(
        self,
        corpus: Corpus,
        options: DisambiguateOptions,
        senses: _Senses,
        encoder: UseEncoder,
        progress: Progress,
    ) -> None:
        self._corpus, self._options = corpus, options
        self._senses, self._encoder, self._progress = senses, encoder, progress
        self._fields = column_types(corpus, options.fields, "--fields")
        self._stop = threading.Event()
        names = column_names(OWN_NAMES, self._fields.names)
        beside = [kind.with_name(n) for kind, n in zip(self._fields, names, strict=True)]
        self.schema = pa.schema([ID, *beside, *ANSWER])
        self.n_rows = self.n_without = 0
        self.counts: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.defects: Counter[str] = Counter()

    def tables(self) -> Iterator[pa.Table]:
        """The answers, in order; reading, cutting and encoding run ahead of them."""
        shards = self._corpus.shards(self._options.limit)
        self._progress.start_stage("finding senses", sum(s.n_rows for s in shards), "rows")
        rows = run_ahead(read_every_row(shards, self._corpus), QUEUE_BATCHES)
        asked = run_ahead(map(self._ask, rows), QUEUE_BATCHES)
        encoded = run_ahead(self._encode(_gather(asked)), QUEUE_WINDOWS, self._stop)
        with contextlib.closing(encoded):
            for window, vectors in encoded:
                first = 0
                for part in window:
                    last = first + len(part.numbers)
                    yield self._answer(part, vectors[first:last])
                    first = last
                    self._progress.count_documents(len(part.rows.ids))

    def _ask(self, rows: EveryRow) -> _Asked:
        """Find the targets of some rows, and cut those texts whose words the text decides."""
        if self._options.targets.names:
            found = find_targets(rows, self._options.targets)
        else:
            found = find_all(rows, self.left_out, self._senses.why_not)
        targets = [self._known(target) for target in found]
        numbers = [n for n, target in enumerate(targets) if target.status == Status.OK]
        uses = [Use(rows.texts[t.row], t.start, t.end) for t in (targets[n] for n in numbers)]
        return _Asked(rows, targets, numbers, self._encoder.cut(uses))

    def _known(self, target: Target) -> Target:
        """A target with what its form alone says."""
        if target.status != Status.OK:
            return target
        reason = self._senses.why_not(target.form)
        if not reason and len(self._of(target).numbers) == 1:
            reason = Status.ONE_SENSE
        return target._replace(status=reason) if reason else target

    def _of(self, target: Target) -> WordSenses:
        found = self._senses.find(target.form)
        assert found is not None
        return found

    def _encode(self, windows: Iterable[list[_Asked]]) -> Iterator[tuple[list[_Asked], Rows]]:
        """Windows with the vectors of those of their targets that need one, in order."""
        for window in windows:
            cut = CutUses.join([part.cut for part in window])
            vectors = self._encoder.encode_cut(cut, self._progress, self._stop)
            if vectors is None:
                return
            yield window, vectors

    def _answer(self, part: _Asked, vectors: Rows) -> pa.Table:
        senses: list[str | None] = [None] * len(part.targets)
        confidences: list[float | None] = [None] * len(part.targets)
        statuses = [str(target.status) for target in part.targets]
        for number, target in enumerate(part.targets):
            if target.status == Status.ONE_SENSE:
                senses[number], confidences[number] = self._of(target).names[0], 1.0
        for number, vector, passage in zip(part.numbers, vectors, part.cut.passages, strict=True):
            if passage < 0:
                statuses[number] = Status.NO_VECTOR
            else:
                senses[number], confidences[number] = self._nearest(part.targets[number], vector)
        self._count(part, [s for s, found in zip(statuses, senses, strict=True) if not found])
        starts = [None if t.start < 0 else t.start for t in part.targets]
        ends = [None if t.start < 0 else t.end for t in part.targets]
        forms = [t.form or None for t in part.targets]
        answer = zip(ANSWER, (forms, starts, ends, senses, confidences, statuses), strict=True)
        columns = [pa.array(values, kind.type) for kind, values in answer]
        return pa.Table.from_arrays([*self._beside(part), *columns], schema=self.schema)

    def _nearest(self, target: Target, vector: Rows) -> tuple[str, float]:
        """The nearest sense; each vector alone, for a product of matrices can depend on their
        shapes in its last bits."""
        found = self._of(target)
        labels, confidences = assign(vector[None], found.centroids)
        return found.names[int(labels[0])], float(confidences[0])

    def _count(self, part: _Asked, reasons: Sequence[str]) -> None:
        self.n_rows += len(part.rows.ids)
        self.n_without += len(reasons)
        self.counts.update(reasons)
        self.defects.update(part.rows.counts)

    def _beside(self, part: _Asked) -> list[pa.Array | pa.ChunkedArray]:
        """Ids and fields of the targets' rows."""
        rows: npt.NDArray[np.int64] = np.array([t.row for t in part.targets], dtype=np.int64)
        beside = to_types(part.rows.values, self._fields)
        columns = [pa.array(part.rows.ids, pa.string()), *beside.columns]
        return [column.take(pa.array(rows)) for column in columns]


def _gather(asked: Iterable[_Asked]) -> Iterator[list[_Asked]]:
    """Collect rows until there are enough passages to sort by length."""
    window: list[_Asked] = []
    n_rows = n_passages = n_tokens = 0
    for part in asked:
        window.append(part)
        n_rows += len(part.rows.ids)
        n_passages += len(part.cut.pieces)
        n_tokens += sum(map(len, part.cut.pieces))
        is_full = n_passages >= WINDOW_PASSAGES or n_tokens >= WINDOW_TOKENS
        if is_full or n_rows >= WINDOW_ROWS:
            yield window
            window, n_rows, n_passages, n_tokens = [], 0, 0, 0
    if window:
        yield window
