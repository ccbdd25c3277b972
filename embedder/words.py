"""Words of a text: what counts as one, and the form by which it is looked up."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

# In scripts that write no spaces each character is a word, as in Unicode's UAX #29.
_ALONE = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Marks that belong to the letter before them, which `\w` leaves out.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u094f"
    "\u0981-\u0983\u09bc-\u09d7\u0a01-\u0a51\u0a81-\u0acd\u0b01-\u0b57\u0bbe-\u0bd7\u0c00-\u0c56"
    "\u0c81-\u0cd6\u0d00-\u0d57\u0dca-\u0ddf\u0e31-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ebc\u0ec8-\u0ecd"
)
_WORD = re.compile(rf"[{_ALONE}]|(?:(?![{_ALONE}])[^\W_][{_MARKS}]*)+")
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


def find_words(text: str) -> Iterator[Word]:
    """Words in order: runs of letters, marks and digits with at least one letter.

    What hyphens and apostrophes join are words of their own, so that `bank's` and `river-bank`
    are uses of `bank`.
    """
    for match in _WORD.finditer(text):
        found = match.group()
        if _LETTER.search(found):
            yield Word(match.start(), match.end(), word_form(found))
