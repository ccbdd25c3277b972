"""Senses without labels: two views of one use of a word get near, and away from all other uses.

MirrorWiC (Liu et al. 2021): of one view a stretch of the context on either side is hidden, and
dropout differs in both, so that what is left in common is what the word means there. The uses are
drawn from a corpus of the user's own.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from embedder.columns import ColumnRequest
from embedder.corpus import open_corpus, read_shards
from embedder.errors import ModelError, RequestError
from embedder.occurrences import UsePieces, cut_uses
from embedder.threshold import cross_fitted_accuracy
from embedder.training.contrastive import view_loss
from embedder.training.encoder import TrainableEncoder, open_trainable
from embedder.training.run import Batch, Measures, TrainingRun
from embedder.training.sense_pairs import (
    SensePair,
    matches,
    pair_cosines,
    read_sense_pairs,
    use_window,
)
from embedder.training.span_masks import draw_spans
from embedder.training.task import HELD_OUT_SHARE, TaskRequest, hold_out
from embedder.training.tasks.senses import check_several
from embedder.training.use_pooling import pool_uses, stack_uses
from embedder.use_sample import DrawnUse, UseSample

SCALE = 25.0
"""Of cosines in the loss: one by the published temperature of .04."""

N_USES = 10_000
WINDOW = 64
MASKED_PIECES = 3
"""On either side; published are ten characters."""

HELD_OUT_BATCH = 128
MOST_HELD_OUT = 1024
LEAST_HELD_OUT_TEXTS = 16
EVALUATION_SEED = 1


class NumberedUse(NamedTuple):
    """A use of a word, and the number of the text that it stands in."""

    pieces: UsePieces
    text: int


def prepare_senses_unsupervised(request: TaskRequest) -> TrainingRun:
    """The training run for a corpus.

    Columns: `text`. Settings: `uses`, how many; `masked`, pieces that are hidden on either side;
    `dropout`; `scale`; `window`, pieces of a use; `limit`, rows of the corpus.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        RequestError: the corpus has too few words.
        ModelError: the model cannot be used, or has no mask.
    """
    settings = request.settings
    encoder = open_trainable(request.model)
    usual = min(WINDOW, encoder.spec.max_tokens)
    window = use_window(encoder, settings.get("window", usual))
    model = ViewModel(
        encoder,
        n_masked=settings.get("masked", MASKED_PIECES),
        scale=settings.get("scale", SCALE),
    )
    pairs = []
    if request.dev is not None:
        pairs = read_sense_pairs(request.dev, encoder.tokenizer, window)
        check_several(pairs)
    uses, n_texts, n_lost = _draw_uses(request, encoder, window)
    held: list[NumberedUse] = []
    if not pairs:
        uses, held = _hold_out(uses, request.options.seed)
    if settings.get("dropout") is not None:
        _set_dropout(encoder, settings["dropout"])
    return TrainingRun(
        model=model,
        transformer=encoder.transformer,
        examples=uses,
        collate=lambda batch: collate_uses(encoder, batch),
        evaluate=lambda: measure_pairs(encoder, pairs) if pairs else measure_views(model, held),
        goal="accuracy" if pairs else "loss",
        is_higher_better=bool(pairs),
        save=encoder.save,
        facts={
            "texts": n_texts,
            "training uses": len(uses),
            **({"uses without a piece": n_lost} if n_lost else {}),
            **({"evaluation pairs": len(pairs)} if pairs else {"evaluation uses": len(held)}),
        },
    )


def _draw_uses(
    request: TaskRequest, encoder: TrainableEncoder, window: int
) -> tuple[list[NumberedUse], int, int]:
    """Uses of words of the corpus, the number of its texts, and that of uses without pieces."""
    settings = request.settings
    columns = ColumnRequest(text=request.columns.get("text"), metadata=())
    corpus = open_corpus([str(path) for path in request.train], columns)
    shards = corpus.shards(settings.get("limit"))
    n_rows, n_read = sum(shard.n_rows for shard in shards), 0
    sample = UseSample(settings.get("uses", N_USES), request.options.seed)
    for rows in read_shards(shards, corpus):
        sample.add(rows.texts)
        n_read += rows.n_rows
        request.report("reading the corpus", n_read, n_rows)
    drawn = sample.draw()
    uses = list(_cut(drawn, encoder, window))
    if len(uses) < 2:
        raise RequestError(
            f"The {sample.n_texts:,} texts of {corpus.sources[0].file.name} have {len(uses)} "
            "words that are no function words.",
            "Name a larger corpus.",
        )
    return uses, sample.n_texts, len(drawn) - len(uses)


def _cut(
    drawn: Iterable[DrawnUse], encoder: TrainableEncoder, window: int
) -> Iterator[NumberedUse]:
    """The pieces of uses; words that the tokenizer leaves out of a text get none."""
    for use, text in drawn:
        with contextlib.suppress(RequestError):
            [pieces] = cut_uses(encoder.tokenizer, [use], window)
            yield NumberedUse(pieces, text)


def _hold_out(
    uses: Sequence[NumberedUse], seed: int
) -> tuple[list[NumberedUse], list[NumberedUse]]:
    """Uses to train on and to evaluate on; of many texts, those of a text on one side. Of few, what
    is held out would stand in one or two, and uses in one text are not compared."""
    n_texts = len({use.text for use in uses})
    by_text = n_texts * HELD_OUT_SHARE >= LEAST_HELD_OUT_TEXTS
    train, held = hold_out(uses, seed, (lambda use: use.text) if by_text else None)
    random.Random(seed).shuffle(held)  # so that those of a text are not together
    kept = held[:MOST_HELD_OUT]
    texts = {use.text for use in kept} if by_text else set()
    return train + [use for use in held[MOST_HELD_OUT:] if use.text not in texts], kept


def _set_dropout(encoder: TrainableEncoder, rate: float) -> None:
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate


class ViewModel(nn.Module):
    """An encoder with the loss of two views of uses.

    Args:
        encoder: what is trained.
        n_masked: pieces that are hidden on either side of the word in the second view.
        scale: of cosines in the loss.

    Raises:
        ModelError: the tokenizer has no mask, and pieces are to be hidden.
    """

    def __init__(self, encoder: TrainableEncoder, *, n_masked: int, scale: float) -> None:
        super().__init__()
        mask_id = encoder.tokenizer.mask_id
        if n_masked and mask_id is None:
            raise ModelError(
                f"The tokenizer of {encoder.checkpoint.name} has no mask to hide pieces with.",
                "Give --masked 0 and a higher --dropout.",
            )
        self.encoder, self.mask_id = encoder, mask_id or 0
        self.n_masked, self.scale = n_masked, scale

    def forward(
        self,
        piece_ids: Tensor,
        attention_mask: Tensor,
        is_text: Tensor,
        is_word: Tensor,
        texts: Tensor,
    ) -> dict[str, Tensor]:
        """The loss of a batch of uses.

        Args:
            piece_ids: shape (n, length).
            attention_mask: the same shape.
            is_text: which pieces are no special tokens, the same shape.
            is_word: which are the word's own, the same shape.
            texts: numbers of the uses' texts, shape (n,).
        """
        draws = torch.rand(len(piece_ids), 2, device=piece_ids.device)
        first, second = self.views(piece_ids, attention_mask, is_text, is_word, draws)
        return {"loss": self.loss(first, second, texts)}

    def views(
        self,
        piece_ids: Tensor,
        attention_mask: Tensor,
        is_text: Tensor,
        is_word: Tensor,
        draws: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Unit vectors of both views of uses, each of shape (n, width); see `forward`.

        Args:
            draws: what says which stretches are hidden, see `draw_spans`.
        """
        hidden = draw_spans(is_text, is_word, self.n_masked, draws)
        masked = piece_ids.masked_fill(hidden, self.mask_id)
        _, states = self.encoder(torch.cat([piece_ids, masked]), attention_mask.repeat(2, 1))
        first, second = pool_uses(states, is_text.repeat(2, 1), is_word.repeat(2, 1)).chunk(2)
        return first, second

    def loss(self, first: Tensor, second: Tensor, texts: Tensor) -> Tensor:
        """The loss of two views; uses in one text share their context, and are not compared."""
        return view_loss(first, second, texts[:, None] == texts, scale=self.scale)


