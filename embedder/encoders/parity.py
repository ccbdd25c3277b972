"""How far an engine may be from torch at fp32, and the texts on which that is measured."""

from __future__ import annotations

import numpy as np

from embedder.errors import EngineError
from embedder.specs import Precision
from embedder.vectors import Rows

LEAST_COSINE = {Precision.FP32: 0.9999, Precision.BF16: 0.999, Precision.INT8: 0.99}
"""Smallest cosine to torch fp32 that any text of the sample may have."""

_SENTENCES = (
    "The bank raised its interest rates for the third time this year.",
    "We sat on the bank of the river and watched the boats go by.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "def mean(values): return sum(values) / len(values)",
    "In 1969 two people walked on the Moon; 600 million watched.",
    "Die Würde des Menschen ist unantastbar.",
    "El agua hierve a 100 °C al nivel del mar.",
    "吾輩は猫である。名前はまだ無い。",
    "Москва слезам не верит.",
    "An error occurred (code 0x80070005): access is denied.",
    "She sells sea shells by the sea shore.",
    "Parties may terminate this agreement with thirty days' written notice.",
    "No!",
    "42",
)

REFERENCE_TEXTS: tuple[str, ...] = (
    *_SENTENCES,
    *(" ".join(_SENTENCES[i:] + _SENTENCES[:i]) for i in range(0, len(_SENTENCES), 3)),
    *(" ".join(_SENTENCES[i : i + 3]) for i in range(len(_SENTENCES) - 2)),
    " ".join(_SENTENCES * 40),
)
"""Texts from one token to far past any usual window, in several languages and scripts."""


def least_cosine(rows: Rows, reference: Rows) -> float:
    """Smallest cosine between matching unit rows, both of shape (n, width)."""
    return float(np.einsum("ij,ij->i", rows, reference, dtype=np.float64).min())


def check_parity(precision: Precision, found: float, *, engine: str, model: str) -> None:
    """Raise EngineError if a measured cosine is below the floor of its precision."""
    floor = LEAST_COSINE[precision]
    if not found >= floor:  # so that NaN fails too
        better = "bf16 or fp32" if precision is Precision.INT8 else "fp32"
        hint = (
            "Use --engine torch." if precision is Precision.FP32 else f"Use --precision {better}."
        )
        raise EngineError(
            f"{engine} at {precision} is too far from torch at fp32 for the model {model}: "
            f"the least cosine over the sample is {found:.4f}, and at least {floor} is wanted.",
            hint,
        )
