"""What pre-training is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from embedder.errors import RequestError
from embedder.training.pretraining.masks import MASK_SHARE
from embedder.training.pretraining.shapes import Size

SHORTEST, LONGEST = 16, 512
MOST_HELD_OUT, MOST_MASKED = 0.5, 0.8


class Objective(StrEnum):
    """What a network is to find."""

    MLM = "mlm"
    """Masked pieces, from the text on both sides of them (Devlin et al. 2019)."""

    CAUSAL = "causal"
    """The next piece, from the text before it (as GPT does; Radford et al. 2018)."""


@dataclass(frozen=True, kw_only=True)
class PretrainingOptions:
    """How text becomes examples, and what network learns from them.

    Args:
        objective: what the network is to find.
        is_whole_word: mask all pieces of a word, or none.
        mask_share: share of the pieces that are to be found in training; in validation it is the
            published one always, so that runs can be compared.
        has_pairs: examples are two segments, and the network also says whether the second one
            follows the first; None for yes, with masks and a new network.
        length: the most pieces of an example, special ones included.
        held_out: share of the documents that is kept for validation.
        size: shape of a new network; None for tiny, unless `model` is named.
        model: a model folder, or a name, to go on with.
        tokenizer: a model, or a folder with a tokenizer.json, whose vocabulary is taken.
        n_pieces: pieces of a new vocabulary; None for as many as the text is good for.
        is_cased: a new vocabulary keeps upper case and accents.
        is_adapted: the model is an encoder, whose window stays as it is.

    Raises:
        RequestError: they contradict each other, or make no sense.
    """

    objective: Objective = Objective.MLM
    is_whole_word: bool = False
    mask_share: float = MASK_SHARE
    has_pairs: bool | None = None
    length: int = 128
    held_out: float = 0.02
    size: Size | None = None
    model: str | None = None
    tokenizer: str | None = None
    n_pieces: int | None = None
    is_cased: bool = False
    is_adapted: bool = False

    def __post_init__(self) -> None:
        if not SHORTEST <= self.length <= LONGEST:
            raise RequestError(
                f"Examples of {self.length} pieces were asked for.",
                f"Give --length a number from {SHORTEST} to {LONGEST}.",
            )
        if not 0 < self.mask_share <= MOST_MASKED:
            raise RequestError(
                f"A share of {self.mask_share} of the pieces is to be masked.",
                f"Give --mask-share a number above 0, up to {MOST_MASKED}: {MASK_SHARE}.",
            )
        if not 0 < self.held_out <= MOST_HELD_OUT:
            raise RequestError(
                f"A share of {self.held_out} is to be held out.",
                f"Give --held-out a number above 0, up to {MOST_HELD_OUT}: 0.02.",
            )
        for_masks = {
            "--next-sentence": self.has_pairs,
            "--whole-word": self.is_whole_word,
            "--mask-share": self.mask_share != MASK_SHARE,
        }
        if self.objective is Objective.CAUSAL and any(for_masks.values()):
            name = next(name for name, is_given in for_masks.items() if is_given)
            raise RequestError(f"{name} is for masks.", "Leave it out, or --objective causal.")
        self._check_sources()

    def _check_sources(self) -> None:
        """At most one place for the vocabulary, and one for the network."""
        if self.model is not None and self.size is not None:
            raise RequestError(
                "--from and --size both say what network to train.", "Leave one of them out."
            )
        given = {
            "--from": self.model,
            "--tokenizer": self.tokenizer,
            "--vocabulary": self.n_pieces,
        }
        named = [name for name, value in given.items() if value is not None]
        named += ["--cased"] if self.is_cased and named and named != ["--vocabulary"] else []
        if len(named) > 1 and set(named) != {"--vocabulary", "--cased"}:
            raise RequestError(
                f"{' and '.join(named)} all say what vocabulary to use.", "Leave all but one out."
            )

    @property
    def is_new(self) -> bool:
        """Whether the network starts from random weights."""
        return self.model is None

    @property
    def use_pairs(self) -> bool:
        """Whether examples are pairs of segments."""
        if self.has_pairs is None:
            return self.is_new and self.objective is Objective.MLM
        return self.has_pairs