def collate_uses(encoder: TrainableEncoder, uses: Sequence[NumberedUse]) -> Batch:
    """Uses as a batch of `ViewModel`."""
    batch = stack_uses([use.pieces for use in uses], encoder.tokenizer.pad_id)
    return {**batch._asdict(), "texts": torch.tensor([use.text for use in uses])}


def measure_pairs(encoder: TrainableEncoder, pairs: Sequence[SensePair]) -> Measures:
    """Accuracy on labelled pairs, of a threshold that is fitted on the other half of them."""
    return {"accuracy": cross_fitted_accuracy(pair_cosines(encoder, pairs), matches(pairs))}


@torch.no_grad()
def measure_views(model: ViewModel, uses: Sequence[NumberedUse]) -> Measures:
    """Mean loss on uses that were held out, always with the same stretches hidden, and how often
    the other view of a use is the nearest of a batch."""
    encoder = model.encoder
    random = torch.Generator().manual_seed(EVALUATION_SEED)
    loss, n_found = 0.0, 0
    for start in range(0, len(uses), HELD_OUT_BATCH):
        batch = collate_uses(encoder, uses[start : start + HELD_OUT_BATCH])
        texts = batch.pop("texts").to(encoder.device)
        draws = torch.rand(len(texts), 2, generator=random)
        moved = {name: value.to(encoder.device) for name, value in batch.items()}
        first, second = model.views(**moved, draws=draws.to(encoder.device))
        loss += float(model.loss(first, second, texts)) * len(texts)
        n_found += int(((first @ second.T).argmax(1).cpu() == torch.arange(len(texts))).sum())
    return {"loss": loss / len(uses), "found": n_found / len(uses)}
