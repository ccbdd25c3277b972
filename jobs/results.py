"""Hits to files and screens, in every format that is offered."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, TextIO

from embedder.errors import RequestError
from jobs.output import appearing, check_file_name, column_names, finite
from jobs.query import Hit, Index

COLUMNS = ("query", "rank", "score", "id", "passage", "start", "end")
TEXT_WIDTH = 96
MAX_VALUE_CHARACTERS = 60
N_TEXT_FIELDS = 2
"""Metadata columns shown to people when they name none."""


class Format(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def choose_format(asked: str | None, out: str | None) -> Format:
    """The format asked for, else the one that the output's ending names, else text.

    Raises:
        RequestError: Parquet was asked for without a file to put it in.
    """
    ending = Path(out).suffix.lower().lstrip(".") if out else ""
    found = Format(asked or (ending if ending in list(Format) else Format.TEXT))
    if found is Format.PARQUET and not out:
        raise RequestError("Parquet goes to a file.", "Name it with --out FILE.parquet.")
    return found


def write_results(
    results: Iterable[list[Hit]], form: Format, stream: TextIO, fields: Sequence[str]
) -> None:
    """Write hits to a text stream as they come, in any format but Parquet."""
    if form is Format.TEXT:
        _write_text(results, stream, fields)
    elif form is Format.CSV:
        _write_csv(results, stream, fields)
    elif form is Format.JSONL:
        for hit in _flat(results):
            print(_json(hit), file=stream)
    else:
        _write_json(results, stream)


def write_file(
    results: Iterable[list[Hit]], form: Format, out: str, index: Index, fields: Sequence[str]
) -> None:
    """Write hits to a file, which appears when it is complete.

    Raises:
        OutputError: the file cannot be written.
    """
    with appearing(check_file_name(out)) as [file]:
        if form is Format.PARQUET:
            _write_parquet(results, file, index, fields)
        else:
            stream = io.TextIOWrapper(file, "utf-8", newline="")
            write_results(results, form, stream, fields)
            stream.detach()  # written out, and left open


def _flat(results: Iterable[list[Hit]]) -> Iterator[Hit]:
    return (hit for hits in results for hit in hits)


def _json(hit: Hit) -> str:
    values = hit.to_json()
    metadata = {name: finite(value) for name, value in hit.metadata.items()}
    return json.dumps({**values, "metadata": metadata}, ensure_ascii=False, default=str)


def _write_json(results: Iterable[list[Hit]], stream: TextIO) -> None:
    """One array, written as the hits come."""
    separator = "[\n"
    for hit in _flat(results):
        print(separator, _json(hit), sep="", end="", file=stream)
        separator = ",\n"
    print("[]" if separator == "[\n" else "\n]", file=stream)


def _row(hit: Hit, names: Mapping[str, str]) -> dict[str, Any]:
    """A hit as a flat row, each metadata column under its name there."""
    own = {name: getattr(hit, name) for name in COLUMNS}
    return own | {name: hit.metadata.get(field) for field, name in names.items()}


def _names(fields: Sequence[str]) -> dict[str, str]:
    """Names of metadata columns in flat rows."""
    return dict(zip(fields, column_names(COLUMNS, fields), strict=True))


def _write_csv(results: Iterable[list[Hit]], stream: TextIO, fields: Sequence[str]) -> None:
    names = _names(fields)
    writer = csv.DictWriter(stream, [*COLUMNS, *names.values()])
    writer.writeheader()
    for hit in _flat(results):
        writer.writerow(_row(hit, names))


def _write_parquet(
    results: Iterable[list[Hit]], file: IO[bytes], index: Index, fields: Sequence[str]
) -> None:
    import pyarrow as pa

    from indexes.parquet_writer import ParquetWriter

    types = [
        pa.string(),
        pa.int32(),
        pa.float32(),
        pa.string(),
        pa.string(),
        pa.int32(),
        pa.int32(),
    ]
    own = [pa.field(name, kind) for name, kind in zip(COLUMNS, types, strict=True)]
    stored = index.searcher.metadata.arrow_schema(fields)
    names = _names(stored.names)
    schema = pa.schema([*own, *(f.with_name(names[f.name]) for f in stored)])
    with ParquetWriter(file, schema, compression="zstd") as writer:
        for hits in results:
            rows = [_row(hit, names) for hit in hits]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _write_text(results: Iterable[list[Hit]], stream: TextIO, fields: Sequence[str]) -> None:
    """Rank, score, id and metadata, then the passage with its most relevant sentence marked."""
    from rich.console import Console
    from rich.text import Text

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # the command line decides what to do about it

    console = PipeConsole(file=stream, highlight=False, soft_wrap=True)
    last: str | None = None
    for hits in results:
        for hit in hits:
            if hit.query != last:
                console.print(Text(f"── {hit.query}", style="bold magenta"))
                last = hit.query
            console.print(_head(hit, fields))
            for line in _passage_lines(hit, is_plain=not console.is_terminal):
                console.print(line)
            console.print()


def _head(hit: Hit, fields: Sequence[str]) -> Any:
    from rich.text import Text

    head = Text(f"{hit.rank:>3}.  {hit.score:.3f}  ")
    head.append(hit.id, style="bold")
    for name in fields:
        value = " ".join(str(hit.metadata.get(name, "")).split())
        if hit.metadata.get(name) is not None and value:
            shown = textwrap.shorten(value, MAX_VALUE_CHARACTERS, placeholder="…")
            head.append(f"  {shown}", style="cyan")
    return head


def _passage_lines(hit: Hit, *, is_plain: bool) -> list[Any]:
    """The passage wrapped; its best sentence bold, or between » and « where there is no bold."""
    from rich.console import Console
    from rich.text import Text

    start, end = hit.sentence or (0, 0)
    before, best, after = hit.passage[:start], hit.passage[start:end], hit.passage[end:]
    marks = ("»", "«") if is_plain and best and best != hit.passage.strip() else ("", "")
    text = Text(" ".join(before.split()) + (" " if before.strip() else ""))
    text.append(marks[0] + " ".join(best.split()) + marks[1], style="bold")
    text.append((" " if after.strip() else "") + " ".join(after.split()))
    lines = text.wrap(Console(width=TEXT_WIDTH), TEXT_WIDTH - 5)
    for line in lines:
        line.rstrip()
    return [Text("     ") + line for line in lines]
