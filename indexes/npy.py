"""Contents of .npy files, and their headers where the number of rows is known only at the end."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

NPY_HEADER_BYTES = 192
"""Room for the header of a .npy file of any number of rows, so it can be written at the end."""


def npy_header(kind: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The header of a version 1.0 .npy file, padded to NPY_HEADER_BYTES (NumPy's NEP 1)."""
    description = np.lib.format.dtype_to_descr(kind)
    values = f"{{'descr': {description!r}, 'fortran_order': False, 'shape': {shape}, }}"
    body = values.encode("latin1").ljust(NPY_HEADER_BYTES - 11) + b"\n"
    if len(body) != NPY_HEADER_BYTES - 10:
        raise ValueError(f"a header of {len(body)} bytes does not fit")
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    """The whole content of a .npy file."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()
