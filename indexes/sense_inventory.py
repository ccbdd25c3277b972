"""The sense inventory: words, their senses, and the uses that have them.

`senses.parquet` has a row for each sense, `centroids.npy` its centroid, `uses.npy` the uses of
each word one after the other.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embedder.errors import IndexFormatError
from embedder.specs import digest_of
from embedder.vectors import Rows, normalise
from indexes.documents import read_table
from indexes.durable import (
    NPY_ERRORS,
    check_files,
    create_file,
    publish_folder,
    record_file,
    start_folder,
)
from indexes.layout import CENTROIDS_FILE, SENSES_FILE, USES_FILE, Layout
from indexes.manifest import SegmentRecord, SenseRecord
from indexes.npy import NPY_HEADER_BYTES, npy_bytes, npy_header
from indexes.occurrences import open_array
from indexes.parquet_writer import ParquetWriter

REPAIR = "Run embedder index again to restore it."

USE = np.dtype([("segment", "<u4"), ("row", "<u4"), ("sense", "<u2"), ("confidence", "<u2")])
"""One use: number of its segment in the inventory, its row there, the number of its sense, and
its confidence in 65,535ths."""

SENSES_SCHEMA = pa.schema(
    [
        ("word", pa.uint64()),
        ("form", pa.string()),
        ("sense", pa.int32()),
        ("n_uses", pa.int64()),  # of this sense
        ("first", pa.int64()),  # row of the word's first use
        ("n_word_uses", pa.int64()),  # that carry a sense
        ("n_found", pa.int64()),  # before a sample was drawn
        ("n_induced", pa.int64()),  # when the word was last grouped
        ("last_number", pa.int32()),  # that one of the word's senses ever had
    ]
)


@dataclass(frozen=True)
class WordSenses:
    """One word of an inventory.

    Args:
        word: hash of its form.
        form: what it is looked up by.
        numbers: numbers of its senses, the most frequent first, shape (n_senses,).
        n_uses: uses of each sense, shape (n_senses,).
        centroids: unit rows, float32, shape (n_senses, n_components).
        uses: records of type USE, shape (n_word_uses,).
        n_found: its uses in the index before a sample was drawn.
        n_induced: its uses when it was last grouped into senses.
        last_number: the highest number that one of its senses ever had.
    """

    word: int
    form: str
    numbers: npt.NDArray[np.int64]
    n_uses: npt.NDArray[np.int64]
    centroids: Rows
    uses: npt.NDArray[np.void]
    n_found: int
    n_induced: int
    last_number: int

    @property
    def names(self) -> list[str]:
        """Names of the senses, as `bank/1`."""
        return [f"{self.form}/{number}" for number in self.numbers.tolist()]

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Share of the uses that each sense has, shape (n_senses,)."""
        shares: npt.NDArray[np.float64] = self.n_uses / max(1, int(self.n_uses.sum()))
        return shares


def write_inventory(
    layout: Layout, words: Iterable[WordSenses], covered: Sequence[SegmentRecord], basis: str
) -> SenseRecord:
    """Write an inventory, a word after the other; the manifest commits it later.

    Args:
        layout: the index.
        words: its words.
        covered: the segments whose uses it has, in the order of the numbers in the uses.
        basis: id of what the vectors rest on.
    """
    segments = covered_by(covered)
    temporary = start_folder(layout.senses / "inventory")
    try:
        senses, n_uses = _write_words(temporary, words)
        names = (SENSES_FILE, CENTROIDS_FILE, USES_FILE)
        digests = [record_file(temporary / name).sha256 for name in names]
        name = digest_of(["senses", basis, segments, digests])[:32]
        files = publish_folder(temporary, layout.sense_folder(name))
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return SenseRecord(
        id=name,
        segments=segments,
        n_words=len(pc.unique(senses["word"])),
        n_senses=senses.num_rows,
        n_uses=n_uses,
        files=files,
    )


def _write_words(folder: Path, words: Iterable[WordSenses]) -> tuple[pa.Table, int]:
    """Write the files of an inventory; its senses, and the number of uses."""
    columns: dict[str, list[int | str]] = {name: [] for name in SENSES_SCHEMA.names}
    centroids: list[Rows] = []
    first = 0
    with create_file(folder / USES_FILE) as uses:
        uses.write(b"\0" * NPY_HEADER_BYTES)
        for word in words:
            uses.write(word.uses.tobytes())
            centroids.append(word.centroids.astype("<f2"))
            for number, n_uses in zip(word.numbers.tolist(), word.n_uses.tolist(), strict=True):
                counts = (len(word.uses), word.n_found, word.n_induced, word.last_number)
                values = (word.word, word.form, number, n_uses, first, *counts)
                for name, value in zip(SENSES_SCHEMA.names, values, strict=True):
                    columns[name].append(value)
            first += len(word.uses)
        uses.seek(0)
        uses.write(npy_header(USE, (first,)))
    table = pa.table(columns, schema=SENSES_SCHEMA)
    n_components = centroids[0].shape[1] if centroids else 0
    rows = np.concatenate([np.empty((0, n_components), dtype="<f2"), *centroids])
    for path, content in ((SENSES_FILE, _parquet(table)), (CENTROIDS_FILE, npy_bytes(rows))):
        with create_file(folder / path) as file:
            file.write(content)
    return table, first


