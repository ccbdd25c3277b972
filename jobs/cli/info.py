"""`embedder info`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from jobs.describe import Description


@click.command("info")
@click.argument("folder", required=False, metavar="[INDEX]")
@click.option("--index", envvar=["EMBEDDER_INFO_INDEX", "EMBEDDER_INDEX"], metavar="FOLDER")
@click.option("--format", type=click.Choice(["text", "json"]), default="text")
def info_command(folder: str | None, index: str | None, format: str) -> None:
    """Show what an index holds."""
    from indexes.layout import Layout
    from jobs.describe import describe_index
    from jobs.find import find_index

    description = describe_index(Layout(find_index(folder or index)))
    if format == "json":
        click.echo(json.dumps(description.to_json(), indent=1, ensure_ascii=False))
        return
    for line in _lines(description):
        click.echo(line)


def _lines(description: Description) -> list[str]:
    from jobs.cli.words import bytes_text, number_lines, plural

    manifest, sizes = description.manifest, description.sizes
    spec, generation = manifest.encoder, manifest.generation
    n_tokens = sum(segment.n_tokens for segment in manifest.segments)
    faiss = "not built yet" if generation is None else generation.structure
    if generation is not None:
        faiss += "".join(f", {name} {value}" for name, value in generation.parameters.items())
        faiss += f" over {plural(generation.n_vectors, 'vector')}"
    if description.n_uncovered:
        faiss += f"; {plural(description.n_uncovered, 'passage')} not in it yet are scanned"
    counts = manifest.counts()
    counts["duplicate id"] = manifest.n_duplicate_ids
    counts["cut into several passages"] = sum(s.n_windowed for s in manifest.segments)
    counts["truncated"] = sum(s.n_truncated for s in manifest.segments)
    return [
        description.index,
        f"  {plural(manifest.n_documents, 'document')}, {plural(manifest.n_passages, 'passage')}, "
        f"{plural(n_tokens, 'token')}, {plural(len(manifest.segments), 'segment')}",
        *(f"  source: {s.name} ({plural(s.n_rows, 'row')})" for s in manifest.sources),
        f"  columns: text {manifest.text}, id {manifest.id or 'made from file and row'}, metadata "
        f"{', '.join(manifest.metadata) or 'none'}",
        f"  encoder: {spec.model}, {spec.pooling} pooling, {spec.width} components, "
        f"window {spec.max_tokens} tokens, {manifest.engine}",
        f"  longer documents: {manifest.chunking.overflow}, stride {manifest.chunking.stride}",
        f"  FAISS: {faiss}",
        f"  on disk: {bytes_text(sizes.total)} (vectors {bytes_text(sizes.vectors)}, texts "
        f"{bytes_text(sizes.texts)}, FAISS {bytes_text(sizes.faiss)})",
        *number_lines(counts),
    ]
