"""Hits to files and screens, in every format that is offered."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, TextIO

from jobs.output import appearing, check_file_name, column_names
from jobs.query import Hit, Index
from jobs.screen import open_screen
from jobs.tables import Format, write_rows

COLUMNS = ("query", "rank", "score", "id", "passage", "start", "end", "sense")
TEXT_WIDTH = 96
MAX_VALUE_CHARACTERS = 60
N_TEXT_FIELDS = 2
"""Metadata columns shown to people when they name none."""


def write_results(
    results: Iterable[list[Hit]],
    form: Format,
    stream: TextIO,
    fields: Sequence[str],
    index: Index,
) -> None:
    """Write hits to a text stream as they come, in any format but Parquet."""
    if form is Format.TEXT:
        _write_text(results, stream, fields, index)
        return
    names = _names(fields)
    flat = _flat(results)
    rows = (_row(hit, names) if form is Format.CSV else hit.to_json() for hit in flat)
    write_rows(rows, [*COLUMNS, *names.values()], form, stream)


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
            write_results(results, form, stream, fields, index)
            stream.detach()  # written out, and left open


def _flat(results: Iterable[list[Hit]]) -> Iterator[Hit]:
    return (hit for hits in results for hit in hits)


def _row(hit: Hit, names: Mapping[str, str]) -> dict[str, Any]:
    """A hit as a flat row, each metadata column under its name there."""
    own = {name: getattr(hit, name) for name in COLUMNS}
    return own | {name: hit.metadata.get(field) for field, name in names.items()}


def _names(fields: Sequence[str]) -> dict[str, str]:
    """Names of metadata columns in flat rows."""
    return dict(zip(fields, column_names(COLUMNS, fields), strict=True))


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
        pa.string(),
    ]
    own = [pa.field(name, kind) for name, kind in zip(COLUMNS, types, strict=True)]
    stored = index.searcher.metadata.arrow_schema(fields)
    names = _names(stored.names)
    schema = pa.schema([*own, *(f.with_name(names[f.name]) for f in stored)])
    with ParquetWriter(file, schema, compression="zstd") as writer:
        for hits in results:
            rows = [_row(hit, names) for hit in hits]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _write_text(
    results: Iterable[list[Hit]], stream: TextIO, fields: Sequence[str], index: Index
) -> None:
    """Rank, score, id and metadata, then the passage with its most relevant sentence marked."""
    from rich.text import Text

    console = open_screen(stream)
    last: tuple[str, str | None] | None = None
    for hits in results:
        for hit in hits:
            if last is None or hit.query != last[0]:
                console.print(Text(f"── {hit.query}", style="bold magenta"))
            if hit.sense and (hit.query, hit.sense) != last:
                title = " · ".join((hit.sense, *index.sense_words(hit.sense)))
                console.print(Text(title, style="magenta"))
            elif not hit.sense and last and last[0] == hit.query and last[1]:
                console.print(Text("others that are near", style="magenta"))
            last = (hit.query, hit.sense)
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
