"""JSON values to records, by the types that the records declare and nothing looser."""

from __future__ import annotations

import functools
import math
import types
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def decode(kind: type[Record], value: Any, where: str = "") -> Record:
    """A record from what `dataclasses.asdict` and JSON made of one.

    Args:
        kind: a dataclass of numbers, truths, texts, enums, tuples, dictionaries by text, and
            dataclasses.
        value: what JSON holds.
        where: name of the value in messages.

    Raises:
        ValueError: the value is not what the type says. Whole numbers are counts here, so a
            negative one is refused too.
    """
    decoded: Record = _decode(kind, value, where)
    return decoded


def _decode(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _record(kind, value, where)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        [some] = [part for part in parts if part is not type(None)]
        return None if value is None else _decode(some, value, where)
    if origin is tuple and isinstance(value, list):
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        if len(kinds) == len(value):
            pairs = zip(kinds, value, strict=True)
            return tuple(_decode(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(pairs))
    elif origin is dict and isinstance(value, dict):
        return {key: _decode(parts[1], item, f"{where}.{key}") for key, item in value.items()}
    elif origin is None and _is(kind, value):
        return kind(value)
    raise ValueError(f"{where} is {_shown(value)}")


def _record(kind: Any, value: Any, where: str) -> Any:
    hints = _hints(kind)
    if not isinstance(value, dict) or set(value) != set(hints):
        raise ValueError(f"{where or 'it'} has not the fields {', '.join(hints)}")
    return kind(**{name: _decode(hints[name], value[name], f"{where}.{name}") for name in hints})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    found = get_type_hints(kind)
    return {f.name: found[f.name] for f in fields(kind) if f.init or f.default is not MISSING}


def _is(kind: Any, value: Any) -> bool:
    """Whether a plain value is of a plain type."""
    if issubclass(kind, StrEnum):
        return isinstance(value, str) and value in list(kind)
    if kind is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return kind in (str, bool) and isinstance(value, kind)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
