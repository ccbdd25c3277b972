"""head.json: what it says comes back, and what is wrong with it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embedder.errors import ModelError
from embedder.heads.protocol import (
    HEAD_FILE,
    HeadFile,
    HeadTask,
    head_digest,
    is_head,
    open_head,
    read_head_file,
)

FILES = [
    HeadFile(task=HeadTask.CLASSIFY, max_tokens=128, labels=("a", "ü"), columns={"text": "body"}),
    HeadFile(task=HeadTask.TAG, max_tokens=256, labels=(0, 1, 2), settings={"scheme": "bio"}),
    HeadFile(task=HeadTask.CLASSIFY_PAIRS, max_tokens=8, labels=(False, True)),
    HeadFile(task=HeadTask.ANSWER, max_tokens=384),
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.task)
def test_what_is_written_is_read(tmp_path: Path, file: HeadFile) -> None:
    """Reading head.json gives what was written, the types of the labels included."""
    assert not is_head(tmp_path)
    file.write(tmp_path)
    found = read_head_file(tmp_path)
    assert is_head(tmp_path) and found == file
    assert [type(label) for label in found.labels] == [type(label) for label in file.labels]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "its format is 1"),
        ({"task": "sing"}, "sing"),
        ({"labels": ["a", 1]}, "not all texts"),
        ({"labels": [None]}, "not all texts"),
        ({"labels": ["a", "a"]}, "twice"),
        ({"max_tokens": "many"}, "many"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    """The message names the file and what is wrong with it."""
    FILES[0].write(tmp_path)
    path = tmp_path / HEAD_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=rf"head\.json cannot be read: .*{words}"):
        read_head_file(tmp_path)


def test_a_folder_without_a_head_is_refused(tmp_path: Path) -> None:
    """The message says what makes one."""
    with pytest.raises(ModelError, match=r"has no head\.json.*embedder finetune classify"):
        open_head(tmp_path)


def test_the_digest_is_of_all_that_changes_an_answer(tmp_path: Path) -> None:
    """Weights and settings change it; what says how training went does not."""
    FILES[0].write(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = head_digest(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    assert head_digest(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    second = head_digest(tmp_path)
    FILES[1].write(tmp_path)
    assert len({first, second, head_digest(tmp_path)}) == 3
