"""The commands that write an index, each with the state before it and the state after it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from contents import (
    Answer,
    Entries,
    expected,
    expected_while_new,
    read_entries,
    search_everything,
)
from forked import Zygote

from embedder.errors import IndexFormatError, IndexNotFoundError
from indexes.layout import (
    CODES_FILE,
    FAISS_FILE,
    PROJECTION_FILE,
    USES_FILE,
    VECTORS_FILE,
    Layout,
)
from indexes.manifest_file import read_manifest

INDEX = "an.index"
OUT = "out"
ROWS = 8
"""Rows of a row group."""


class Scenario(Protocol):
    """A command that writes, with the state before it and the one after it."""

    name: str
    arguments: tuple[str, ...]
    entries: Entries
    """Everything in the folder that is written after an undisturbed run."""

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the files by which it is known that the command has done its work."""

    def start(self, folder: Path) -> Path:
        """Make a working folder with the state before; the folder in it that is written."""

    def wrong(self, written: Path) -> list[str]:
        """What nobody may ever see there, whenever the command ended."""


@dataclass(frozen=True)
class IndexScenario:
    """A command that writes an index, run in a working folder where that is `an.index`.

    Args:
        name: what it is called in reports.
        arguments: of the command line.
        before: the index before it, None if there is none.
        after: the index after an undisturbed run.
        entries: everything in it.
        answers: what a search may find at any moment.
        may_be_missing: whether there may be no index yet.
        may_be_damaged: whether the index was damaged before, so that a search may be refused.
    """

    name: str
    arguments: tuple[str, ...]
    before: Path | None
    after: Path
    entries: Entries = field(repr=False)
    answers: tuple[Answer, ...] = field(repr=False)
    may_be_missing: bool = False
    may_be_damaged: bool = False

    @property
    def results(self) -> tuple[str, ...]:
        """See `Scenario`."""
        return ("manifest.json",)

    def start(self, folder: Path) -> Path:
        """See `Scenario`."""
        folder.mkdir(parents=True)
        index = folder / INDEX
        if self.before is not None:
            shutil.copytree(self.before, index)
        return index

    def wrong(self, written: Path) -> list[str]:
        """See `Scenario`: a search finds the state before or the one after."""
        layout = Layout(written)
        try:
            found = search_everything(layout, read_manifest(layout).finished())
        except IndexNotFoundError as error:
            return [] if self.may_be_missing else [f"a search says: {error}"]
        except IndexFormatError as error:
            is_said = self.may_be_damaged and "embedder index" in str(error)
            return [] if is_said else [f"a search says: {error}"]
        if any(found.is_like(answer) for answer in self.answers):
            return []
        return [f"a search finds neither the state before nor the one after: {found}"]


@dataclass(frozen=True)
class ExportScenario:
    """A command that reads an index and writes files into the folder `out` beside it.

    Args:
        name: what it is called in reports.
        arguments: of the command line.
        index: the index.
        before: what lies in the folder before it.
        entries: what lies in the folder after an undisturbed run.
        files: the files, in the order in which they appear.
    """

    name: str
    arguments: tuple[str, ...]
    index: Path
    before: Entries = field(repr=False)
    entries: Entries = field(repr=False)
    files: tuple[str, ...]

    @property
    def results(self) -> tuple[str, ...]:
        """See `Scenario`."""
        return self.files

    def start(self, folder: Path) -> Path:
        """See `Scenario`."""
        shutil.copytree(self.index, folder / INDEX)
        (folder / OUT).mkdir()
        for name, content in self.before.items():
            (folder / OUT / name).write_bytes(content or b"")
        return folder / OUT

    def wrong(self, written: Path) -> list[str]:
        """See `Scenario`: a file is the one before, the one after or not there, and the index
        stays as it is; where the last file is there, the others are and belong to it."""
        found, problems = read_entries(written), []
        for name in self.files:
            if name in found and found[name] not in (self.before.get(name), self.entries[name]):
                problems.append(f"{name} is neither the file before nor the one after")
        states = (self.before, self.entries)
        if self.files[-1] in found and not any(
            all(found.get(name) == state.get(name) for name in self.files) for state in states
        ):
            problems.append(f"{self.files[-1]} is there, and the others do not belong to it")
        if read_entries(written.parent / INDEX) != read_entries(self.index):
            problems.append("the index has changed")
        return problems


