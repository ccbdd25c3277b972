"""What a static model holds: a vector and a weight for each piece, in a folder like any model's.

config.json              model_type `static`, hidden_size, vocab_size, how it was distilled
model.safetensors        vectors float32 (n_pieces, width), weights float32 (n_pieces,), and empty
                         float32 (width,): the vector of a text without a piece of any weight
tokenizer.json           the teacher's, as it is
sentence_bert_config.json
                         the longest text, in pieces, and whether texts are lower-cased before
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from embedder.checkpoint import STATIC_MODEL_TYPE, Checkpoint
from embedder.errors import ModelError, cause_of
from embedder.tokens import tokenizer_json
from embedder.vectors import Rows

WEIGHTS_FILE = "model.safetensors"
NAMES = ("vectors", "weights", "empty")


@dataclass(frozen=True)
class StaticTable:
    """Vectors of the pieces of a vocabulary.

    Args:
        vectors: float32, shape (n_pieces, width), finite.
        weights: what each counts in a mean, float32, shape (n_pieces,), finite, not negative.
        empty: the vector of a text without a piece of any weight, float32, shape (width,), of unit
            length.

    Raises:
        ValueError: a shape, type or value is wrong.
    """

    vectors: Rows
    weights: Rows
    empty: Rows

    def __post_init__(self) -> None:
        arrays = (self.vectors, self.weights, self.empty)
        shapes = [array.shape for array in arrays]
        if self.vectors.ndim != 2 or shapes[1:] != [self.vectors.shape[:1], self.vectors.shape[1:]]:
            raise ValueError(f"vectors, weights and empty have the shapes {shapes}")
        if any(array.dtype != np.float32 for array in arrays):
            raise ValueError("float32 is wanted")
        if not all(np.isfinite(array).all() for array in arrays) or (self.weights < 0).any():
            raise ValueError("a value is not finite, or a weight is negative")
        if abs(float(np.linalg.norm(self.empty)) - 1) > 1e-3:
            raise ValueError("the vector of an empty text is not of unit length")

    @property
    def n_pieces(self) -> int:
        """Pieces of the vocabulary."""
        return int(self.vectors.shape[0])

    @property
    def width(self) -> int:
        """Components of a vector."""
        return int(self.vectors.shape[1])


def read_static_table(checkpoint: Checkpoint) -> StaticTable:
    """The vectors of a static model.

    Raises:
        ModelError: they cannot be read, or are not those of a static model.
    """
    [path] = checkpoint.weight_files
    try:
        found = load_file(path)
        table = StaticTable(*(found[name] for name in NAMES))
        if table.width != checkpoint.width:
            raise ValueError(f"config.json says {checkpoint.width} components, not {table.width}")
    except KeyError as error:
        raise ModelError(
            f"{path} lacks {error}; a static model holds {', '.join(NAMES)}.",
            "Copy the model folder again, or distil it anew.",
        ) from error
    except (OSError, TypeError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"The vectors in {path} cannot be read: {cause_of(error)}.",
            "Copy the model folder again, or distil it anew.",
        ) from error
    return table


def write_static_model(
    folder: Path, table: StaticTable, teacher: Checkpoint, made: Mapping[str, Any]
) -> None:
    """Write a static model into a folder that is there.

    Args:
        folder: where to.
        table: the vectors.
        teacher: whose tokenizer and window it takes.
        made: how it was made, for config.json.

    Raises:
        OSError: the disk does not take it.
    """
    config = {
        "model_type": STATIC_MODEL_TYPE,
        "hidden_size": table.width,
        "vocab_size": table.n_pieces,
        "pad_token_id": teacher.pad_id,
        **made,
    }
    settings = {"max_seq_length": teacher.max_tokens, "do_lower_case": teacher.use_lower_case}
    arrays = {"vectors": table.vectors, "weights": table.weights, "empty": table.empty}
    (folder / WEIGHTS_FILE).write_bytes(save(arrays))
    (folder / "tokenizer.json").write_bytes(tokenizer_json(teacher))
    for name, content in (("config.json", config), ("sentence_bert_config.json", settings)):
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / name).write_text(text + "\n", "utf-8")
