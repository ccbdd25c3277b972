"""Sentences of a passage, by a rule that knows no language: enough to show the best one."""

from __future__ import annotations

import re

_END = re.compile(
    r"""(?: (?<=[.!?…]) | (?<=[.!?…]["'”’)\]]) ) \s+ (?=["'“‘(\[¿¡]?[^\W\d_a-zß-öø-ÿ]|\d)"""
    r"""| (?<=[。！？]) | \n{2,}""",
    re.VERBOSE,
)
_ABBREVIATION = re.compile(r"(?:\b[A-Z]|\b(?:Mr|Mrs|Ms|Dr|St|vs|etc|No|c|ca|e\.g|i\.e))\.$")


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Spans (start, end) of the sentences of a text, in order, without space around them."""
    spans, start = [], 0
    for match in _END.finditer(text):
        if _ABBREVIATION.search(text, max(start, match.start() - 8), match.start()):
            continue
        spans.append((start, match.start()))
        start = match.end()
    spans.append((start, len(text)))
    return [_stripped(text, *span) for span in spans if text[slice(*span)].strip()]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