class Scenarios:
    """Makes scenarios in a folder, running what comes before them.

    Args:
        folder: where.
        zygote: runs the commands.
        model: the model folder.
        texts: texts to index, enough of them.
    """

    def __init__(self, folder: Path, zygote: Zygote, model: Path, texts: list[str]) -> None:
        self._folder, self._zygote, self._model, self._texts = folder, zygote, model, texts
        self._n = 0

    def make(self, name: str) -> Scenario:
        """The scenario of that name."""
        return MAKERS[name](self)

    def new(self) -> IndexScenario:
        """`index` of two files into a new folder."""
        sources = self._corpus({"a": range(16), "b": range(12, 20)})
        return self._scenario("new", None, self._index(sources), is_new=True)

    def update(self) -> IndexScenario:
        """`index` again: a row group has changed, a file has come, another has gone."""
        sources = self._corpus({"a": range(16), "b": range(16, 24)})
        before = self._built(self._index(sources))
        self._write(sources / "a.parquet", [*range(10), 90, *range(11, 16)])
        (sources / "b.parquet").unlink()
        self._write(sources / "c.parquet", range(40, 48))
        return self._scenario("update", before, self._index(sources))

    def add(self) -> IndexScenario:
        """`index --add` of a file with new documents and with new versions of old ones."""
        sources = self._corpus({"a": range(16), "b": range(16, 24)})
        before = self._built(self._index(sources))
        more = self._corpus({"c": range(60, 68)}, ids=[*range(3, 7), *range(60, 64)])
        return self._scenario("add", before, (*self._index(more), "--add"))

    def repair(self) -> IndexScenario:
        """`index` again where two segments, the FAISS structure, the senses and what all codes
        rest on were damaged."""
        sources = self._corpus({"a": range(16), "b": range(16, 24)})
        command = self._index(sources)
        before = self._built(command)
        layout = Layout(before)
        manifest = read_manifest(layout)
        damaged = layout.segment(manifest.segments[1].id) / VECTORS_FILE
        damaged.write_bytes(damaged.read_bytes()[:-40])
        structure = layout.generation(manifest.generations[0].id) / FAISS_FILE
        structure.write_bytes(structure.read_bytes()[:-1])
        codes = layout.segment(manifest.segments[2].id) / CODES_FILE
        codes.write_bytes(codes.read_bytes()[:-1])
        assert manifest.basis is not None and manifest.senses is not None
        (layout.sense_folder(manifest.basis.id) / PROJECTION_FILE).unlink()
        (layout.sense_folder(manifest.senses.id) / USES_FILE).write_bytes(b"")
        return self._scenario("repair", before, command, may_be_damaged=True)

    def undelete(self) -> IndexScenario:
        """`index --undelete` where compaction has left out what was deleted."""
        sources = self._corpus({"a": range(16), "b": range(16, 24)})
        command = self._index(sources)
        before = self._built(command, self._delete_ids(2, 3, 21), ("compact", INDEX, "-q"))
        return self._scenario("undelete", before, (*command, "--undelete"))

    def delete_ids(self) -> IndexScenario:
        """`delete --ids` of documents in several segments, one of which lacks some already."""
        sources = self._corpus({"a": range(16), "b": range(16, 26)})
        before = self._built(self._index(sources), self._delete_ids(0, 5))
        return self._scenario("delete --ids", before, self._delete_ids(1, 2, 12, 25))

    def delete_where(self) -> IndexScenario:
        """`delete --where` of documents in several segments."""
        sources = self._corpus({"a": range(16), "b": range(16, 26)})
        before = self._built(self._index(sources))
        return self._scenario("delete --where", before, ("delete", INDEX, "--where", "n % 3 = 1"))

    def compact(self) -> IndexScenario:
        """`compact` of small segments with deletions, one of which has nothing left."""
        sources = self._corpus({"a": range(24), "b": range(24, 36)})
        before = self._built(self._index(sources), self._delete_ids(1, 9, *range(24, 32)))
        return self._scenario("compact", before, ("compact", INDEX, "-q"))

    def corpora(self) -> tuple[Path, Path, Path]:
        """Sources, their next version, and a few with new documents and new texts of old ones."""
        old = self._corpus({"a": range(16), "b": range(16, 26)})
        new = self._corpus({"a": [*range(10), 90, *range(11, 16)], "c": range(40, 50)})
        more = self._corpus({"d": range(60, 76)}, ids=[*range(3, 9), *range(60, 70)])
        return old, new, more

    def cycle(self) -> list[tuple[str, ...]]:
        """Commands that lead from state to state, and from the last to the first again."""
        old, new, _ = self.corpora()
        return [
            (*self._index(old), "--undelete"),
            self._index(new),
            ("delete", INDEX, "--where", "n % 3 = 1"),
            ("compact", INDEX, "-q"),
        ]

    def export_parquet(self) -> ExportScenario:
        """`export` into a file that is not there yet."""
        return self._export("export parquet", ("all.parquet",), {})

    def export_npy(self) -> ExportScenario:
        """`export` into two files in place of older ones."""
        files = ("all.rows.parquet", "all.npy")
        return self._export("export npy", files, dict.fromkeys(files, b"an older one"))

    def _export(self, name: str, files: tuple[str, ...], before: Entries) -> ExportScenario:
        sources = self._corpus({"a": range(16), "b": range(16, 26)})
        index = self._built(self._index(sources), self._delete_ids(1, 9))
        arguments = ("export", INDEX, "--out", f"{OUT}/{files[-1]}", "-q")
        folder = self._fresh("exported")
        shutil.copytree(index, folder / INDEX)
        (folder / OUT).mkdir()
        done = self._zygote.run(*arguments, cwd=folder)
        assert done.returncode == 0, done
        entries = read_entries(folder / OUT)
        assert sorted(entries) == sorted(files)
        return ExportScenario(name, arguments, index, before, entries, files)

    def _scenario(
        self,
        name: str,
        before: Path | None,
        arguments: tuple[str, ...],
        *,
        is_new: bool = False,
        may_be_damaged: bool = False,
    ) -> IndexScenario:
        after = self._built(arguments, start=before)
        answers = expected_while_new(after) if is_new else [expected(after)]
        if before is not None and not may_be_damaged:
            answers.insert(0, expected(before))
        return IndexScenario(
            name=name,
            arguments=arguments,
            before=before,
            after=after,
            entries=read_entries(after),
            answers=tuple(answers),
            may_be_missing=is_new,
            may_be_damaged=may_be_damaged,
        )

    def _built(self, *commands: tuple[str, ...], start: Path | None = None) -> Path:
        """An index after some commands that nothing disturbs."""
        folder = self._fresh("built")
        if start is not None:
            shutil.copytree(start, folder / INDEX)
        for command in commands:
            done = self._zygote.run(*command, cwd=folder)
            assert done.returncode == 0, done
        return folder / INDEX

    def _index(self, sources: Path) -> tuple[str, ...]:
        options = ("--model", str(self._model), "--engine", "openvino", "--threads", "1", "-q")
        return ("index", str(sources), "--out", INDEX, *options)

    def _delete_ids(self, *numbers: int) -> tuple[str, ...]:
        path = self._fresh("ids") / "ids.txt"
        path.write_text("".join(f"d{n}\n" for n in numbers))
        return ("delete", INDEX, "--ids", str(path))

    def _corpus(self, files: dict[str, Iterable[int]], **options: Any) -> Path:
        folder = self._fresh("corpus")
        for name, numbers in files.items():
            self._write(folder / f"{name}.parquet", numbers, **options)
        return folder

    def _write(self, path: Path, numbers: Iterable[int], ids: list[int] | None = None) -> None:
        """A file of some of the texts, every fifth of which also occurs elsewhere."""
        numbers = list(numbers)
        table = pa.table(
            {
                "id": [f"d{n}" for n in ids or numbers],
                "text": [self._texts[n if n % 5 else 0] for n in numbers],
                "n": numbers,
                "kind": ["odd" if n % 2 else None for n in numbers],
            }
        )
        pq.write_table(table, path, row_group_size=ROWS)

    def _fresh(self, kind: str) -> Path:
        self._n += 1
        folder = self._folder / f"{kind}-{self._n}"
        folder.mkdir(parents=True)
        return folder


MAKERS: dict[str, Callable[[Scenarios], Scenario]] = {
    "new": Scenarios.new,
    "update": Scenarios.update,
    "add": Scenarios.add,
    "repair": Scenarios.repair,
    "undelete": Scenarios.undelete,
    "delete --ids": Scenarios.delete_ids,
    "delete --where": Scenarios.delete_where,
    "compact": Scenarios.compact,
    "export parquet": Scenarios.export_parquet,
    "export npy": Scenarios.export_npy,
}
