"""`info`: what the manifest says, in words and in numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from corpora import Done, tree

from indexes.layout import Layout
from indexes.manifest_file import read_manifest

Run = Callable[..., Done]


def test_json_agrees_with_the_manifest(run: Run, tiny_index: Path, small_corpus: Path) -> None:
    """The numbers of `info` are those of the manifest, the corpus and the disk."""
    done = run("info", tiny_index, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found, manifest = json.loads(done.stdout), read_manifest(Layout(tiny_index))
    assert found["documents"] == manifest.n_documents == pq.read_metadata(small_corpus).num_rows
    [faiss] = found["faiss"]
    assert found["passages"] == manifest.n_passages == faiss["vectors"]
    assert (faiss["recall"], faiss["structure"]) == (1.0, "SQfp16")
    assert found["contract"] == {"recall": 0.95, "memory": 4 << 30, "structure": "auto"}
    assert found["segments"] == 6
    assert found["passages_not_in_faiss"] == 0
    assert found["columns"]["metadata"] == ["title", "url", "year", "lang"]
    assert found["fingerprint"] == manifest.encoder.fingerprint
    assert found["sources"] == [
        {
            "name": str(small_corpus),
            "identity": f"local:{small_corpus}",
            "label": small_corpus.name,
            "n_rows": 300,
            "size": small_corpus.stat().st_size,
        }
    ]
    assert manifest.basis is not None and manifest.senses is not None
    assert found["senses"] == {
        "uses_kept": sum(segment.n_occurrences for segment in manifest.segments),
        "most_uses_of_a_word": 10_000,
        "components": manifest.basis.n_components,
        "words": manifest.senses.n_words,
        "senses": manifest.senses.n_senses,
        "uses_with_a_sense": manifest.senses.n_uses,
    }
    assert found["senses"]["uses_kept"] > found["senses"]["uses_with_a_sense"] > 1000
    on_disk = sum(map(len, tree(tiny_index).values())) - len(
        (tiny_index / "manifest.json").read_bytes()
    )
    assert found["bytes"]["total"] == on_disk


def test_text_shows_what_people_ask_for(run: Run, tiny_index: Path, tiny_model: Path) -> None:
    """In words `info` names the counts, the source, the columns, the model and the structure."""
    done = run("info", tiny_index)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("300 documents", "6 segments", "small.parquet", "text text", "id id", "SQfp16"):
        assert word in done.stdout
    assert re.search(r"senses: \d+ senses of \d+ words, of [\d,]+ uses", done.stdout)
    assert "uses of words kept, at most 10,000 of one" in done.stdout
    assert str(tiny_model) in done.stdout


@pytest.mark.parametrize("how", ["argument", "option", "EMBEDDER_INDEX", "working folder"])
def test_ways_to_name_the_index(run: Run, tiny_index: Path, how: str) -> None:
    """The index is an argument, an option, in the environment, or the one in the folder."""
    arguments = {"argument": [tiny_index], "option": ["--index", tiny_index]}.get(how, [])
    env = {"EMBEDDER_INDEX": str(tiny_index)} if how == "EMBEDDER_INDEX" else {}
    cwd = tiny_index.parent if how == "working folder" else None
    done = run("info", *arguments, env=env, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "300 documents" in done.stdout


def test_info_changes_nothing(run: Run, tiny_index: Path) -> None:
    """Asking does not touch the index."""
    before = tree(tiny_index)
    run("info", tiny_index)
    assert tree(tiny_index) == before
