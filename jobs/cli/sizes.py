"""Sizes as people type them."""

from __future__ import annotations

import re
from typing import Any

import click

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class MemorySize(click.ParamType[int]):
    """Bytes, with K, M, G or T for powers of 1,024: `4G`, `500M`, `1.5GiB`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", str(value).strip().lower())
        n_bytes = int(float(found[1]) * UNITS[found[2]]) if found else 0
        if n_bytes < 1:
            self.fail(f"{value!r} is not a size; give 4G or 500M, say.", param, ctx)
        return n_bytes


MEMORY = MemorySize()
