"""What determines a vector: the options of encoding, as frozen values with a digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any


class Pooling(StrEnum):
    """How token states become one vector (names as sentence-transformers uses them)."""

    MEAN = "mean"
    CLS = "cls"
    MAX = "max"
    WEIGHTED = "weighted"
    """Mean weighted by position, 1 for the first token (Muennighoff 2022, SGPT)."""


class Precision(StrEnum):
    """Arithmetic class of the forward pass."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"


class Engine(StrEnum):
    """What runs the network."""

    OPENVINO = "openvino"
    TORCH = "torch"
    STATIC = "static"
    """No network: one vector a piece, for models that `embedder distil --static` makes."""


class Overflow(StrEnum):
    """What happens to a document that exceeds the encoder's window."""

    WINDOW = "window"
    TRUNCATE = "truncate"
    ERROR = "error"


class TextKind(StrEnum):
    """Which prompt a text gets: asymmetric models embed questions and passages differently."""

    QUERY = "query"
    PASSAGE = "passage"


def digest_of(value: Any) -> str:
    """Hex sha256 of a JSON-able value, the same for equal values whatever their key order."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Everything that changes a vector, and where the model was found.

    Args:
        model: how the user named the model; not part of any digest.
        weights: sha256 over configuration and weight files.
        tokenizer: sha256 of the tokenizer.
        pooling: how token states become one vector.
        layers: number of last layers whose states are averaged before pooling.
        max_tokens: window of the encoder in tokens, special tokens and prompt included.
        width: number of components of a vector.
        query_prompt: text put before each query.
        passage_prompt: text put before each passage.
        precision: arithmetic of the passages' forward pass.
        calibration: digest of the texts that calibrated int8, else empty.
    """

    model: str
    weights: str
    tokenizer: str
    pooling: Pooling
    layers: int
    max_tokens: int
    width: int
    query_prompt: str = ""
    passage_prompt: str = ""
    precision: Precision = Precision.FP32
    calibration: str = ""

    @property
    def space(self) -> str:
        """Digest of the vector space: two encoders with one space may be compared.

        Precision is left out: a bf16 or int8 vector is an approximation of the fp32 one, and
        the parity check bounds how far it is from it.
        """
        values = asdict(self)
        for name in ("model", "precision", "calibration"):
            del values[name]
        return digest_of(values)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that changes a passage's vector."""
        return digest_of([self.space, self.precision, self.calibration])

    def for_queries(self, precision: Precision) -> EncoderSpec:
        """The same space at another precision, without calibration (int8 is for passages)."""
        return replace(self, precision=precision, calibration="")

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ChunkSpec:
    """How documents become passages.

    Args:
        overflow: what happens to a document longer than the window.
        window: tokens a passage may have, special tokens and prompt included.
        stride: tokens from the start of one window to the start of the next.
    """

    overflow: Overflow
    window: int
    stride: int

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self)
