"""Ways to damage a file, each chosen by a seed so that a failure can be had again."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

FOOTER_TAIL = 8
"""Bytes of a Parquet file after its footer: the footer's length and a magic word."""

INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


def damaged(content: bytes, others: Sequence[bytes], seed: int) -> bytes:
    """A file with one or a few kinds of damage; the half of them as slight as can be."""
    chance = random.Random(seed)
    data = bytearray(content)
    if chance.random() < 0.5:
        for _ in range(chance.choice((1, 1, 2, 3))):
            nudge(data, others, chance)
        return bytes(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        if len(data) > FOOTER_TAIL:
            chance.choice(DAMAGES)(data, others, chance)
    return bytes(data)


def nudge(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """Change one byte a little, in the footer rather than in the pages."""
    place = chance.randrange(chance.choice((0, footer_start(data))), len(data))
    changed = (data[place] ^ 1 << chance.randrange(8), data[place] + 1, data[place] - 1)
    data[place] = chance.choice((*changed, *INTERESTING)) % 256


def flip(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """Flip some bits anywhere."""
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwrite_footer(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """Overwrite some bytes of the footer, its length and the magic word included."""
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        value = chance.choice((*INTERESTING, chance.randrange(256)))
        data[chance.randrange(footer_start(data), len(data))] = value


def truncate(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """Cut off the end."""
    del data[chance.randrange(len(data)) :]


def cut_out(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """Remove a piece."""
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 4, 50, 1000))]


def paste(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """Put in a piece of another file, over what is there or before it."""
    other, size = chance.choice(others), chance.choice((4, 50, 500))
    start, place = chance.randrange(len(other)), chance.randrange(len(data))
    piece = other[start : start + size]
    data[place : place + chance.choice((0, len(piece)))] = piece


def fill(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """Overwrite a stretch with one value."""
    place, size = chance.randrange(len(data)), chance.choice((1, 4, 8, 100))
    data[place : place + size] = bytes([chance.choice(INTERESTING)]) * size


def lie_about_footer(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """Give the footer another length."""
    (length,) = struct.unpack("<I", data[-8:-4])
    near = (length - 1, length + 1, length * 2, len(data), len(data) - 8, len(data) - 12)
    value = chance.choice((0, 1, 2**31 - 1, 2**32 - 1, chance.randrange(2**32), *near))
    data[-8:-4] = struct.pack("<I", value % 2**32)


def swap_footer(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """Give the file the footer of another one."""
    other = chance.choice(others)
    data[footer_start(data) :] = other[footer_start(other) :]


def footer_start(data: bytes | bytearray) -> int:
    """Where a Parquet file's footer says that it starts, or some place in what is no such file."""
    (length,) = struct.unpack("<I", data[-8:-4])
    start = len(data) - FOOTER_TAIL - length
    return start if 0 <= start < len(data) else len(data) // 2


DAMAGES: tuple[Callable[[bytearray, Sequence[bytes], random.Random], None], ...] = (
    nudge,
    flip,
    overwrite_footer,
    truncate,
    cut_out,
    paste,
    fill,
    lie_about_footer,
    swap_footer,
)
