"""One tag for each word of a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedder.bio import BioDecoder, is_bio
from embedder.checkpoint import open_checkpoint
from embedder.encoders import TextEncoder
from embedder.heads.columns import label_type, lists_of
from embedder.heads.encoder import open_head_encoder
from embedder.heads.linear import LinearHead, Probabilities, load_linear
from embedder.heads.protocol import INPUTS, HeadFile, HeadOptions, HeadTask, Label
from embedder.heads.windows import make_windows


class TagDecoder:
    """Probabilities to tags: the likeliest of each word, or of BIO tags the likeliest that are
    well formed as a whole.

    Args:
        labels: the tags, in the order of the probabilities.
    """

    def __init__(self, labels: Sequence[Label]) -> None:
        self._bio = BioDecoder([str(x) for x in labels]) if is_bio(labels) else None

    def __call__(self, log_probabilities: Probabilities) -> npt.NDArray[np.int64]:
        """Numbers of the tags of one sentence, shape (n_words,)."""
        if self._bio is not None:
            return self._bio(log_probabilities)
        found: npt.NDArray[np.int64] = log_probabilities.argmax(1)
        return found


class Tagger:
    """A linear layer over the state of the first piece of each word.

    Its answers are `tags`, one for each word and of the type that they had in training, and
    `scores`, their probabilities. A sentence longer than the window is read in windows that
    overlap; a word that is missing among the tokens, or blank, has no tag and no score.

    Args:
        file: what head.json says.
        encoder: texts to states.
        head: states to tags.
    """

    def __init__(self, file: HeadFile, encoder: TextEncoder, head: LinearHead) -> None:
        self.file = file
        self._encoder, self._head = encoder, head
        self._decode = TagDecoder(file.labels)
        tags = pa.list_(label_type(file.labels))
        self.schema = pa.schema([("tags", tags), ("scores", pa.list_(pa.float32()))])

    @property
    def task(self) -> HeadTask:
        """What it does."""
        return self.file.task

    @property
    def inputs(self) -> tuple[str, ...]:
        """The roles of the columns that it reads."""
        return INPUTS[self.task]

    @property
    def description(self) -> str:
        """The engine, its precision and its device, in words."""
        return self._encoder.encoder.description

    def predict(self, rows: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
        """See `Head.predict`."""
        [role] = self.inputs
        sentences = [[word or "" for word in words] for words in rows[role]]
        tags: list[Label | None] = []
        scores: list[float | None] = []
        for words, found in zip(sentences, self.log_probabilities(sentences), strict=True):
            is_word = np.array([bool(word.strip()) for word in words], dtype=np.bool_)
            likely = found[is_word]  # a span goes on behind what is no word
            chosen = self._decode(likely)
            best = iter(np.exp(likely[np.arange(len(likely)), chosen]).tolist())
            names = iter([self.file.labels[i] for i in chosen])
            tags += [next(names) if is_there else None for is_there in is_word]
            scores += [next(best) if is_there else None for is_there in is_word]
        lengths = [len(words) for words in sentences]
        kind = self.schema.field("tags").type.value_type
        return pa.record_batch(
            [
                lists_of(pa.array(tags, kind), lengths),
                lists_of(pa.array(scores, pa.float32()), lengths),
            ],
            schema=self.schema,
        )

    def log_probabilities(self, sentences: Sequence[Sequence[str]]) -> list[Probabilities]:
        """Logarithms of the probabilities of the tags, for each sentence (n_words, n_labels)."""
        n_labels = len(self.file.labels)
        found: list[Probabilities] = [np.empty((len(words), n_labels)) for words in sentences]
        windows = make_windows(self._encoder.tokenizer, sentences, self.file.max_tokens)
        pieces = [window.pieces for window in windows]
        for indices, _, encoded in self._encoder.encode_batches(pieces, with_states=True):
            assert encoded.states is not None  # they were asked for
            for row, index in enumerate(indices):
                window = windows[index]
                kept = self._head.log_probabilities(encoded.states[row, window.firsts])
                end = window.keep_start + len(kept)
                found[window.sentence][window.keep_start : end] = kept
        return found


def open_tagger(folder: Path, file: HeadFile, options: HeadOptions) -> Tagger:
    """Open a folder that `finetune tag` made.

    Raises:
        ModelError: the folder is damaged.
        EngineError: the device is not there, or the precision is not torch's.
    """
    encoder = open_head_encoder(folder, file, options)
    width = open_checkpoint(str(folder)).hidden_width
    head = load_linear(folder, n_labels=len(file.labels), width=width)
    return Tagger(file, encoder, head)
