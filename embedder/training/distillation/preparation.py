"""Teacher, student and corpus, ready for the training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path

from torch import nn

from embedder.checkpoint import Checkpoint, open_checkpoint
from embedder.errors import RequestError
from embedder.pairs import ScoredPair
from embedder.tokens import Pieces, Tokenizer
from embedder.training.devices import is_main_process, wait_for_main_process
from embedder.training.distillation.language import (
    LanguageDistillation,
    check_head,
    measure_language,
)
from embedder.training.distillation.layers import choose_layers, match_layers, take_layers
from embedder.training.distillation.options import USUAL, DistillationOptions, Objective
from embedder.training.distillation.sentences import (
    SentenceDistillation,
    measure_rows,
    measure_scored,
)
from embedder.training.distillation.texts import (
    HELD_OUT,
    TRAIN,
    PieceTexts,
    TextLayout,
    write_texts,
)
from embedder.training.encoder import TrainableEncoder
from embedder.training.pretraining.examples import collate_examples
from embedder.training.pretraining.language_model import load_language_model, transformer_of
from embedder.training.pretraining.options import PretrainingOptions
from embedder.training.pretraining.preparation import (
    prepare_text,
    save_language_model,
    validation_batches,
)
from embedder.training.run import Measures, TrainingRun

Batches = Callable[[], Iterable[Sequence[str]]]
"""Starts reading the documents of a corpus."""

MOST_HELD_OUT = 2000
"""Held-out texts that are measured, taken evenly from all of them."""


def check_teacher(options: DistillationOptions) -> Checkpoint:
    """The teacher, of which the student can be made.

    Raises:
        ModelError: it cannot be found.
        RequestError: it has no layers, too few, or a shorter window.
    """
    checkpoint = open_checkpoint(options.model)
    if checkpoint.is_static:
        raise RequestError(
            f"{options.model} is a static model and has no layers to choose from.",
            "Name a network in --model.",
        )
    choose_layers(checkpoint.n_layers, options.layers)
    if options.objective is Objective.MLM:
        check_head(checkpoint)
    if options.length is not None and options.length > checkpoint.position_limit:
        raise RequestError(
            f"Examples of {options.length} pieces were asked for, and {options.model} takes "
            f"{checkpoint.position_limit} at most.",
            "Give a smaller --length.",
        )
    return checkpoint


def prepare_distillation(
    texts: Batches,
    options: DistillationOptions,
    pairs: Sequence[ScoredPair],
    room: Path,
    *,
    seed: int,
) -> TrainingRun:
    """The training run of a student.

    The corpus is tokenised once, into a folder of the room that a resumed run finds there. Of
    several processes the main one does it, and the others wait.

    Args:
        texts: starts reading the corpus.
        options: teacher, student and examples.
        pairs: scored pairs by which sentence encoders are measured; there may be none.
        room: a folder of this run's own.
        seed: of masks.

    Raises:
        RequestError: the teacher has too few layers, or the corpus too few texts.
        ModelError: the teacher cannot be loaded.
        OSError: the disk takes no more.
    """
    if options.objective is Objective.SENTENCE:
        return prepare_sentences(texts, options, pairs, room)
    if pairs:
        raise RequestError(
            "Scored pairs measure vectors of texts, which --objective mlm does not train.",
            "Leave --eval out, or use --objective sentence.",
        )
    return prepare_language(texts, options, room, seed=seed)


def prepare_sentences(
    texts: Batches, options: DistillationOptions, pairs: Sequence[ScoredPair], room: Path
) -> TrainingRun:
    """The training run of a student that is to give its teacher's vectors; see
    `prepare_distillation`."""
    checkpoint = check_teacher(options)
    spec = checkpoint.spec()
    layout = TextLayout(
        length=options.length or min(USUAL, spec.max_tokens),
        held_out=options.held_out,
        prompt=spec.passage_prompt,
    )
    examples, held_out = _open_texts(texts, Tokenizer(checkpoint), layout, room)
    teacher, student = (TrainableEncoder(checkpoint, spec) for _ in range(2))
    kept = choose_layers(checkpoint.n_layers, options.layers)
    student.network.transformer = take_layers(teacher.transformer, kept)
    model = SentenceDistillation(student, teacher, match_layers(kept, checkpoint.n_layers))
    measured = held_out.spread(MOST_HELD_OUT)
    return TrainingRun(
        model=model,
        transformer=student.transformer,
        examples=examples,
        lengths=examples.lengths,
        collate=student.collate,
        evaluate=_measuring(model, measured, pairs),
        goal="cosine",
        save=student.save,
        facts={
            "texts": len(examples),
            "texts held out": len(held_out),
            **_sizes(student, teacher, kept, checkpoint),
        },
    )


def prepare_language(
    texts: Batches, options: DistillationOptions, room: Path, *, seed: int
) -> TrainingRun:
    """The training run of a student that is to find masked pieces as its teacher does; see
    `prepare_distillation`."""
    checkpoint = check_teacher(options)
    asked = PretrainingOptions(
        model=options.model,
        has_pairs=False,
        length=options.length or min(USUAL, checkpoint.max_tokens),
        held_out=options.held_out,
        is_adapted=True,
    )
    text = prepare_text(texts, asked, seed, room)
    teacher = load_language_model(
        checkpoint.folder, checkpoint.config, asked.objective, has_pairs=False, seed=seed
    )
    kept = choose_layers(checkpoint.n_layers, options.layers)
    student = take_layers(teacher, kept)
    matched = match_layers(kept, checkpoint.n_layers)
    model = LanguageDistillation(student, teacher, matched, text.examples.mean_to_find())
    batches = partial(validation_batches, text.held_out, asked, text.special.pad)
    return TrainingRun(
        model=model,
        transformer=transformer_of(student),
        examples=text.examples,
        collate=partial(collate_examples, pad=text.special.pad),
        evaluate=lambda: measure_language(model, batches),
        goal="loss",
        is_higher_better=False,
        save=partial(save_language_model, student, checkpoint, asked),
        facts={
            "examples": len(text.examples),
            "examples held out": len(text.held_out),
            "pieces": text.counts.n_pieces,
            **_sizes(student, teacher, kept, checkpoint),
        },
    )


def _sizes(
    student: nn.Module, teacher: nn.Module, kept: Sequence[int], checkpoint: Checkpoint
) -> dict[str, object]:
    """What people want to know of both networks."""
    return {
        "layers": len(kept),
        "layers of the teacher": checkpoint.n_layers,
        "layers it starts from": ", ".join(str(number + 1) for number in kept),
        "parameters": _n_weights(student),
        "parameters of the teacher": _n_weights(teacher),
    }


def _measuring(
    model: SentenceDistillation, held_out: Sequence[Pieces], pairs: Sequence[ScoredPair]
) -> Callable[[], Measures]:
    """What measures the student; the teacher is asked once."""

    @cache
    def teacher() -> tuple[object, Measures]:
        found = {f"teacher_{k}": v for k, v in model.teacher_measures(pairs).items()}
        return model.teacher_rows(held_out), found

    def measure() -> Measures:
        rows, scores = teacher()
        own = measure_rows(model.student.encode_pieces(held_out), rows)  # type: ignore[arg-type]
        return {**own, **measure_scored(model.student, pairs), **scores}

    return measure


def _open_texts(
    texts: Batches, tokenizer: Tokenizer, layout: TextLayout, room: Path
) -> tuple[PieceTexts, PieceTexts]:
    """Texts to train on, and those held out."""
    folder = room / "text"
    if is_main_process():
        if not folder.is_dir():
            write_texts(texts(), folder, tokenizer, layout)
    else:
        wait_for_main_process(folder.is_dir)
    return PieceTexts(folder, TRAIN), PieceTexts(folder, HELD_OUT)


def _n_weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
