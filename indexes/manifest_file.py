"""The manifest on disk, and the files that it names."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embedder.errors import IndexFormatError, IndexNotFoundError
from embedder.specs import digest_of
from indexes.decoding import decode
from indexes.durable import FileRecord, check_files, replace_file
from indexes.layout import Layout
from indexes.manifest import FORMAT, Manifest


def write_manifest(layout: Layout, manifest: Manifest) -> None:
    """Commit: make `manifest` the state of the index, atomically and durably."""
    body = _to_json(manifest)
    content = {**body, "digest": digest_of(body)}
    replace_file(layout.manifest, (json.dumps(content, indent=1) + "\n").encode())


def read_manifest(layout: Layout) -> Manifest:
    """The committed state of an index.

    Raises:
        IndexNotFoundError: there is no index.
        IndexFormatError: the manifest is damaged, or of a format this version cannot read.
    """
    try:
        raw = layout.manifest.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise IndexNotFoundError(
            f"There is no index at {layout.root}.", "Build one with: embedder index SOURCES"
        ) from None
    except OSError as error:
        raise IndexFormatError(f"{layout.manifest} cannot be read: {error.strerror}.") from error
    repair = f"Remove {layout.root} and run embedder index again, or restore the file from a copy."
    try:
        content = json.loads(raw)
        found = content["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IndexFormatError(f"{layout.manifest} is damaged: {error}.", repair) from error
    if found != FORMAT:
        raise IndexFormatError(
            f"{layout.root} is an index of format {found}, and this version reads format {FORMAT}.",
            f"Update embedder, or remove {layout.root} and run embedder index again.",
        )
    digest = content.pop("digest", None)
    try:
        is_whole = digest_of(content) == digest
    except (UnicodeError, RecursionError):  # a lone surrogate, say, which we never write
        is_whole = False
    if not is_whole:
        raise IndexFormatError(f"{layout.manifest} is damaged: its digest is wrong.", repair)
    try:
        return _from_json(content)
    except (ValueError, KeyError) as error:
        raise IndexFormatError(f"{layout.manifest} is damaged: {error}.", repair) from error


def check_index_files(layout: Layout, manifest: Manifest, *, with_digests: bool = False) -> None:
    """Raise IndexFormatError unless every file that the manifest names is there, of its size.

    With `with_digests` the files are read and must have their digests too.
    """
    for folder, records in named_files(layout, manifest):
        check_files(folder, records, with_digests=with_digests)


def named_files(layout: Layout, manifest: Manifest) -> list[tuple[Path, dict[str, FileRecord]]]:
    """Every file that the manifest names, as folders with records by name."""
    found: list[tuple[Path, dict[str, FileRecord]]] = []
    for segment in manifest.segments:
        found.append((layout.segment(segment.id), segment.files))
        if segment.deletion:
            found.append((layout.deleted, {segment.deletion.name: segment.deletion.file}))
    for generation in manifest.generations:
        found.append((layout.generation(generation.id), generation.files))
    for part in (manifest.basis, manifest.senses):
        if part:
            found.append((layout.sense_folder(part.id), part.files))
    if manifest.excluded:
        found.append((layout.deleted, dict([manifest.excluded])))
    if manifest.calibration:
        found.append((layout.root, {layout.calibration.name: manifest.calibration}))
    return found


def _to_json(manifest: Manifest) -> dict[str, Any]:
    return {**asdict(manifest), "fingerprint": manifest.encoder.fingerprint}


def _from_json(content: dict[str, Any]) -> Manifest:
    """The manifest, whose names lead nowhere but into the index's own folders."""
    del content["fingerprint"]
    manifest = decode(Manifest, content)
    names = [name for found in manifest.file_names().values() for name in found]
    names += [name for segment in manifest.segments for name in segment.files]
    names += [name for generation in manifest.generations for name in generation.files]
    sense_parts = (manifest.basis, manifest.senses)
    names += [name for part in sense_parts if part for name in part.files]
    strange = [name for name in names if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII)]
    if strange:
        raise ValueError(f"{strange[0]!r} is no name of a file of an index")
    return manifest
