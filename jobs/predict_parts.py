"""Answers on their way: parts of the output in a folder beside it, so that no work is lost.

    <out>.predicting/
      lock                      names who writes
      request.json              what was asked for; a run goes on where it is the same
      <first>-<rows>-<sha256>   answers for so many rows from the first, as an Arrow stream

A part's name has its digest, so whatever lies there is whole or is done again. The folder goes
when the output has appeared.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedder.errors import OutputError, RequestError
from indexes.durable import make_folder, record_bytes, record_file, replace_file
from indexes.lock import hold_lock
from jobs.working_folder import refuse_foreign

REQUEST = "request.json"
ENDING = ".arrow"

PART_ROWS = 16_384
PART_BYTES = 64 << 20
PART_SECONDS = 30.0
"""A part is written when it has so many rows or bytes, or has taken so long: a run that is killed
loses what came after its last part."""


class Parts:
    """The parts of one output, of which the first rows may be done.

    Args:
        folder: where they lie.
        schema: their columns.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._waiting: list[pa.RecordBatch] = []
        self._counts: Counter[str] = Counter()
        self._since = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.n_rows = self.n_bytes = 0
        self._done: list[Path] = []
        self._find_done()

    def _find_done(self) -> None:
        """Find the parts that are whole, from the first row on without a gap; others go."""
        for path in sorted(self._folder.iterdir()):
            first, n_rows, digest = _read_name(path)
            if digest and first == self.n_rows and record_file(path).sha256 == digest:
                self._done.append(path)
                self.n_rows += n_rows
                self.counts.update(_read_counts(path))
            elif path.name not in (REQUEST, "lock"):
                path.unlink()

    def add(self, table: pa.Table, counts: Mapping[str, int]) -> None:
        """Answers for the next rows, and what is to be counted of them.

        Raises:
            OSError: the disk takes no more.
        """
        self._waiting += table.to_batches()
        self._counts.update(counts)
        n_rows = sum(batch.num_rows for batch in self._waiting)
        n_bytes = sum(batch.nbytes for batch in self._waiting)
        is_late = time.monotonic() - self._since >= PART_SECONDS
        if n_rows >= PART_ROWS or n_bytes >= PART_BYTES or is_late:
            self.commit()

    def commit(self) -> None:
        """Write what was added as a part."""
        if not self._waiting:
            return
        counts = json.dumps(dict(self._counts))
        schema = self._schema.with_metadata({"counts": counts})
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        # A stream, for a file of Arrow's has one dictionary a column, and sources have their own.
        with pa.ipc.new_stream(sink, schema, options=options) as writer:
            for batch in self._waiting:
                writer.write_batch(batch)
        content = sink.getvalue()
        n_rows = sum(batch.num_rows for batch in self._waiting)
        digest = record_bytes(content).sha256
        path = self._folder / f"{self.n_rows:015}-{n_rows}-{digest}{ENDING}"
        replace_file(path, content)
        self._done.append(path)
        self.n_rows += n_rows
        self.counts.update(self._counts)
        self._waiting, self._counts, self._since = [], Counter(), time.monotonic()

    def tables(self) -> Iterator[pa.Table]:
        """All that was committed, in order, as it was added."""
        for path in self._done:
            with pa.ipc.open_stream(path.read_bytes()) as batches:
                for batch in batches:
                    yield pa.Table.from_batches([batch]).replace_schema_metadata(None)


def _read_name(path: Path) -> tuple[int, int, str]:
    """First row, rows and digest of a part; the digest is empty for another file."""
    numbers, ending = path.name.removesuffix(ENDING).split("-"), path.suffix
    if ending != ENDING or len(numbers) != 3 or not all(n.isdecimal() for n in numbers[:2]):
        return 0, 0, ""
    return int(numbers[0]), int(numbers[1]), numbers[2]


def _read_counts(path: Path) -> dict[str, int]:
    with path.open("rb") as file, pa.ipc.open_stream(file) as batches:
        counts: dict[str, int] = json.loads(batches.schema.metadata[b"counts"])
    return counts


@contextlib.contextmanager
def open_parts(
    out: Path, schema: pa.Schema, request: Mapping[str, Any], *, restart: bool
) -> Iterator[Parts]:
    """The parts of an output while they are made; when the body ends well, they go.

    Args:
        out: the output.
        schema: its columns.
        request: what decides its bytes, JSON-able, by the words that name it in messages.
        restart: whether to begin anew where another request, or the same, has been begun.

    Raises:
        IndexLockedError: another run makes the same output.
        RequestError: another request has been begun.
        OutputError: the disk takes no more, or the folder cannot be written to.
    """
    folder = work_folder(out)
    try:
        refuse_foreign(folder, _is_ours)
        make_folder(folder)
        with hold_lock(folder / "lock"):
            _begin(folder, request, restart=restart)
            parts = Parts(folder, schema)
            try:
                yield parts
                (folder / REQUEST).unlink()  # first, for what is left without it is nobody's
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                if not parts.n_rows:
                    shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be written: {error.strerror or error}.",
            "What was answered is kept; run the same command again to go on.",
        ) from error


def _is_ours(name: str) -> bool:
    """Whether a file is one that a killed run leaves."""
    return name == REQUEST or name.startswith(".") or bool(_read_name(Path(name))[2])


def work_folder(out: Path) -> Path:
    """Where the parts of an output lie."""
    return out.with_name(f"{out.name}.predicting")


def read_request(out: Path) -> dict[str, Any] | None:
    """What was begun beside an output; None if nothing was."""
    try:
        found = json.loads((work_folder(out) / REQUEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def count_done(out: Path) -> int:
    """Rows of an output that are done, by the names of its parts."""
    folder, n_rows = work_folder(out), 0
    for path in sorted(folder.iterdir()) if read_request(out) else ():
        first, n, digest = _read_name(path)
        n_rows += n if digest and first == n_rows else 0
    return n_rows


def check_request(out: Path, request: Mapping[str, Any]) -> None:
    """Raise RequestError if another request has been begun beside an output."""
    before = read_request(out)
    changed = [] if before is None else [n for n in request if before.get(n) != request[n]]
    if changed:
        raise RequestError(
            f"{work_folder(out)} holds answers of a run that was not finished; it differs in "
            f"{', '.join(changed)}.",
            "Ask for the same as it to go on, add --restart to begin anew, or choose another "
            "--out.",
        )


def _begin(folder: Path, request: Mapping[str, Any], *, restart: bool) -> None:
    """Check that what lies in the folder belongs to the request; else it goes."""
    out = folder.with_name(folder.name.removesuffix(".predicting"))
    if restart or read_request(out) is None:
        (folder / REQUEST).unlink(missing_ok=True)
        for path in folder.iterdir():
            if path.name != "lock":
                path.unlink()
    check_request(out, request)
    content = json.dumps(dict(request), indent=1, ensure_ascii=False)
    replace_file(folder / REQUEST, f"{content}\n".encode())
