"""A sense inventory: what was written is read back, and damage is named before it is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import unit_rows

from embedder.errors import IndexFormatError
from embedder.records import hash_text
from indexes.layout import CENTROIDS_FILE, SENSES_FILE, USES_FILE, Layout
from indexes.manifest import SenseRecord
from indexes.sense_inventory import (
    USE,
    SenseInventory,
    WordSenses,
    as_stored,
    write_inventory,
)

FORMS = sorted(("bank", "crane", "river"), key=hash_text)
FILES = (SENSES_FILE, CENTROIDS_FILE, USES_FILE)


def word(form: str, n_senses: int) -> WordSenses:
    """A word with ten uses of its last sense, eleven of the one before, and so on."""
    counts = np.arange(n_senses)[::-1] + 10
    uses = np.zeros(int(counts.sum()), dtype=USE)
    uses["sense"] = np.repeat(np.arange(1, n_senses + 1), counts)
    uses["row"] = np.arange(len(uses))
    return WordSenses(
        word=hash_text(form),
        form=form,
        numbers=np.arange(1, n_senses + 1),
        n_uses=counts,
        centroids=unit_rows(n_senses, width=8, seed=n_senses),
        uses=uses,
        n_found=len(uses) + 5,
        n_induced=len(uses),
        last_number=n_senses + 2,
    )


WORDS = [word(form, n) for n, form in enumerate(FORMS, 1)]


@pytest.fixture
def written(tmp_path: Path) -> tuple[Layout, SenseRecord]:
    """An inventory of three words with one to three senses."""
    layout = Layout(tmp_path / "an.index")
    return layout, write_inventory(layout, WORDS, [], "basis")


def test_words_are_read_back(written: tuple[Layout, SenseRecord]) -> None:
    """Every word has the senses, centroids, counts and uses that were written."""
    layout, record = written
    inventory = SenseInventory(layout, record)
    assert (record.n_words, record.n_senses, record.n_uses) == (3, 6, 64)
    assert list(inventory) == FORMS
    for wanted in WORDS:
        found = inventory.find(wanted.form)
        assert found is not None
        assert found.names == wanted.names
        for name in ("word", "n_found", "n_induced", "last_number"):
            assert getattr(found, name) == getattr(wanted, name)
        np.testing.assert_array_equal(found.n_uses, wanted.n_uses)
        np.testing.assert_array_equal(found.uses, wanted.uses)
        np.testing.assert_allclose(found.centroids, wanted.centroids, atol=1e-3)
    assert inventory.find("never") is None


def test_centroids_that_were_stored_stay(tmp_path: Path) -> None:
    """Centroids in the precision of the file are read back, and written again, to the last bit."""
    layout = Layout(tmp_path / "an.index")
    centroids = as_stored(unit_rows(8, width=96))
    words = [replace(word("bank", 8), centroids=centroids)]
    for _ in range(2):
        found = SenseInventory(layout, write_inventory(layout, words, [], "basis")).find("bank")
        assert found is not None
        assert found.centroids.tobytes() == centroids.tobytes()
        words = [found]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(written: tuple[Layout, SenseRecord], name: str) -> None:
    """A file that was cut short or is gone is refused by name, and so is a changed byte in what
    is read whole."""
    layout, record = written
    path = layout.sense_folder(record.id) / name
    content = path.read_bytes()
    damages: list[bytes | None] = [content[:-1], content[:90], b"", None]
    if name != USES_FILE:
        for place in range(0, len(content), 97):
            damages.append(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    for damaged in damages:
        path.unlink() if damaged is None else path.write_bytes(damaged)
        with pytest.raises(IndexFormatError) as caught:
            SenseInventory(layout, record)
        assert str(path) in caught.value.message


def test_uses_of_other_senses_are_refused(written: tuple[Layout, SenseRecord]) -> None:
    """A use whose sense was changed is noticed when its word is looked up, and others are not
    refused for it."""
    layout, record = written
    path = layout.sense_folder(record.id) / USES_FILE
    uses = np.load(path)
    for sense in (1, 2, 60_000):
        changed = uses.copy()
        changed["sense"][-1] = sense
        np.save(path, changed)
        inventory = SenseInventory(layout, record)
        assert inventory.find(FORMS[0]) is not None
        with pytest.raises(IndexFormatError, match="are others") as caught:
            inventory.find(FORMS[-1])
        assert str(path) in caught.value.message
