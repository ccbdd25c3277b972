"""Words of a text: what counts as one, and the form by which it is looked up."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

# In scripts that write no spaces each character is a word, as in Unicode's UAX #29.
_ALONE = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Marks belong to the letter before them, and `\w` leaves them out. None lies in the other blocks of
# living scripts, and looking through these takes a millisecond.
_MARKS = "".join(
    character
    for block in (range(0x0300, 0x3100), range(0xA66F, 0xAC00), range(0xFE20, 0xFE30))
    for character in map(chr, block)
    if unicodedata.category(character).startswith("M")
)
# Between letters, joiners and non-joiners say how these are drawn, as within words of Persian.
_JOINED = r"(?:[\u200c\u200d]+(?=[^\W_]))?"
_WORD = re.compile(rf"[{_ALONE}][{_MARKS}]*|(?:(?![{_ALONE}])[^\W_][{_MARKS}]*{_JOINED})+")
_LETTER = re.compile(r"[^\W\d_]")


class Word(NamedTuple):
    """A word in a text.

    Args:
        start: its first character.
        end: one past its last.
        form: what it is looked up by.
    """

    start: int
    end: int
    form: str


def word_form(word: str) -> str:
    """What a word is looked up by: case folded and composed (Unicode's NFKC)."""
    if word.isascii():
        return word.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())


def find_surfaces(text: str) -> list[str]:
    """Words as they stand, in order, and numbers between them: `find_words` in bulk.

    Many texts have few different surfaces, so who keeps what `surface_form` says of each is done
    several times as fast.
    """
    found: list[str] = _WORD.findall(text)
    return found


def surface_form(surface: str) -> str | None:
    """What one of `find_surfaces` is looked up by; None for a number, which is no word."""
    return word_form(surface) if _LETTER.search(surface) else None


def find_spans(text: str) -> list[tuple[int, int]]:
    """Where the words and numbers that `find_surfaces` finds begin and end."""
    return [match.span() for match in _WORD.finditer(text)]


def find_words(text: str) -> Iterator[Word]:
    """Words in order: runs of letters, marks and digits with at least one letter.

    What hyphens and apostrophes join are words of their own, so that `bank's` and `river-bank`
    are uses of `bank`.
    """
    for match in _WORD.finditer(text):
        form = surface_form(match.group())
        if form is not None:
            yield Word(match.start(), match.end(), form)
