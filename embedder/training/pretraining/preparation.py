"""A corpus and a network, ready for the training loop."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from embedder.checkpoint import Checkpoint, open_checkpoint
from embedder.errors import ModelError, RequestError, SourceError
from embedder.tokens import Tokenizer
from embedder.training.checkpoints import sync_all
from embedder.training.devices import (
    check_sharding,
    is_main_process,
    wait_for_main_process,
)
from embedder.training.encoder import TrainableEncoder
from embedder.training.options import TrainingOptions
from embedder.training.parameters import check_freeze
from embedder.training.pretraining.examples import (
    FIXED_EPOCH,
    PretrainingExamples,
    collate_examples,
)
from embedder.training.pretraining.language_model import (
    bert_config,
    check_kind,
    load_language_model,
    new_language_model,
    quietly,
    transformer_of,
)
from embedder.training.pretraining.masks import MASK_SHARE
from embedder.training.pretraining.network import PretrainingNetwork, measure
from embedder.training.pretraining.options import Objective, PretrainingOptions
from embedder.training.pretraining.piece_file import (
    TRAIN,
    VALIDATION,
    PieceCounts,
    PieceLayout,
    open_part,
    write_pieces,
)
from embedder.training.pretraining.shapes import Size
from embedder.training.pretraining.special import SpecialPieces, read_special
from embedder.training.pretraining.wordpiece import (
    Batches,
    find_pad,
    save_wordpiece,
    take_tokenizer,
    train_wordpiece,
)
from embedder.training.run import Batch, TrainingRun

START, COUNTS = "start", "counts.json"

MOST_VALIDATION = 2000
"""Held-out examples that are evaluated, taken evenly from all of them."""

EVALUATION_PIECES = 2048
"""Places of a forward pass without gradients; each may have as many scores as there are pieces."""


@dataclass(frozen=True)
class PreparedText:
    """A corpus as examples, and the model whose pieces they are.

    Args:
        checkpoint: the model that training starts from.
        special: its special pieces.
        counts: what the corpus holds.
        examples: those to train on.
        held_out: those for validation, masked the same each time.
    """

    checkpoint: Checkpoint
    special: SpecialPieces
    counts: PieceCounts
    examples: PretrainingExamples
    held_out: PretrainingExamples


def prepare_pretraining(
    texts: Batches, options: PretrainingOptions, training: TrainingOptions, room: Path
) -> TrainingRun:
    """The training run of a network on a corpus; see `prepare_text`.

    Raises:
        RequestError: weights are to be shared, and cannot be; and see there.
    """
    check_sharding(training)
    if options.model is not None:  # before the corpus is read
        check_freeze(training, open_checkpoint(options.model).n_layers)
    return _make_run(prepare_text(texts, options, training.seed, room), options, training)


def prepare_text(
    texts: Batches, options: PretrainingOptions, seed: int, room: Path
) -> PreparedText:
    """The examples of a corpus, and a network to start from if it is new.

    The corpus is tokenised once, into a folder of the room that a resumed run finds there. Of
    several processes the main one does it, and the others wait.

    Args:
        texts: starts reading the corpus.
        options: examples and network.
        seed: of the masks, and of a new network.
        room: a folder of this run's own.

    Raises:
        RequestError: the corpus is too small, or the options do not fit the model.
        ModelError: the model or tokenizer cannot be used.
        OSError: the disk takes no more.
    """
    folder = room / "text"
    if is_main_process():
        if not folder.is_dir():
            made = room / "text.new"
            shutil.rmtree(made, ignore_errors=True)  # of a run that was killed
            made.mkdir()
            try:
                _fill(made, texts, options, seed)
                sync_all(made)
                made.rename(folder)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    else:
        wait_for_main_process(folder.is_dir)
    counts = PieceCounts(**json.loads((folder / COUNTS).read_text("utf-8")))
    checkpoint = open_checkpoint(options.model or str(folder / START))
    _, special = _read_tokenizer(checkpoint, options)
    examples, held_out = (
        PretrainingExamples(
            open_part(folder, name, special, _layout(options)),
            options.objective,
            is_whole_word=options.is_whole_word,
            seed=seed,
            mask_share=share,
        )
        for name, share in ((TRAIN, options.mask_share), (VALIDATION, MASK_SHARE))
    )
    held_out.set_epoch(FIXED_EPOCH)
    return PreparedText(checkpoint, special, counts, examples, held_out)


def _fill(folder: Path, texts: Batches, options: PretrainingOptions, seed: int) -> None:
    """Write the corpus as pieces, and the network to start from if it is new."""
    if options.model is None:
        _write_start(folder / START, texts, options, seed)
    checkpoint = open_checkpoint(options.model or str(folder / START))
    tokenizer, special = _read_tokenizer(checkpoint, options)
    counts = write_pieces(texts(), folder, tokenizer, special, _layout(options))
    _check_counts(counts, options)
    (folder / COUNTS).write_text(json.dumps(asdict(counts)), "utf-8")


def _write_start(folder: Path, texts: Batches, options: PretrainingOptions, seed: int) -> None:
    """A model folder with random weights."""
    folder.mkdir()
    if options.tokenizer is not None:
        tokenizer = take_tokenizer(options.tokenizer, folder, max_tokens=options.length)
    else:
        tokenizer = train_wordpiece(texts, n_pieces=options.n_pieces, is_cased=options.is_cased)
        save_wordpiece(tokenizer, folder, is_cased=options.is_cased, max_tokens=options.length)
    config = bert_config(
        options.size or Size.TINY,
        tokenizer.get_vocab_size(),
        is_one_sided=options.objective is Objective.CAUSAL,
        pad_id=find_pad(tokenizer),
    )
    model = new_language_model(config, has_pairs=options.use_pairs, seed=seed)
    with quietly():
        model.save_pretrained(folder)


def _read_tokenizer(
    checkpoint: Checkpoint, options: PretrainingOptions
) -> tuple[Tokenizer, SpecialPieces]:
    if options.length > checkpoint.position_limit:
        raise RequestError(
            f"Examples of {options.length} pieces were asked for, and {checkpoint.name} takes "
            f"{checkpoint.position_limit} at most.",
            "Give a smaller --length.",
        )
    check_kind(checkpoint.folder, checkpoint.config, options.objective, has_pairs=options.use_pairs)
    tokenizer = Tokenizer(checkpoint)
    special = read_special(tokenizer, checkpoint.name)
    n_known = int(checkpoint.config.get("vocab_size", special.n_pieces))
    if special.n_pieces > n_known:
        raise ModelError(
            f"The tokenizer of {checkpoint.name} has {special.n_pieces:,} pieces, and its network "
            f"{n_known:,}.",
            "Copy the model folder again.",
        )
    return tokenizer, special


def _layout(options: PretrainingOptions) -> PieceLayout:
    return PieceLayout(
        length=options.length,
        has_pairs=options.use_pairs,
        has_starts=options.is_whole_word,
        held_out=options.held_out,
    )


def _check_counts(counts: PieceCounts, options: PretrainingOptions) -> None:
    if not counts.n_documents:
        found = "only documents of one piece" if counts.n_too_short else "no text"
        raise SourceError(f"The corpus holds {found}.", "Name another column with --text.")
    if counts.n_documents == counts.n_held_out or not counts.n_held_out:
        raise RequestError(
            f"The corpus holds {counts.n_documents:,} documents: one at least has to be held out "
            "for validation, with those that equal it, and one trained on.",
            "Give more text.",
        )


def _make_run(
    text: PreparedText, options: PretrainingOptions, training: TrainingOptions
) -> TrainingRun:
    checkpoint, special, counts = text.checkpoint, text.special, text.counts
    examples, held_out = text.examples, text.held_out
    model = load_language_model(
        checkpoint.folder,
        checkpoint.config,
        options.objective,
        has_pairs=options.use_pairs,
        seed=training.seed,
    )
    network = PretrainingNetwork(model, examples.mean_to_find())
    collate = partial(collate_examples, pad=special.pad)
    n_weights = sum(weight.numel() for weight in model.parameters())
    return TrainingRun(
        model=network,
        transformer=transformer_of(model),
        examples=examples,
        collate=collate,
        evaluate=lambda: measure(
            network, partial(validation_batches, held_out, options, special.pad), options.objective
        ),
        goal="loss",
        is_higher_better=False,
        save=partial(save_language_model, model, checkpoint, options),
        facts={
            "documents": counts.n_documents,
            "documents held out": counts.n_held_out,
            "documents too short": counts.n_too_short,
            "pieces": counts.n_pieces,
            "examples": len(examples),
            "examples held out": len(held_out),
            "vocabulary": special.n_pieces,
            "parameters": n_weights,
        },
    )


def validation_batches(
    examples: PretrainingExamples, options: PretrainingOptions, pad: int
) -> Iterator[Batch]:
    """Batches of held-out examples, at most `MOST_VALIDATION` of them."""
    n_taken = min(len(examples), MOST_VALIDATION)
    numbers = np.linspace(0, len(examples) - 1, n_taken).round().astype(int).tolist()
    size = max(1, EVALUATION_PIECES // options.length)
    for start in range(0, n_taken, size):
        yield collate_examples([examples[i] for i in numbers[start : start + size]], pad)


def save_language_model(
    model: Any, checkpoint: Checkpoint, options: PretrainingOptions, folder: Path
) -> None:
    """Write a folder that is an encoder, with the pooling that it started with, and keeps the
    heads, which training goes on with and encoders pass over."""
    model.tie_weights()  # sharing between processes may have made two of one
    most = (
        checkpoint.max_tokens if options.is_adapted else max(checkpoint.max_tokens, options.length)
    )
    encoder = TrainableEncoder(checkpoint, checkpoint.spec(max_tokens=most))
    encoder.network.transformer = transformer_of(model)
    with quietly():
        encoder.save(folder)
        model.save_pretrained(folder)
