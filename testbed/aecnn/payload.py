"""The payload of a split inference: a header that says what it is, and the coded symbols."""

from __future__ import annotations

import struct
import zlib

from testbed.aecnn.entropy_coder import CodeError, EntropyCoder, Symbols
from testbed.jobs.decision import SPLITS, OperatingPoint

VERSION = 1
_HEADER = struct.Struct("<B4sBHBI")  # version, checkpoint, split, kept channels, bits, CRC-32 of all the rest
HEADER_BYTES = _HEADER.size


class PayloadError(ValueError):
    """A payload that is damaged, or was made with another checkpoint or for another operating point."""


def pack(symbols: Symbols, coder: EntropyCoder, point: OperatingPoint, checkpoint: str) -> bytes:
    """`[k, positions]` symbols to a payload; `checkpoint` is the file's SHA-256 in hexadecimal."""
    coded = coder.encode(symbols)
    return _header(point, checkpoint, coded) + coded


def unpack(payload: bytes, coder: EntropyCoder, point: OperatingPoint, checkpoint: str, positions: int) -> Symbols:
    """The symbols `[k, positions]` that `pack` was given.

    Raises:
        PayloadError: the payload is damaged, or is not this checkpoint's and operating point's.
    """
    if len(payload) < HEADER_BYTES:
        raise PayloadError(f"payload of {len(payload)} bytes is shorter than its header of {HEADER_BYTES}")
    version, prefix, split, kept, bits, _ = _HEADER.unpack_from(payload)
    if version != VERSION:
        raise PayloadError(f"payload is of version {version}, this is {VERSION}")
    if prefix != bytes.fromhex(checkpoint[:8]):
        raise PayloadError(f"payload was made with checkpoint {prefix.hex()}..., this is {checkpoint[:8]}...")
    if (split, kept, bits) != (SPLITS.index(point.split), point.kept_channels, point.bits):
        raise PayloadError(f"payload is of another operating point than {point}")
    coded = payload[HEADER_BYTES:]
    if payload[:HEADER_BYTES] != _header(point, checkpoint, coded):
        raise PayloadError("payload is damaged: its checksum does not match")
    try:
        return coder.decode(coded, positions)
    except CodeError as error:
        raise PayloadError(f"payload is damaged: {error}") from None


def _header(point: OperatingPoint, checkpoint: str, coded: bytes) -> bytes:
    fields = (VERSION, bytes.fromhex(checkpoint[:8]), SPLITS.index(point.split), point.kept_channels, point.bits)
    return _HEADER.pack(*fields, zlib.crc32(_HEADER.pack(*fields, 0) + coded))
