"""The nearest words of a static vector: one list, whatever the word means."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TextIO

from jobs.screen import open_screen
from jobs.word_folder import WordFolder

STATIC_COLUMNS = ("word", "rank", "neighbour", "score", "n_uses")
NAME_COLUMNS = 16


@dataclass(frozen=True, kw_only=True)
class NearWord:
    """A word near another one.

    Args:
        neighbour: its form.
        score: cosine of the two vectors.
        n_uses: its uses in the text that the vectors were trained on.
    """

    neighbour: str
    score: float
    n_uses: int


@dataclass(frozen=True)
class StaticNeighbours:
    """A word and the words nearest to it.

    Args:
        word: its form.
        title: what the vectors are.
        n_uses: its uses in the text that they were trained on.
        near: its neighbours, nearest first.
    """

    word: str
    title: str
    n_uses: int
    near: tuple[NearWord, ...]

    @classmethod
    def find(cls, words: WordFolder, word: str, k: int) -> StaticNeighbours:
        """The k nearest words.

        Raises:
            WordError: the word has no vector.
        """
        place, vectors = words.find(word), words.vectors
        forms, counts = vectors.vocabulary.forms, vectors.vocabulary.counts
        found = vectors.nearest(vectors.units[place], k, without=[place])
        near = (
            NearWord(neighbour=forms[other], score=score, n_uses=int(counts[other]))
            for other, score in found
        )
        return cls(forms[place], words.title, int(counts[place]), tuple(near))

    def rows(self) -> list[dict[str, Any]]:
        """A JSON-able dictionary a neighbour, with the columns STATIC_COLUMNS."""
        return [
            {"word": self.word, "rank": rank, **asdict(one)}
            for rank, one in enumerate(self.near, 1)
        ]


def write_static_neighbours(found: StaticNeighbours, stream: TextIO) -> None:
    """The list, as people read it."""
    from rich.text import Text

    screen = open_screen(stream)
    head = Text(found.word, style="bold magenta")
    head.append(f"  one vector, {found.n_uses:,} uses", style="not bold default")
    screen.print(head)
    for rank, one in enumerate(found.near, 1):
        line = Text(f"{rank:>3}.  {one.score:.3f}  ")
        line.append(one.neighbour.ljust(NAME_COLUMNS), style="bold")
        line.append(f" {one.n_uses:,} uses", style="dim")
        screen.print(line)
    screen.print()
    screen.print(Text(found.title, style="dim"))
