"""`index --dry-run`: what would be done, with nothing written anywhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from corpora import Done, assert_refused, tree, write_corpus

Run = Callable[..., Done]


def test_an_estimate_is_near_the_build(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path, tiny_index: Path
) -> None:
    """Documents are counted exactly, and passages, tokens and bytes are near those of the build."""
    arguments = ("index", small_corpus, "--model", tiny_model, "--dry-run", "--format", "json")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    built = json.loads(run("info", tiny_index, "--format", "json").stdout)
    assert found["n_documents"] == built["documents"]
    for name in ("passages", "tokens"):
        assert found[f"n_{name}"] == pytest.approx(built[name], rel=0.1)
    assert found["n_occurrences"] == pytest.approx(built["senses"]["uses_kept"], rel=0.1)
    assert found["disk_bytes"] == pytest.approx(built["bytes"]["total"], rel=0.3)
    assert found["structure"] == built["faiss"][0]["structure"]
    assert found["seconds"] > 0


def test_nothing_is_written(run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path) -> None:
    """A dry run writes no file into the working folder, the output, or an empty cache."""
    for name in ("cwd", "cache", "tmp"):
        (tmp_path / name).mkdir()
    env = {"EMBEDDER_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    done = run(
        "index", small_corpus, "--model", tiny_model, "--dry-run", cwd=tmp_path / "cwd", env=env
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing was written" in done.stdout
    assert tree(tmp_path) == {}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cache", "cwd", "tmp"]


def test_a_cache_that_is_not_there_is_not_made(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path
) -> None:
    """A dry run does not make the cache folder."""
    env = {"EMBEDDER_CACHE": str(tmp_path / "cache")}
    done = run("index", small_corpus, "--model", tiny_model, "--dry-run", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_index_that_is_there_stays(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_index: Path
) -> None:
    """A dry run over an existing index leaves every byte of it."""
    out = Path(shutil.copytree(tiny_index, tmp_path / "an.index"))
    before = tree(tmp_path)
    done = run("index", small_corpus, "--out", out, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path) == before


def test_what_has_a_vector_is_not_estimated(
    run: Run, tmp_path: Path, tiny_model: Path, short_texts: list[str]
) -> None:
    """Of a row group that changed only what is new counts; of --undelete, what was dropped."""
    path, texts = tmp_path / "a.parquet", short_texts[:200]
    arguments = ("index", path, "--out", tmp_path / "an.index", "--model", tiny_model)
    write_corpus(path, texts, rows=100)
    assert run(*arguments, "-q").returncode == 0
    texts[:50] = short_texts[200:250]
    write_corpus(path, texts, rows=100)
    found = json.loads(run(*arguments, "--dry-run", "--format", "json").stdout)
    assert (found["n_rows_missing"], found["n_gone"]) == (100, 100)
    assert found["share_known"] == 0.5
    shown = run(*arguments, "--dry-run").stdout
    assert "to encode: about 50 of 100 rows" in shown
    assert "in row groups that have changed or are gone: 100 documents" in shown
    done = run(*arguments)
    assert "(100 rows); 1 row group is as it was" in done.stderr
    run("delete", tmp_path / "an.index", "--where", "id IN ('d1', 'd2')")
    run("compact", tmp_path / "an.index", "-q")
    assert "to encode: nothing" in run(*arguments, "--dry-run").stdout
    found = json.loads(run(*arguments, "--undelete", "--dry-run", "--format", "json").stdout)
    assert (found["n_rows_missing"], found["share_known"]) == (100, 0.98)


def test_a_dry_run_finds_what_a_build_would(
    run: Run, tmp_path: Path, small_corpus: Path, tiny_model: Path
) -> None:
    """What a build would refuse, a dry run refuses in the same line."""
    for arguments in (["nowhere.parquet"], [small_corpus, "--text", "nope"]):
        options = ("--model", tiny_model, "-q")
        built = run("index", *arguments, *options, cwd=tmp_path)
        dry = run("index", *arguments, *options, "--dry-run", cwd=tmp_path)
        assert_refused(dry)
        assert (dry.returncode, dry.stderr) == (built.returncode, built.stderr)
    assert list(tmp_path.iterdir()) == []
