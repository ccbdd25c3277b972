"""Texts that are written for texts, such as summaries and subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedder.checkpoint import open_checkpoint
from embedder.heads.devices import open_head_device
from embedder.heads.protocol import INPUTS, HeadFile, HeadOptions, HeadTask
from embedder.heads.settings import read_settings
from embedder.heads.text_generator import GenerateSettings, TextGenerator, load_generator
from embedder.tokens import Tokenizer


class Generator:
    """Writes a text for a text; its answers are `generated`.

    Args:
        generator: what writes.
        description: the engine.
    """

    task = HeadTask.GENERATE
    inputs = INPUTS[HeadTask.GENERATE]
    schema = pa.schema([("generated", pa.string())])

    def __init__(self, generator: TextGenerator, description: str) -> None:
        self._generator, self.description = generator, description

    def predict(self, rows: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
        """See `Head.predict`."""
        texts = self._generator.generate(rows["text"])
        return pa.record_batch([pa.array(texts, pa.string())], schema=self.schema)


def open_generator(folder: Path, file: HeadFile, options: HeadOptions) -> Generator:
    """Open a folder that `finetune generate` made.

    The settings `beams`, `length_penalty`, `no_repeat_ngram` and `target_tokens` can be asked
    for in place of those in head.json.

    Raises:
        ModelError: the folder is damaged.
        EngineError: the device is not there, or the precision is not torch's.
        RequestError: a setting makes no sense.
    """
    settings = read_settings(GenerateSettings, folder, file, options)
    device, dtype, description = open_head_device(options)
    generator = TextGenerator(
        network=load_generator(folder, dtype, copy=settings.copy).to(device),
        tokenizer=Tokenizer(open_checkpoint(str(folder))),
        max_tokens=file.max_tokens,
        settings=settings,
        max_batch_tokens=options.max_batch_tokens,
    )
    beams = "1 beam" if settings.beams == 1 else f"{settings.beams} beams"
    return Generator(generator, f"{description}, {beams}")
