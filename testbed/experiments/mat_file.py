"""Matrices of real numbers from MATLAB's files of version 5, as DROO's data are published.

The format: "MAT-File Format", MathWorks. After 128 bytes of header come elements: type, size, data, to a multiple of 8
bytes; a size of at most 4 may share the first word with the type. A matrix is an element of elements: flags,
dimensions, name, values. Elements may be compressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}


class MatFileError(ValueError):
    """A file that cannot be read."""


def load_matrices(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    """The matrices of a file by their names.

    Raises:
        MatFileError: it is no such file.
        OSError: it cannot be opened.
    """
    data = path.read_bytes()
    if not data.startswith(b"MATLAB 5.0") or data[126:128] != b"IM":
        raise MatFileError(f"{path}: not a little-endian MATLAB file of version 5")
    try:
        return dict(_matrix(body) for kind, body in _elements(data[_HEADER:]) if kind == _MATRIX)
    except (struct.error, zlib.error, ValueError, KeyError) as error:
        raise MatFileError(f"{path}: cannot be read: {error}") from None


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, place)
        if kind >> 16:  # a small one: its size in the upper half, its data in the second word
            kind, size, start, after = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        else:
            start = place + 8
            after = start + size if kind == _COMPRESSED else start + -(-size // 8) * 8
        if start + size > len(data):
            raise ValueError("it ends too early")
        if kind == _COMPRESSED:
            yield from _elements(zlib.decompress(data[start : start + size]))
        else:
            yield kind, data[start : start + size]
        place = after


def _matrix(body: bytes) -> tuple[str, npt.NDArray[np.float64]]:
    _, (_, dimensions), (_, name), (kind, values), *_ = _elements(body)
    shape = np.frombuffer(dimensions, "<i4")
    numbers = np.frombuffer(values, _NUMBERS[kind]).astype(np.float64)
    return name.decode("ascii"), numbers.reshape(shape, order="F")
