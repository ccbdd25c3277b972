"""An encoder and a decoder that write a text for a text, by beam search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from embedder.encoders.network import load_pretrained
from embedder.errors import EngineError, ModelError, RequestError, cause_of
from embedder.heads.copying import CopyingModel
from embedder.heads.inputs import encode_inputs
from embedder.tokens import Pieces, Tokenizer, plan_batches

GROUP_TEXTS = 256
"""Texts whose pieces are held at once."""


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """What head.json keeps of the task beside the window.

    Args:
        target_tokens: pieces of the longest text that is written, the last one included.
        beams: texts that are followed at once; with one the likeliest piece is always taken.
        length_penalty: more than 0 favours long texts: the sum of the logarithms of the
            probabilities is divided by the length to this power.
        no_repeat_ngram: no so many pieces come twice in a row in a text; 0 for no such rule.
        copy: pieces of what is read can be copied; decided in training.

    Raises:
        RequestError: a number makes no sense.
    """

    target_tokens: int
    beams: int
    length_penalty: float
    no_repeat_ngram: int
    copy: bool

    def __post_init__(self) -> None:
        least = {"target_tokens": 2, "beams": 1, "no_repeat_ngram": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise RequestError(f"{name} is {getattr(self, name)}.", f"Give at least {bound}.")

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


def end_pieces(tokenizer: Tokenizer) -> tuple[int, int]:
    """The pieces that begin and end a text that is written: BERT's [CLS] and [SEP].

    Raises:
        ModelError: the tokenizer puts none around a text.
    """
    before, after = tokenizer.surroundings
    if not len(before) or not len(after):
        raise ModelError(
            "The model's tokenizer puts no special tokens around a text, and one is wanted that "
            "begins a text and one that ends it.",
            "Use a model whose tokenizer.json has a post-processor, as BERT's has.",
        )
    return int(before[0]), int(after[-1])


def generation_config(
    tokenizer: Tokenizer, settings: GenerateSettings
) -> transformers.GenerationConfig:
    """The settings as transformers has them."""
    start, end = end_pieces(tokenizer)
    banned = {start, tokenizer.pad_id, tokenizer.unknown_id} - {end}
    return transformers.GenerationConfig(  # type: ignore[no-untyped-call]
        decoder_start_token_id=start,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_id,
        suppress_tokens=sorted(banned),
        max_new_tokens=settings.target_tokens,
        min_new_tokens=1,
        num_beams=settings.beams,
        length_penalty=settings.length_penalty,
        no_repeat_ngram_size=settings.no_repeat_ngram,
        do_sample=False,
    )


def load_generator(folder: Path, dtype: torch.dtype, *, copy: bool) -> nn.Module:
    """The encoder and decoder in a folder that `finetune generate` made.

    Args:
        folder: the folder.
        dtype: of the weights.
        copy: whether it was trained to copy.

    Raises:
        ModelError: the weights cannot be read, or do not fill the network.
    """
    kind = CopyingModel if copy else transformers.EncoderDecoderModel
    network, info = load_pretrained(kind, folder, dtype)
    lacking = sorted(str(key) for key in info["missing_keys"])
    if lacking or info["mismatched_keys"]:
        raise ModelError(
            f"The model {folder} lacks weights that its config.json calls for: "
            f"{', '.join(lacking[:6]) or 'some are of another size'}.",
            "Copy the model folder again.",
        )
    return network.eval()


@dataclass(frozen=True, kw_only=True)
class TextGenerator:
    """Writes texts.

    Args:
        network: a transformers EncoderDecoderModel, which may be one that copies, on the device
            where it runs.
        tokenizer: text to pieces and back.
        max_tokens: pieces of a text that are read; the rest is cut off.
        settings: how the text is looked for.
        max_batch_tokens: padded pieces at once, of what is read or of all beams.
    """

    network: nn.Module
    tokenizer: Tokenizer
    max_tokens: int
    settings: GenerateSettings
    max_batch_tokens: int

    def generate(self, texts: Sequence[str]) -> list[str]:
        """A text for each text.

        Batches hold texts of one padded length, so that none depends on what is beside it.

        Raises:
            EngineError: torch failed.
        """
        found: list[str] = []
        for start in range(0, len(texts), GROUP_TEXTS):
            group = texts[start : start + GROUP_TEXTS]
            pieces = encode_inputs(self.tokenizer, [group], self.max_tokens).pieces
            written = dict(self._write(pieces))
            found += [self.tokenizer.decode(written[row]).strip() for row in range(len(group))]
        return found

    def _write(self, pieces: Sequence[Pieces]) -> Iterator[tuple[int, list[int]]]:
        """Numbers of texts with the pieces that are written for them."""
        config = generation_config(self.tokenizer, self.settings)
        n_beam_tokens = self.settings.beams * self.settings.target_tokens
        for indices, length in plan_batches([len(ids) for ids in pieces], self.max_batch_tokens):
            most = max(1, self.max_batch_tokens // max(length, n_beam_tokens))
            for start in range(0, len(indices), most):
                part = indices[start : start + most]
                yield from zip(
                    part, self._run([pieces[i] for i in part], length, config), strict=True
                )

    def _run(
        self, pieces: Sequence[Pieces], length: int, config: transformers.GenerationConfig
    ) -> list[list[int]]:
        batch = self.tokenizer.batch(pieces, length)
        device = next(self.network.parameters()).device
        piece_ids = torch.from_numpy(batch.piece_ids).to(device)
        own = {"decoder_source_ids": piece_ids} if isinstance(self.network, CopyingModel) else {}
        try:
            with torch.no_grad():
                written = self.network.generate(  # type: ignore[operator]
                    input_ids=piece_ids,
                    attention_mask=torch.from_numpy(batch.attention_mask).to(device),
                    generation_config=config,
                    **own,
                )
                found: list[list[int]] = written.cpu().tolist()
        except RuntimeError as error:  # out of memory is one of these
            raise EngineError(
                f"torch failed on {len(pieces)} texts of {length} tokens: {cause_of(error)}.",
                "Use a smaller --max-batch-tokens, or fewer --beams.",
            ) from error
        return found
