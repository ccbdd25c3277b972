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

AMBIGUOUS_COLUMNS = ("word", "n_uses", "entropy", "senses")
N_WORDS = 5


@dataclass(frozen=True, kw_only=True)
class AmbiguousWord:
    """A word with several senses.

    Args:
        view: its senses, with typical words alone.
        entropy: of the senses' shares, in bits: one for two senses of equal share.
    """

    view: WordView
    entropy: float

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return {
            "word": self.view.word,
            "n_uses": self.view.n_uses,
            "entropy": round(self.entropy, 4),
            "senses": [
                {key: asdict(sense)[key] for key in ("name", "n_uses", "share", "words")}
                for sense in self.view.senses
            ],
        }


def most_ambiguous(senses: Senses, k: int, *, least: int) -> list[AmbiguousWord]:
    """The words whose uses are spread most evenly over most senses.

    Args:
        senses: the senses of an index.
        k: how many words.
        least: words with fewer uses are left out.
    """
    inventory = senses.inventory
    entropies, n_uses = sense_entropies(inventory)
    order = np.lexsort((-n_uses, -entropies))
    chosen = [i for i in order.tolist() if n_uses[i] >= least and entropies[i] > 0][:k]
    found = []
    for i in chosen:
        word = inventory.find(inventory.forms[inventory.starts[i]])
        assert word is not None
        view = senses.describe(word, n_neighbours=0, n_words=N_WORDS, n_examples=0)
        found.append(AmbiguousWord(view=view, entropy=float(entropies[i])))
    return found


def sense_entropies(
    inventory: SenseInventory,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Entropy of each word's senses in bits, and its uses, shape (n_words,)."""
    if not len(inventory):
        return np.empty(0), np.empty(0, dtype=np.int64)
    starts = inventory.starts[:-1]
    n_uses = np.add.reduceat(inventory.n_uses, starts)
    shares = inventory.n_uses / np.repeat(n_uses, np.diff(inventory.starts))
    return np.add.reduceat(-shares * np.log2(shares), starts), n_uses


def write_ambiguous(found: list[AmbiguousWord], stream: TextIO) -> None:
    """The words as people read them."""
    from rich.text import Text

    screen = open_screen(stream)
    if not found:
        screen.print("no word has several senses")
    for one in found:
        line = Text(one.view.word, style="bold")
        line.append(f"  {one.view.n_uses:,} uses, {one.entropy:.2f} bits", style="not bold dim")
        screen.print(line)
        for sense in one.view.senses:
            screen.print(Text("  ") + sense_line(sense.name, sense.share, sense.words))
