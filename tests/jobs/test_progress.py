"""What people see of a job while it runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from corpora import write_corpus
from rich.text import Text
from synthetic import commit, unit_rows, write_segment

from embedder.encoders import EncoderOptions
from indexes.layout import Layout
from jobs.build import build_index
from jobs.compact import compact_index
from jobs.plan import BuildOptions
from jobs.progress import Progress
from jobs.screen import open_screen


class Noted(Progress):
    """Every line that could be shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__()

    def show(self, *, force: bool = False) -> None:
        """Keep the line."""
        self.lines.append(self.line())


def built(progress: Noted, n_vectors: int) -> bool:
    """Whether the FAISS structure was shown to grow to its end, without a speed of encoding."""
    shown = [line for line in progress.lines if line.startswith("building the FAISS structure: ")]
    end = f": {n_vectors:,} of {n_vectors:,} vectors, "
    return bool(shown) and end in shown[-1] and not any("tokens/s" in line for line in shown)


def test_a_build_shows_the_vectors_of_its_faiss_structure(
    tmp_path: Path, tiny_model: Path, short_texts: list[str]
) -> None:
    """After encoding, vectors are counted and no longer documents and tokens."""
    path, progress = write_corpus(tmp_path / "a.parquet", short_texts[:20]), Noted()
    options = EncoderOptions(model=str(tiny_model))
    asked = BuildOptions(sources=(str(path),), out=tmp_path / "i", encoder=options, senses=False)
    build_index(asked, progress)
    assert any("tokens/s" in line for line in progress.lines)
    assert built(progress, 20)


def test_a_compaction_shows_the_vectors_of_its_faiss_structure(tmp_path: Path) -> None:
    """Compacting, the vectors of the new structure are counted."""
    layout, progress = Layout(tmp_path / "an.index"), Noted()
    layout.root.mkdir()
    commit(layout, [write_segment(layout, name, unit_rows(30)) for name in "ab"])
    compact_index(layout, progress)
    assert built(progress, 60)


def test_what_is_left_shrinks_while_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents may come many at a time; until some are there, nothing is said of the rest."""
    now = [100.0]
    monkeypatch.setattr("jobs.progress.time.monotonic", lambda: now[0])
    progress = Progress()
    progress.start_stage("encoding", 1000)
    now[0] += 5
    progress.count_documents(5)
    assert progress.line() == "encoding: 5 of 1,000 documents, 1/s"
    now[0] += 45
    progress.count_documents(495)
    assert progress.line().endswith("10/s, 0:50 left")
    now[0] += 30
    assert progress.line().endswith("10/s, 0:20 left")
    now[0] += 30
    assert progress.line().endswith("10/s")


def test_texts_do_not_command_a_terminal() -> None:
    """Control characters of a corpus are shown as what cannot be shown."""
    stream = io.StringIO()
    open_screen(stream).print(Text("a\x1b]0;owned\x07\x9b2Jb\tc\nd\u202ee\u2067"))
    assert not set("\x1b\x07\x9b\u202e\u2067") & set(stream.getvalue())
    assert stream.getvalue().startswith("a\ufffd]0;owned")
    assert "c\nd" in stream.getvalue()
