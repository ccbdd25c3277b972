"""A corpus in which `bank` has two meanings, and the texts say which."""

from __future__ import annotations

import itertools
from pathlib import Path

from corpora import write_corpus

RIVER_HEADS = (
    "An otter slept",
    "Two herons fished",
    "The children sat",
    "A willow leaned",
    "Reeds grew thick",
    "Our tent stood",
    "The ferry landed",
    "Mud piled up",
    "An angler waited",
    "Wild ducks nested",
)
RIVER_ENDS = (
    "on the grassy bank of the river near the old bridge.",
    "along the muddy bank where the river bends towards the lake.",
    "on the steep bank above the flooding river and its water.",
    "by the bank of the river while the current ran fast.",
)
MONEY_HEADS = (
    "The manager opened an account",
    "She deposited her savings",
    "He asked for a loan",
    "They cashed a cheque",
    "The company kept its money",
    "A clerk checked the interest rate",
    "Investors borrowed capital",
    "The firm repaid its debt",
    "Customers queued for credit",
    "An accountant transferred funds",
)
MONEY_ENDS = (
    "at the bank on Market Street during business hours.",
    "with the bank that charges the lowest fees on credit.",
    "from the bank before the interest rates rose again.",
    "through the bank and its mortgage department.",
    "in a commercial bank owned by its shareholders.",
    "at the central bank, which lends money to other lenders.",
)
RIVER = [f"{head} {end}" for head, end in itertools.product(RIVER_HEADS, RIVER_ENDS)]
MONEY = [f"{head} {end}" for head, end in itertools.product(MONEY_HEADS, MONEY_ENDS)]
RARE = ["A zeppelin crossed the sky.", "The zeppelin landed.", "Zeppelins carry gas."]
TEXTS = [*RIVER, *MONEY, *RARE]


def write_banks(path: Path, texts: list[str] | None = None) -> Path:
    """The corpus, or some of its texts, with the year of each: those of rivers are older."""
    texts = TEXTS if texts is None else texts
    years = [1990 + i % 3 if text in RIVER else 2000 + i % 3 for i, text in enumerate(texts)]
    ids = [f"d{TEXTS.index(text)}" if text in TEXTS else f"n{i}" for i, text in enumerate(texts)]
    return write_corpus(path, texts, ids=ids, year=years)


def meaning(text: str) -> str:
    """What `bank` means in a text."""
    return "river" if text in RIVER else "money"
