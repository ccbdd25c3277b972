"""Text in, vectors out: corpus reading, tokens, encoders and pooling.

Importing this package loads nothing heavy; `open_encoder` loads an engine when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedder.errors import EmbedderError

if TYPE_CHECKING:
    from embedder.encoders import EncoderOptions, TextEncoder, open_encoder
    from embedder.specs import TextKind

__all__ = ["EmbedderError", "EncoderOptions", "TextEncoder", "TextKind", "open_encoder"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("EncoderOptions", "TextEncoder", "open_encoder"):
        import embedder.encoders

        return getattr(embedder.encoders, name)
    if name == "TextKind":
        from embedder.specs import TextKind

        return TextKind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
