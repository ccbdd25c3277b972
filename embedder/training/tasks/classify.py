"""Classification: one label for each text, or for each pair of texts read together."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from embedder.heads.inputs import encode_inputs
from embedder.heads.measures import classification_measures
from embedder.heads.protocol import INPUTS, HeadFile, HeadTask, Label
from embedder.labelled_texts import (
    LabelledTexts,
    label_set,
    read_labelled_texts,
    refuse_unseen,
)
from embedder.tokens import Pieces
from embedder.training.devices import choose_device, n_processes
from embedder.training.encoder import TrainableEncoder, open_trainable
from embedder.training.label_models import TextClassifier, piece_batches, set_layer
from embedder.training.probe import MOST_EXAMPLES, fit_probe
from embedder.training.run import Batch, Measures, TrainingRun
from embedder.training.task import TaskRequest, hold_out


class Example(NamedTuple):
    """A text or pair and its label.

    Args:
        pieces: piece ids, special tokens included.
        label: number of the label.
    """

    pieces: Pieces
    label: int


def prepare_classify(request: TaskRequest) -> TrainingRun:
    """The training run for labelled texts.

    Columns: text, label.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        ModelError: the model cannot be.
    """
    return _prepare(HeadTask.CLASSIFY, request)


def prepare_classify_pairs(request: TaskRequest) -> TrainingRun:
    """The training run for labelled pairs of texts.

    Columns: text1, text2, label.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        ModelError: the model cannot be.
    """
    return _prepare(HeadTask.CLASSIFY_PAIRS, request)


def _prepare(task: HeadTask, request: TaskRequest) -> TrainingRun:
    texts = read_labelled_texts(request.only_train, INPUTS[task], request.columns)
    labels = label_set(texts.labels, texts.path, texts.columns["label"])
    held = None
    if request.dev is not None:
        held = read_labelled_texts(request.dev, INPUTS[task], request.columns)
        refuse_unseen([[x] for x in held.labels], labels, held.path, held.columns["label"])
    encoder = open_trainable(request.model, max_tokens=request.settings.get("window"))
    examples, n_cut = _examples(encoder, texts, labels)
    if held is None:
        examples, dev = hold_out(examples, request.options.seed, lambda x: x.pieces.tobytes())
    else:
        dev, n_cut_dev = _examples(encoder, held, labels)
        n_cut += n_cut_dev
    model = TextClassifier(encoder, len(labels))
    start_layer(model, examples, request)
    file = HeadFile(
        task=task, max_tokens=encoder.spec.max_tokens, labels=labels, columns=texts.columns
    )
    return TrainingRun(
        model=model,
        transformer=encoder.transformer,
        examples=examples,
        lengths=[len(example.pieces) for example in examples],
        collate=lambda batch: collate_examples(encoder, batch),
        evaluate=lambda: measure_labels(model, dev, labels),
        goal="accuracy",
        save=lambda folder: model.save(folder, file),
        facts={
            "training texts": len(examples),
            "evaluation texts": len(dev),
            "labels": len(labels),
            "texts cut off at the window": n_cut,
        },
    )


def _examples(
    encoder: TrainableEncoder, texts: LabelledTexts, labels: Sequence[Label]
) -> tuple[list[Example], int]:
    """The rows of a file, and how many of them were cut."""
    inputs = encode_inputs(encoder.tokenizer, texts.sides, encoder.spec.max_tokens)
    numbers = {label: number for number, label in enumerate(labels)}
    pairs = zip(inputs.pieces, texts.labels, strict=True)
    return [Example(pieces, numbers[label]) for pieces, label in pairs], inputs.n_cut


def collate_examples(encoder: TrainableEncoder, examples: Sequence[Example]) -> Batch:
    """Examples as a batch of `TextClassifier`."""
    batch = encoder.collate([example.pieces for example in examples])
    return {**batch, "labels": torch.tensor([example.label for example in examples])}


@torch.no_grad()
def start_layer(model: TextClassifier, examples: Sequence[Example], request: TaskRequest) -> None:
    """Give the layer the weights that are best for the vectors as they are; see `probe`."""
    if n_processes() == 1:
        model.to(choose_device(request.options))
    chosen = list(examples)
    random.Random(request.options.seed).shuffle(chosen)
    chosen = chosen[:MOST_EXAMPLES]
    vectors = np.empty((len(chosen), model.linear.in_features), dtype=np.float32)
    for indices, batch in _batches(model, chosen):
        vectors[indices] = model.vectors(**batch).float().cpu().numpy()
    labels = np.array([example.label for example in chosen])
    set_layer(model.linear, *fit_probe(vectors, labels, model.linear.out_features))


@torch.no_grad()
def measure_labels(
    model: TextClassifier, examples: Sequence[Example], labels: Sequence[Label]
) -> Measures:
    """How often the likeliest label is the right one."""
    found = np.empty(len(examples), dtype=np.int64)
    for indices, batch in _batches(model, examples):
        found[indices] = model.scores(**batch).argmax(1).cpu().numpy()
    return classification_measures(
        [labels[example.label] for example in examples],
        [labels[number] for number in found.tolist()],
        labels,
    )


def _batches(
    model: TextClassifier, examples: Sequence[Example]
) -> Iterator[tuple[list[int], Batch]]:
    """All examples in batches, where the model is: their numbers, and their pieces."""
    return piece_batches(model.encoder, [example.pieces for example in examples])
