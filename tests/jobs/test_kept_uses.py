"""Uses of words in an index: the same however it came to be, and made again where they are lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from corpora import Tree, state, tree, write_corpus

from embedder.encoders import EncoderOptions
from embedder.errors import IndexFormatError
from embedder.records import Occurrences
from embedder.specs import Engine
from indexes.documents import read_documents
from indexes.layout import OCCURRENCE_FILES, Layout
from indexes.manifest_file import named_files, read_manifest
from indexes.occurrences import read_occurrences
from jobs.build import build_index
from jobs.plan import BuildOptions
from jobs.progress import Progress
from jobs.verify import verify_index

SUBJECTS = ("the river bank", "a green crane", "the bank of Würde")
CAP = 4


def texts_of(first: int, n: int = 60) -> list[str]:
    """Texts with frequent words; every third is one that is there already."""
    numbers = [first + (i - i % 7 if i % 3 == 0 else i) for i in range(n)]
    return [f"{SUBJECTS[i % 3]} raised its interest {chr(97 + i % 26) * 3}" for i in numbers]


@pytest.fixture(scope="module", autouse=True)
def in_little_text() -> Iterator[None]:
    """Function words are looked for in the small corpora here too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedder.function_words.LEAST_WORDS", 0)
        yield


class Interrupting(Progress):
    """Ends the run once so many documents have been written; keeps what was said."""

    def __init__(self, at: int | None = None) -> None:
        super().__init__()
        self.notes: list[str] = []
        self._at = at

    def note(self, line: str) -> None:
        """See `Progress`."""
        self.notes.append(line)

    def count_documents(self, n_documents: int) -> None:
        """See `Progress`."""
        super().count_documents(n_documents)
        if self._at is not None and self.n_documents >= self._at and self.stage == "encoding":
            raise KeyboardInterrupt


def build(
    source: Path, model: Path, out: Path, *, at: int | None = None, most_uses: int | None = None
) -> Interrupting:
    """Build an index, or bring one up to date; what it said."""
    options = EncoderOptions(model=str(model), engine=Engine.OPENVINO, threads=1)
    progress = Interrupting(at)
    build_index(
        BuildOptions(sources=(str(source),), out=out, encoder=options, most_uses=most_uses),
        progress,
    )
    return progress


