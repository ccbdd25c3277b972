"""Function words: those that hold any text of a corpus together, whatever it is about."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import cache

from embedder.words import find_surfaces, surface_form

LEAST_SHARE = 1 / 500
"""A function word is at least this share of the running words. In English that leaves the forty
or so words before `there` and `would`; rarer ones are few and do no harm among the others."""

EVENNESS = (0.75, 1.3)
"""Documents with the word, divided by how many would have it if its uses fell anywhere in the
text (Church & Gale 1995, inverse document frequency as a measure of deviation from Poisson). What
a text is about comes in bursts and lies below; a word that stands once in nearly each document is
what the corpus was chosen by, and lies above."""


LEAST_WORDS = 20_000
"""In fewer running words frequent words cannot be told from function words, and all are kept."""


def find_function_words(texts: Iterable[str]) -> frozenset[str]:
    """Forms of the function words of some texts, which should be a sample of a corpus."""
    uses: Counter[str] = Counter()
    documents: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    look = cache(surface_form)
    for text in texts:
        forms = [form for surface in find_surfaces(text) if (form := look(surface)) is not None]
        uses.update(forms)
        documents.update(set(forms))
        lengths[len(forms)] += 1
    n_uses = sum(uses.values())
    if n_uses < LEAST_WORDS:
        return frozenset()
    frequent = [form for form, n in uses.items() if n >= LEAST_SHARE * n_uses]
    return frozenset(form for form in frequent if _is_even(uses[form], documents[form], lengths))


def _is_even(n_uses: int, n_documents: int, lengths: Counter[int]) -> bool:
    n_total = sum(length * n for length, n in lengths.items())
    expected = sum(n * -math.expm1(-n_uses * length / n_total) for length, n in lengths.items())
    return EVENNESS[0] <= n_documents / expected <= EVENNESS[1]
