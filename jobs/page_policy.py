"""What a page that we write may load: its own style and script, and nothing else from anywhere."""

from __future__ import annotations

import base64
import hashlib


def page_policy(style: str, script: str | None = None) -> str:
    """A Content-Security-Policy that allows a style and a script by their digests."""
    rules = ["default-src 'none'", f"style-src {_digest(style)}"]
    if script is not None:
        rules.append(f"script-src {_digest(script)}")
    return "; ".join(
        [
            *rules,
            "img-src data:",  # the empty icon, for which a browser would ask the server
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
