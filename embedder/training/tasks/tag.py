"""Tagging: one tag for each word, learnt at its first piece; BIO spans or plain tags."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from embedder.bio import is_bio
from embedder.heads.measures import tagging_measures
from embedder.heads.protocol import HeadFile, HeadTask, Label
from embedder.heads.tag import TagDecoder
from embedder.heads.windows import Window, make_windows
from embedder.labelled_texts import refuse_unseen
from embedder.tagged_sentences import read_tagged_sentences, tag_set
from embedder.training.devices import choose_device, n_processes
from embedder.training.encoder import TrainableEncoder, open_trainable
from embedder.training.label_models import (
    WordTagger,
    collate_labels,
    piece_batches,
    set_layer,
)
from embedder.training.probe import MOST_EXAMPLES, fit_probe
from embedder.training.run import IGNORED, Batch, Measures, TrainingRun
from embedder.training.task import TaskRequest, hold_out


class Sentence(NamedTuple):
    """Words and their tags."""

    words: Sequence[str]
    tags: Sequence[Label]


class Example(NamedTuple):
    """A window and the numbers of the tags of the words that it keeps."""

    window: Window
    tags: Sequence[int]


def prepare_tag(request: TaskRequest) -> TrainingRun:
    """The training run for tagged sentences.

    Columns: tokens, tags.

    Raises:
        SourceError, ColumnError, LabelError: the data cannot be used.
        ModelError: the model cannot be.
    """
    read = read_tagged_sentences(request.only_train, request.columns)
    labels = tag_set(read.tags, read.path, read.columns["tags"])
    sentences = [Sentence(*pair) for pair in zip(read.sentences, read.tags, strict=True)]
    if request.dev is None:
        sentences, dev = hold_out(sentences, request.options.seed, lambda s: tuple(s.words))
    else:
        held = read_tagged_sentences(request.dev, request.columns)
        refuse_unseen(held.tags, labels, held.path, held.columns["tags"])
        dev = [Sentence(*pair) for pair in zip(held.sentences, held.tags, strict=True)]
    encoder = open_trainable(request.model, max_tokens=request.settings.get("window"))
    examples = _examples(encoder, sentences, labels)
    model = WordTagger(encoder, len(labels))
    start_layer(model, examples, request)
    file = HeadFile(
        task=HeadTask.TAG,
        max_tokens=encoder.spec.max_tokens,
        labels=labels,
        columns=read.columns,
    )
    windows = make_windows(encoder.tokenizer, [s.words for s in dev], encoder.spec.max_tokens)
    return TrainingRun(
        model=model,
        transformer=encoder.transformer,
        examples=examples,
        lengths=[len(example.window.pieces) for example in examples],
        collate=lambda batch: collate_examples(encoder, batch),
        evaluate=lambda: measure_tags(model, dev, windows, labels),
        goal="f1" if is_bio(labels) else "accuracy",
        save=lambda folder: model.save(folder, file),
        facts={
            "training sentences": len(sentences),
            "training words": sum(len(sentence.words) for sentence in sentences),
            "evaluation sentences": len(dev),
            "tags": len(labels),
            "scheme": "BIO" if is_bio(labels) else "plain",
            "sentences longer than the window": _n_cut(examples),
        },
    )


def _examples(
    encoder: TrainableEncoder, sentences: Sequence[Sentence], labels: Sequence[Label]
) -> list[Example]:
    numbers = {label: number for number, label in enumerate(labels)}
    windows = make_windows(
        encoder.tokenizer, [sentence.words for sentence in sentences], encoder.spec.max_tokens
    )
    examples = []
    for window in windows:
        end = window.keep_start + len(window.firsts)
        tags = sentences[window.sentence].tags[window.keep_start : end]
        examples.append(Example(window, [numbers[tag] for tag in tags]))
    return examples


def _n_cut(examples: Sequence[Example]) -> int:
    return len({x.window.sentence for x in examples if x.window.keep_start})


def collate_examples(encoder: TrainableEncoder, examples: Sequence[Example]) -> Batch:
    """Examples as a batch of `WordTagger`."""
    batch = encoder.collate([example.window.pieces for example in examples])
    rows = []
    for window, tags in examples:
        row = np.full(len(window.pieces), IGNORED, dtype=np.int64)
        row[window.firsts] = tags
        rows.append(row.tolist())
    return {**batch, "labels": collate_labels(rows, batch["piece_ids"].shape[1])}


@torch.no_grad()
def start_layer(model: WordTagger, examples: Sequence[Example], request: TaskRequest) -> None:
    """Give the layer the weights that are best for the states as they are; see `probe`."""
    if n_processes() == 1:
        model.to(choose_device(request.options))
    chosen = list(examples)
    random.Random(request.options.seed).shuffle(chosen)
    n_words = np.cumsum([len(example.tags) for example in chosen])
    chosen = chosen[: int(np.searchsorted(n_words, MOST_EXAMPLES)) + 1]
    states: list[npt.NDArray[np.float32]] = []
    tags: list[int] = []
    windows = [example.window for example in chosen]
    for indices, batch in _batches(model, windows):
        found = model.states(**batch).float().cpu().numpy()
        for row, index in enumerate(indices):
            states.append(found[row, windows[index].firsts])
            tags += chosen[index].tags
    layer = model.linear
    set_layer(layer, *fit_probe(np.concatenate(states), np.array(tags), layer.out_features))


@torch.no_grad()
def measure_tags(
    model: WordTagger,
    sentences: Sequence[Sentence],
    windows: Sequence[Window],
    labels: Sequence[Label],
) -> Measures:
    """F1 of spans for BIO tags, and how often the tag of a word is right.

    Args:
        model: the tagger.
        sentences: words and their tags.
        windows: of these sentences.
        labels: the tags in the order of the scores.
    """
    decode = TagDecoder(labels)
    found = [np.empty((len(sentence.words), len(labels))) for sentence in sentences]
    for indices, batch in _batches(model, windows):
        scores = model.scores(**batch)
        logs = scores.cpu().double().log_softmax(-1).numpy()
        for row, index in enumerate(indices):
            window = windows[index]
            end = window.keep_start + len(window.firsts)
            found[window.sentence][window.keep_start : end] = logs[row, window.firsts]
    answers = [[labels[number] for number in decode(values)] for values in found]
    return tagging_measures([sentence.tags for sentence in sentences], answers, labels)


def _batches(model: WordTagger, windows: Sequence[Window]) -> Iterator[tuple[list[int], Batch]]:
    """All windows in batches, where the model is: their numbers, and their pieces."""
    return piece_batches(model.encoder, [window.pieces for window in windows])
