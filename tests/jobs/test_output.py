"""Files with results: what is read is never written over, and a wrong name is told at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpora import assert_refused
from in_process import Here

COMMANDS = [
    "search --queries DATA --index FOLDER",
    "neighbours bank --index FOLDER",
    "neighbours bank --static FOLDER",
    "senses bank --index FOLDER",
    "senses bank --index OTHER --diff FOLDER",
    "compare bank --index OTHER --static FOLDER",
    "compare bank --index FOLDER --static OTHER",
    "map bank --format html --index FOLDER",
    "export FOLDER --format npy",
    "evaluate classify FOLDER DATA",
    "evaluate classify-pairs FOLDER DATA",
    "evaluate tag FOLDER DATA",
    "evaluate answer FOLDER DATA",
    "evaluate generate FOLDER DATA",
    "evaluate similarity DATA --model FOLDER",
    "evaluate retrieval DATA --model FOLDER",
    "evaluate words FOLDER DATA",
]
"""Every command that reads FOLDER, and DATA where it reads a file, and writes what it finds."""


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """What the commands read, which is nothing: each must say what is wrong before it looks."""
    found = {"FOLDER": tmp_path / "folder", "OTHER": tmp_path / "other"}
    for folder in found.values():
        folder.mkdir()
        (folder / "config.json").write_text("kept")
    (tmp_path / "data.parquet").write_text("kept")
    return {**found, "DATA": tmp_path / "data.parquet"}


def words_of(command: str, places: dict[str, Path]) -> list[str | Path]:
    """The words of a command, with what is read in place of its name."""
    return [places.get(word, word) for word in command.split()]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_read_is_not_written_over(
    command: str, places: dict[str, Path], here: Here
) -> None:
    """Neither a file that is read nor one in a folder that is, each named and left as it was."""
    words = words_of(command, places)
    inside = places["FOLDER"] / "config.json"
    assert_refused(here(*words, "--out", inside), str(inside), "which is read")
    if "DATA" in command:
        # Named otherwise, it is the same file.
        data = places["DATA"].parent / "other" / ".." / "data.parquet"
        form = "json" if "evaluate" in command else "text"
        assert_refused(here(*words, "--out", data, "--format", form), "is one of the sources")
    assert inside.read_text() == places["DATA"].read_text() == "kept"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_cannot_be_is_told_at_once(
    command: str, places: dict[str, Path], tmp_path: Path, here: Here
) -> None:
    """A folder that is not there, a folder, and what is neither file nor folder."""
    words, form = words_of(command, places), "html" if "map" in command else "json"
    option = () if "export" in command else ("--format", form)
    os.mkfifo(tmp_path / "pipe")
    for out, why in (
        (tmp_path / "nowhere" / "x", "there is no folder"),
        (tmp_path, "it is a folder"),
        ("-", "- is none"),
        (tmp_path / "pipe", "is a device"),
    ):
        assert_refused(here(*words, "--out", out, *option), why)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("command", [c for c in COMMANDS if "map" not in c and "export" not in c])
def test_an_ending_that_says_no_format(
    command: str, places: dict[str, Path], tmp_path: Path, here: Here
) -> None:
    """It is refused before the work, with the endings that are known."""
    done = here(*words_of(command, places), "--out", tmp_path / "x.tsv")
    assert_refused(done, ".tsv", ".json", "--format")
