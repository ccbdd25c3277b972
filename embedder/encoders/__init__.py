"""One `Encoder` protocol, several engines, and the choice among them."""

from __future__ import annotations

from embedder.encoders.choice import EncoderOptions, open_encoder
from embedder.encoders.protocol import Encoder
from embedder.encoders.text import TextEncoder

__all__ = ["Encoder", "EncoderOptions", "TextEncoder", "open_encoder"]
