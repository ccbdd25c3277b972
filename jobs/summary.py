"""What a build did, for people and programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """What a build did and what the index holds now.

    Args:
        index: the index folder.
        n_documents: documents in the index.
        n_passages: passages in the index.
        n_added: documents added since the last finished run.
        n_written: documents that this run wrote; fewer than were added if it went on from one
            that had not finished, more if documents came with unchanged ones.
        n_removed: documents removed because the sources no longer hold them.
        n_deleted: documents that are deleted and still take room until the index is compacted.
        is_changed: whether this run changed the index.
        n_encoded: passages that went through the encoder in this run.
        n_reused: passages whose text had a vector already.
        n_tokens: tokens encoded in this run.
        padding_share: share of the encoded positions that was padding.
        seconds: time of the run.
        counts: rows left out or defective, by reason, in the whole index.
        n_windowed: documents that became several passages.
        n_truncated: documents whose end was cut off.
        n_duplicate_ids: documents whose id an earlier document has.
        engine: what computed the vectors.
        structures: the FAISS structures.
        is_exact: whether they find exactly the nearest.
        recall: the least of their measured recalls@10.
        n_words: words with senses.
        n_senses: their senses.
    """

    index: str
    n_documents: int
    n_passages: int
    n_added: int
    n_written: int
    n_removed: int
    n_deleted: int
    is_changed: bool
    n_encoded: int
    n_reused: int
    n_tokens: int
    padding_share: float
    seconds: float
    counts: dict[str, int]
    n_windowed: int
    n_truncated: int
    n_duplicate_ids: int
    engine: str
    structures: tuple[str, ...]
    is_exact: bool
    recall: float
    n_words: int
    n_senses: int

    @property
    def is_up_to_date(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.is_changed or self.n_encoded)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return {**asdict(self), "up_to_date": self.is_up_to_date}