def as_stored(centroids: npt.NDArray[Any]) -> Rows:
    """Centroids as they are read back: in the precision of the file, and of unit length.

    What was read back once does not change any more, for a unit row moves by less than half a step.
    """
    return normalise(centroids.astype("<f2").astype(np.float32))


def covered_by(segments: Sequence[SegmentRecord]) -> tuple[tuple[str, str], ...]:
    """How an inventory names what it covers."""
    return tuple((s.id, s.deletion.name if s.deletion else "") for s in segments)


def covers(record: SenseRecord, segments: Sequence[SegmentRecord]) -> bool:
    """Whether an inventory has every use that some segments have.

    Documents that were deleted after it was built do no harm: their uses are left out when it is
    read. One that was deleted before can have come back.
    """
    if [name for name, _ in record.segments] != [segment.id for segment in segments]:
        return False
    now = covered_by(segments)
    return all(
        not then or then == found
        for (_, then), (_, found) in zip(record.segments, now, strict=True)
    )


class SenseInventory:
    """A built inventory, read back.

    Args:
        layout: the index.
        record: the inventory.

    Raises:
        IndexFormatError: a file is not as it was written.
    """

    def __init__(self, layout: Layout, record: SenseRecord) -> None:
        folder = layout.sense_folder(record.id)
        small = {name: file for name, file in record.files.items() if name != USES_FILE}
        check_files(folder, small, with_digests=True)
        table = read_table(folder / SENSES_FILE, SENSES_SCHEMA)
        try:
            self.centroids: Rows = as_stored(np.load(folder / CENTROIDS_FILE, allow_pickle=False))
        except NPY_ERRORS as error:
            path = folder / CENTROIDS_FILE
            raise IndexFormatError(f"{path} is damaged: {error}.", REPAIR) from error
        self._uses = open_array(folder / USES_FILE, USE, (record.n_uses,))
        self.record, self._folder = record, folder
        columns = {name: table[name].to_numpy() for name in SENSES_SCHEMA.names if name != "form"}
        self._columns = columns
        self.forms: list[str] = table["form"].to_pylist()
        self.numbers = columns["sense"].astype(np.int64)
        self.n_uses, self.words = columns["n_uses"], columns["word"]
        self.n_found = columns["n_found"]
        is_first = np.diff(self.words, prepend=self.words[:1] ^ np.uint64(1)) != 0
        self.starts = np.append(np.flatnonzero(is_first), len(self.words))
        self._rows: dict[str, tuple[int, int]] = {
            self.forms[start]: (start, end)
            for start, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)
        }
        n_rows = {len(self.centroids), len(self.forms), record.n_senses}
        if len(n_rows) > 1 or len(self) != record.n_words:
            raise IndexFormatError(f"The files in {folder} do not fit together.", REPAIR)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def n_senses(self, form: str) -> int:
        """How many senses a word has here."""
        start, end = self._rows.get(form, (0, 0))
        return int(end - start)

    def find(self, form: str) -> WordSenses | None:
        """A word's senses, None if it has none here.

        Raises:
            IndexFormatError: its uses are not as they were written.
        """
        if form not in self._rows:
            return None
        start, end = self._rows[form]
        columns = self._columns
        order = np.argsort(-columns["n_uses"][start:end], kind="stable") + start
        first, n = int(columns["first"][start]), int(columns["n_word_uses"][start])
        uses = np.array(self._uses[first : first + n])
        counts = np.bincount(uses["sense"], minlength=1 + int(self.numbers[order].max()))
        if counts[self.numbers[order]].tolist() != columns["n_uses"][order].tolist():
            path = self._folder / USES_FILE
            raise IndexFormatError(f"{path} is damaged: the uses of {form!r} are others.", REPAIR)
        return WordSenses(
            word=int(columns["word"][start]),
            form=form,
            numbers=self.numbers[order],
            n_uses=columns["n_uses"][order],
            centroids=self.centroids[order],
            uses=uses,
            n_found=int(columns["n_found"][start]),
            n_induced=int(columns["n_induced"][start]),
            last_number=int(columns["last_number"][start]),
        )

    def n_word_uses(self, row: int) -> int:
        """Uses that carry a sense of the word in one row of the inventory."""
        return int(self._columns["n_word_uses"][row])

    def name(self, row: int) -> str:
        """Name of the sense in one row of the inventory."""
        return f"{self.forms[row]}/{self.numbers[row]}"


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    with ParquetWriter(
        buffer, table.schema, compression="zstd", write_page_checksum=True
    ) as writer:
        writer.write_table(table)
    return buffer.getvalue()
