"""Answers to questions out of texts: where in a text the answer stands, or that it has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedder.answer_windows import WindowSpec
from embedder.checkpoint import open_checkpoint
from embedder.encoders.network import load_network
from embedder.heads.answer_reader import AnswerReader
from embedder.heads.devices import open_head_device
from embedder.heads.linear import load_linear
from embedder.heads.protocol import INPUTS, HeadFile, HeadOptions, HeadTask
from embedder.heads.settings import read_settings
from embedder.tokens import Tokenizer

SCHEMA = pa.schema(
    [
        ("answer", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("score", pa.float32()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """What head.json keeps of the task beside the window.

    Args:
        max_question_tokens: pieces of a question that are read.
        overlap: pieces of the text that two windows beside each other share.
        max_answer_tokens: pieces of the longest answer.
        null_threshold: the margin above which there is an answer; None to answer always.
    """

    max_question_tokens: int
    overlap: int
    max_answer_tokens: int
    null_threshold: float | None

    def spec(self, max_tokens: int) -> WindowSpec:
        """How texts are cut."""
        return WindowSpec(
            max_tokens=max_tokens,
            max_question_tokens=self.max_question_tokens,
            overlap=self.overlap,
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


class Answerer:
    """Finds the answer to a question in a text.

    Its answers are `answer`, as it stands in the text, `start` and `end`, its characters
    (half-open), and `score`: by how much the logits of its ends are above those of no answer. All
    but the score are null where the text has no answer.

    Args:
        reader: finds the best span.
        null_threshold: the score above which it is the answer; None for always.
        description: the engine.
    """

    task = HeadTask.ANSWER
    inputs = INPUTS[HeadTask.ANSWER]
    schema = SCHEMA

    def __init__(
        self, reader: AnswerReader, null_threshold: float | None, description: str
    ) -> None:
        self._reader, self._threshold, self.description = reader, null_threshold, description

    def predict(self, rows: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
        """See `Head.predict`."""
        contexts = rows["context"]
        answers = []
        for span, context in zip(
            self._reader.read(rows["question"], contexts), contexts, strict=True
        ):
            has_pieces = span.start < span.end
            is_sure = self._threshold is None or span.margin > self._threshold
            found = {
                "answer": context[span.start : span.end],
                "start": span.start,
                "end": span.end,
            }
            score = {"score": span.margin} if has_pieces else {}
            answers.append({**(found if has_pieces and is_sure else {}), **score})
        return pa.RecordBatch.from_pylist(answers, schema=self.schema)


def open_answerer(folder: Path, file: HeadFile, options: HeadOptions) -> Answerer:
    """Open a folder that `finetune answer` made.

    Raises:
        ModelError: the folder is damaged.
        EngineError: the device is not there, or the precision is not torch's.
    """
    settings = read_settings(AnswerSettings, folder, file, options)
    device, dtype, description = open_head_device(options)
    checkpoint = open_checkpoint(str(folder))
    spec = checkpoint.spec(max_tokens=file.max_tokens)
    network = load_network(checkpoint, spec, dtype)
    reader = AnswerReader(
        transformer=network.transformer.to(device),
        layer=load_linear(folder, n_labels=2, width=checkpoint.hidden_width),
        tokenizer=Tokenizer(checkpoint),
        spec=settings.spec(file.max_tokens),
        most_pieces=settings.max_answer_tokens,
        max_batch_tokens=options.max_batch_tokens,
    )
    return Answerer(reader, settings.null_threshold, description)