def uses_of_texts(layout: Layout) -> dict[str, list[Occurrences]]:
    """The occurrences of each text, as often as it is there; documents of one passage each."""
    manifest = read_manifest(layout)
    assert manifest.basis is not None
    found: dict[str, list[Occurrences]] = {}
    for segment in manifest.segments:
        texts = [
            t for table in read_documents(layout, segment) for t in table["__text"].to_pylist()
        ]
        folder, n_components = layout.segment(segment.id), manifest.basis.n_components
        every = read_occurrences(folder, range(segment.n_passages), n_components)
        for number, text in enumerate(texts):
            found.setdefault(text, []).append(every.of(number))
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 texts in three row groups, some of which are there more than once."""
    return write_corpus(tmp_path_factory.mktemp("uses") / "a.parquet", texts_of(0), rows=20)


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, source: Path, tiny_model: Path
) -> tuple[Path, Tree]:
    """An index of them, and its files; whoever damages it repairs it."""
    out = tmp_path_factory.mktemp("built") / "an.index"
    build(source, tiny_model, out)
    return out, tree(out)


def test_equal_texts_have_equal_uses(tmp_path: Path, tiny_model: Path) -> None:
    """A text that is there already, in its batch, another row group or an earlier run, gets the
    occurrences of the first, codes included."""
    path = write_corpus(tmp_path / "a.parquet", texts_of(0), rows=20)
    build(path, tiny_model, tmp_path / "an.index")
    write_corpus(path, texts_of(0) + texts_of(7), rows=20)
    build(path, tiny_model, tmp_path / "an.index")
    found = uses_of_texts(Layout(tmp_path / "an.index"))
    repeated = [uses for uses in found.values() if len(uses) > 1]
    assert len(repeated) > 20
    for first, *others in repeated:
        assert len(first.records) > 2
        for other in others:
            np.testing.assert_array_equal(other.records, first.records)
            np.testing.assert_array_equal(other.codes, first.codes)


def test_an_index_built_twice_is_the_same(
    tmp_path: Path, source: Path, tiny_model: Path, built: tuple[Path, Tree]
) -> None:
    """Two builds of the same sources are equal to the byte, uses of words and senses included."""
    build(source, tiny_model, tmp_path / "an.index")
    assert tree(tmp_path / "an.index") == built[1]


def test_a_run_killed_before_its_first_commit_goes_on(
    tmp_path: Path, source: Path, tiny_model: Path, built: tuple[Path, Tree]
) -> None:
    """A folder that holds no more than what codes rest on is one that a killed run has left."""
    out = Path(shutil.copytree(built[0], tmp_path / "an.index"))
    for name in ("segments", "ann"):
        shutil.rmtree(out / name)
    (out / "manifest.json").unlink()
    build(source, tiny_model, out)
    assert tree(out) == built[1]


@pytest.mark.parametrize("at", [20, 40])
def test_a_resumed_run_draws_the_same_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Path, tiny_model: Path, at: int
) -> None:
    """Where only a few uses of a word are kept, a run that was interrupted and resumed ends equal
    to the byte to one that was not."""
    monkeypatch.setattr("jobs.stream.WINDOW_PASSAGES", 8)
    usual, resumed = tmp_path / "usual" / "an.index", tmp_path / "resumed" / "an.index"
    build(source, tiny_model, usual, most_uses=CAP)
    with pytest.raises(KeyboardInterrupt):
        build(source, tiny_model, resumed, at=at, most_uses=CAP)
    n_done = len(read_manifest(Layout(resumed)).segments)
    assert 0 < n_done < 3
    build(source, tiny_model, resumed)
    assert state(resumed) == state(usual)
    counts = [s.n_occurrences for s in read_manifest(Layout(usual)).segments]
    assert max(counts) < 20 * 4
    assert verify_index(Layout(usual)).is_whole


NAMES = [*OCCURRENCE_FILES, "function_words.json", "projection.npy"]
NAMES += ["senses.parquet", "centroids.npy", "uses.npy"]


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_made_again(
    source: Path, tiny_model: Path, built: tuple[Path, Tree], name: str
) -> None:
    """A file of uses or senses that is cut short, changed or gone is named by `verify`, and the
    next run makes it again to the byte."""
    out, files = built
    path = next(p for p in sorted(out.rglob(name)) if p.is_file())
    content = path.read_bytes()
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    for damaged in (content[:-1], bytes(changed), None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        report = verify_index(Layout(out))
        assert [problem.file for problem in report.problems] == [str(path)]
        assert report.problems[0].repair == "Run embedder index again to restore it."
        progress = build(source, tiny_model, out)
        is_said = any(str(path) in line for line in progress.notes)
        assert is_said or name in OCCURRENCE_FILES
        assert state(out).keys() == files.keys()
        assert path.read_bytes() == content
        assert verify_index(Layout(out)).is_whole


def test_what_codes_rest_on_is_not_replaced_by_something_else(
    tmp_path: Path, source: Path, tiny_model: Path, built: tuple[Path, Tree]
) -> None:
    """Where function words are lost and the sources are others by now, the run stops and says what
    can be done; with the sources of the first run it goes on."""
    out = Path(shutil.copytree(built[0], tmp_path / "an.index"))
    basis = read_manifest(Layout(out)).basis
    assert basis is not None
    path = Layout(out).sense_folder(basis.id) / "function_words.json"
    path.write_text("[]")
    other = write_corpus(tmp_path / "b.parquet", texts_of(100), rows=20)
    with pytest.raises(IndexFormatError, match="do not give the same again") as caught:
        build(other, tiny_model, out)
    assert str(path) in caught.value.message
    assert caught.value.hint and "restore the file from a copy" in caught.value.hint
    assert path.read_text() == "[]"
    build(source, tiny_model, out)
    assert verify_index(Layout(out)).is_whole
    n_named = sum(
        len(records) for _, records in named_files(Layout(out), read_manifest(Layout(out)))
    )
    assert len([p for p in out.rglob("*") if p.is_file()]) == n_named + 3  # manifest and locks
