"""Numbers as people read them."""

from __future__ import annotations


def plural(n: int, noun: str) -> str:
    """`1 document`, `5,000 documents`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def bytes_text(n: int) -> str:
    """`7.9 MB`."""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def memory_text(n: int) -> str:
    """`4 GiB`, as memory is counted."""
    value = float(n)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"


def clock(seconds: float) -> str:
    """`12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def number_lines(counts: dict[str, int]) -> list[str]:
    """Indented lines of those counts that are not zero."""
    return [f"  {reason}: {n:,}" for reason, n in counts.items() if n]
