"""One label for each text or pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedder.encoders import TextEncoder
from embedder.heads.columns import label_text, label_type
from embedder.heads.encoder import open_head_encoder
from embedder.heads.inputs import encode_inputs
from embedder.heads.linear import LinearHead, Probabilities, load_linear
from embedder.heads.protocol import INPUTS, HeadFile, HeadOptions, HeadTask

PROBABILITIES = "probabilities"
"""The setting that asks for the probabilities of all labels, and their column."""


class Classifier:
    """A linear layer over the model's vector of a text.

    Its answers are `label`, of the type that the labels had in training, `score`, the label's
    probability, and if they are asked for `probabilities`, a structure with those of all labels.

    Args:
        file: what head.json says.
        encoder: texts to vectors.
        head: vectors to labels.
        all_probabilities: answer with those of all labels too.
    """

    def __init__(
        self,
        file: HeadFile,
        encoder: TextEncoder,
        head: LinearHead,
        *,
        all_probabilities: bool = False,
    ) -> None:
        self.file = file
        self._encoder, self._head = encoder, head
        self._all = all_probabilities
        columns = [("label", label_type(file.labels)), ("score", pa.float32())]
        self._struct = pa.struct([(label_text(label), pa.float32()) for label in file.labels])
        if all_probabilities:
            columns.append((PROBABILITIES, self._struct))
        self.schema = pa.schema(columns)

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
        found = self.probabilities(rows)
        chosen = found.argmax(1)
        labels = [self.file.labels[i] for i in chosen]
        scores = found[np.arange(len(found)), chosen].astype(np.float32)
        columns = [pa.array(labels, self.schema.field("label").type), pa.array(scores)]
        if self._all:
            each = [pa.array(column.astype(np.float32)) for column in found.T]
            columns.append(pa.StructArray.from_arrays(each, fields=list(self._struct)))
        return pa.record_batch(columns, schema=self.schema)

    def probabilities(self, rows: Mapping[str, Sequence[Any]]) -> Probabilities:
        """Probabilities of the labels in the order of head.json, shape (n_rows, n_labels)."""
        sides = [rows[role] for role in self.inputs]
        pieces = encode_inputs(self._encoder.tokenizer, sides, self.file.max_tokens).pieces
        vectors = self._encoder.encode_pieces(pieces)
        found = np.empty((len(pieces), len(self.file.labels)))
        for row, vector in enumerate(vectors):  # alone, so that nothing depends on the others
            found[row] = np.exp(self._head.log_probabilities(vector[None])[0])
        return found


def open_classifier(folder: Path, file: HeadFile, options: HeadOptions) -> Classifier:
    """Open a folder that `finetune classify` or `finetune classify-pairs` made.

    Raises:
        ModelError: the folder is damaged.
        EngineError: the device is not there, or the precision is not torch's.
    """
    encoder = open_head_encoder(folder, file, options)
    head = load_linear(folder, n_labels=len(file.labels), width=encoder.encoder.spec.width)
    settings = {**file.settings, **options.settings}
    return Classifier(
        file, encoder, head, all_probabilities=bool(settings.get(PROBABILITIES, False))
    )
