"""`embedder info`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from jobs.cli.index_option import index_option, named_index
from jobs.cli.streams import writing_stdout

if TYPE_CHECKING:
    from indexes.manifest import GenerationRecord, HistoryEntry, Manifest
    from jobs.describe import Description


@click.command("info")
@click.argument("folder", required=False, metavar="[INDEX]")
@index_option("info")
@click.option("--history", is_flag=True, help="Show the runs that made it what it is.")
@click.option("--format", type=click.Choice(["text", "json"]), default="text")
def info_command(folder: str | None, index: str | None, history: bool, format: str) -> None:
    """Show what an index holds, or how it came to be."""
    from indexes.layout import Layout
    from jobs.describe import describe_index

    description = describe_index(Layout(named_index(folder, index)))
    entries = description.manifest.history
    with writing_stdout():
        if format == "json":
            values = [vars(entry) for entry in entries] if history else description.to_json()
            print(json.dumps(values, indent=1, ensure_ascii=False), file=sys.stdout)
            return
        for line in _history_lines(entries) if history else _lines(description):
            print(line, file=sys.stdout)


def _history_lines(entries: Sequence[HistoryEntry]) -> Iterator[str]:
    from datetime import UTC, datetime

    from jobs.figures import plural

    for entry in entries:
        at = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield (
            f"{entry.number:>5}  {at}  {entry.command:<8} +{entry.n_added:,} -{entry.n_removed:,}  "
            f"{plural(entry.n_documents, 'document')} in {plural(entry.n_segments, 'segment')}"
        )


def _faiss_line(record: GenerationRecord) -> str:
    from jobs.figures import memory_text, plural

    effort = record.efforts[0] if record.efforts else None
    recall = f"recall@10 {effort.recall:.3f}" if effort else "exact"
    latency = "" if record.latency_ms is None else f", {record.latency_ms:.2f} ms a query"
    return (
        f"{record.structure} over {plural(record.n_vectors, 'vector')}, {recall}{latency}, "
        f"{memory_text(record.memory)} in memory"
    )


def _sense_lines(manifest: Manifest) -> list[str]:
    from jobs.figures import plural

    if manifest.basis is None:
        return ["  senses: none"]
    n_kept = sum(segment.n_occurrences for segment in manifest.segments)
    kept = f"{plural(n_kept, 'use')} of words kept, at most {manifest.basis.cap:,} of one"
    senses = manifest.senses
    if senses is None:
        return [f"  senses: none yet; {kept}"]
    return [
        f"  senses: {plural(senses.n_senses, 'sense')} of {plural(senses.n_words, 'word')}, of "
        f"{plural(senses.n_uses, 'use')}; {kept}"
    ]


def _lines(description: Description) -> list[str]:
    from jobs.figures import bytes_text, memory_text, number_lines, plural

    manifest, sizes = description.manifest, description.sizes
    spec, contract = manifest.encoder, manifest.contract
    counts = manifest.counts()
    counts["deleted, until the index is compacted"] = description.n_deleted
    counts["duplicate id"] = manifest.n_duplicate_ids
    counts["cut into several passages"] = manifest.n_windowed
    counts["truncated"] = manifest.n_truncated
    dead = " with those of deleted documents" if description.n_deleted else ""
    unfinished = "  a run has not finished; run embedder index again"
    return [
        description.index,
        *([] if description.is_finished else [unfinished]),
        f"  {plural(manifest.n_documents, 'document')}, {plural(manifest.n_passages, 'passage')}, "
        f"{plural(manifest.n_tokens, 'token')}{dead}, {plural(len(manifest.segments), 'segment')}",
        *(f"  source: {s.name} ({plural(s.n_rows, 'row')})" for s in manifest.sources),
        f"  columns: text {manifest.text}, id {manifest.id or 'made from file and row'}, metadata "
        f"{', '.join(manifest.metadata) or 'none'}",
        f"  encoder: {spec.model}, {spec.pooling} pooling, {spec.width} components, "
        f"window {spec.max_tokens} tokens, {manifest.engine}",
        f"  longer documents: {manifest.chunking.overflow}, stride {manifest.chunking.stride}",
        *(f"  FAISS: {_faiss_line(record)}" for record in manifest.generations),
        *(
            [f"  not in FAISS yet, scanned: {plural(description.n_uncovered, 'passage')}"]
            if description.n_uncovered
            else []
        ),
        *_sense_lines(manifest),
        f"  contract: recall@10 of {contract.recall:g} within {memory_text(contract.memory)}",
        f"  on disk: {bytes_text(sizes.total)} (vectors {bytes_text(sizes.vectors)}, texts "
        f"{bytes_text(sizes.texts)}, FAISS {bytes_text(sizes.faiss)}, uses of words and senses "
        f"{bytes_text(sizes.senses)})",
        *number_lines(counts),
    ]
