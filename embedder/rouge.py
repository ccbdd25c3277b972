"""ROUGE (Lin 2004): how much of what people wrote a text has, by Google's rouge_score."""

from __future__ import annotations

from collections.abc import Sequence

from embedder.sentences import split_sentences

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")
"""Single words, pairs of words, and the longest common subsequence of words."""


def measure_rouge(found: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Mean F1 of each of `ROUGE_TYPES`, from 0 to 1, of the nearest reference each.

    Words are stemmed (Porter), as in most of what is published. The measure knows letters from a
    to z and digits alone, so that it says nothing of texts in other scripts.

    Args:
        found: the texts.
        references: for each the texts of which each would do, one at least.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE_TYPES), use_stemmer=True)
    scores = [
        scorer.score_multi(list(wanted), text)
        for text, wanted in zip(found, references, strict=True)
    ]
    return {
        name: sum(float(score[name].fmeasure) for score in scores) / max(1, len(scores))
        for name in ROUGE_TYPES
    }


def first_sentence(text: str) -> str:
    """The first sentence of a text: the lead, which is hard to beat as a summary."""
    spans = split_sentences(text)
    return text[slice(*spans[0])] if spans else ""
