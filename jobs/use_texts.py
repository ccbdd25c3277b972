"""Uses of words with the texts that they stand in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt

from embedder.errors import IndexFormatError
from embedder.records import hash_text
from embedder.sentences import split_sentences
from embedder.words import word_form
from indexes.metadata import MetadataStore
from indexes.sense_uses import Uses

REPAIR = "Run embedder index again to restore it, and embedder verify to see what is damaged."


@dataclass(frozen=True, kw_only=True)
class UseText:
    """One use of a word, in its text.

    Args:
        sense: name of its sense, as `bank/2`.
        confidence: how surely it is that one and no other, in [0, 1].
        score: cosine to what was looked for: a use in a context, or the centre of a sense.
        id: the document's id.
        passage: text of the passage.
        start: first character of the word in the passage.
        end: one past its last.
        sentence: span in `passage` of the sentence around the word.
        metadata: the fields asked for.
    """

    sense: str
    confidence: float
    score: float
    id: str
    passage: str
    start: int
    end: int
    sentence: tuple[int, int]
    metadata: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of the fields."""
        return asdict(self)


def read_use_texts(
    store: MetadataStore,
    form: str,
    uses: Uses,
    scores: npt.NDArray[Any],
    fields: Sequence[str] = (),
) -> list[UseText]:
    """The texts of some uses of one word, in their order.

    Args:
        store: the index's documents and passages.
        form: the word.
        uses: its uses.
        scores: a score of each.
        fields: metadata columns to read.

    Raises:
        FilterError: there is no such column.
        IndexFormatError: the word does not stand where it was found.
    """
    places = list(zip(uses.segments.tolist(), uses.passages.tolist(), strict=True))
    spans = store.passages(_by_segment(places))
    documents = store.documents(
        _by_segment([(segment, spans[segment, row].document) for segment, row in places]), fields
    )
    found = []
    columns = (uses.starts, uses.ends, uses.senses, uses.confidences, scores)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for (segment, row), (start, end, sense, confidence, score) in zip(places, rows, strict=True):
        span = spans[segment, row]
        document = documents[segment, span.document]
        passage = document.text[span.start : span.end]
        if hash_text(word_form(passage[start:end])) != hash_text(form):
            raise IndexFormatError(
                f"The uses of words in document {document.id!r} are damaged: {form!r} does not "
                "stand where it was found.",
                REPAIR,
            )
        found.append(
            UseText(
                sense=f"{form}/{sense}",
                confidence=confidence,
                score=score,
                id=document.id,
                passage=passage,
                start=start,
                end=end,
                sentence=sentence_around(passage, start),
                metadata=document.metadata,
            )
        )
    return found


def sentence_around(text: str, place: int) -> tuple[int, int]:
    """Span of the sentence that holds a character of a text."""
    return next(
        ((start, end) for start, end in split_sentences(text) if place < end), (0, len(text))
    )


def _by_segment(places: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    wanted: dict[int, set[int]] = {}
    for segment, row in places:
        wanted.setdefault(segment, set()).add(row)
    return {segment: sorted(rows) for segment, rows in wanted.items()}
