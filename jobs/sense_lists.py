"""The most ambiguous words of a corpus."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from indexes.sense_inventory import SenseInventory
from jobs.screen import open_screen
from jobs.sense_text import sense_line
from jobs.senses import Senses, WordView

AMBIGUOUS_COLUMNS = ("word", "n_uses", "spread", "senses")
N_WORDS = 5


@dataclass(frozen=True, kw_only=True)
class AmbiguousWord:
    """A word with several senses.

    Args:
        view: its senses, with typical words alone.
        spread: mean distance (1 - cosine) between the senses of two uses drawn by chance.
    """

    view: WordView
    spread: float

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return {
            "word": self.view.word,
            "n_uses": self.view.n_uses,
            "spread": round(self.spread, 4),
            "senses": [
                {key: asdict(sense)[key] for key in ("name", "n_uses", "share", "words")}
                for sense in self.view.senses
            ],
        }


def most_ambiguous(senses: Senses, k: int, *, least: int) -> list[AmbiguousWord]:
    """The words whose uses are spread most over senses that lie far apart.

    Args:
        senses: the senses of an index.
        k: how many words.
        least: words with fewer uses are left out.
    """
    inventory = senses.inventory
    spreads, n_uses = sense_spreads(inventory)
    order = np.lexsort((-n_uses, -spreads))
    chosen = [i for i in order.tolist() if n_uses[i] >= least and spreads[i] > 0][:k]
    found = []
    for i in chosen:
        word = inventory.find(inventory.forms[inventory.starts[i]])
        assert word is not None
        view = senses.describe(word, n_neighbours=0, n_words=N_WORDS, n_examples=0)
        found.append(AmbiguousWord(view=view, spread=float(spreads[i])))
    return found


def sense_spreads(
    inventory: SenseInventory,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Spread of each word's senses (Rao's quadratic entropy), 0 for one sense, and its uses; shape
    (n_words,).

    With shares p and centroids c it is sum p_i p_j (1 - c_i c_j), so 1 - |sum p_i c_i|^2.
    """
    if not len(inventory):
        return np.empty(0), np.empty(0, dtype=np.int64)
    starts, counts = inventory.starts[:-1], np.diff(inventory.starts)
    n_uses = np.add.reduceat(inventory.n_uses, starts)
    shares = (inventory.n_uses / np.repeat(n_uses, counts)).astype(np.float32)
    means = np.add.reduceat(inventory.centroids * shares[:, None], starts)
    spreads = 1 - np.einsum("nd,nd->n", means, means, dtype=np.float64)
    return np.where(counts > 1, spreads, 0.0), n_uses


def write_ambiguous(found: list[AmbiguousWord], stream: TextIO, *, least: int) -> None:
    """The words as people read them."""
    from rich.text import Text

    screen = open_screen(stream)
    if not found:
        screen.print(f"no word with {least:,} uses or more has several senses")
    for one in found:
        line = Text(one.view.word, style="bold")
        line.append(f"  {one.view.n_uses:,} uses, {one.spread:.2f} apart", style="not bold dim")
        screen.print(line)
        for sense in one.view.senses:
            screen.print(Text("  ") + sense_line(sense.name, sense.share, sense.words))
