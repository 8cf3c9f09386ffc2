"""The payload of a split inference: a header that says what it is, and the coded symbols."""

from __future__ import annotations

import struct
import zlib

import msgspec

from testbed.aecnn.entropy_coder import CodeError, EntropyCoder, Symbols

VERSION = 2
_HEADER = struct.Struct("<B4sBII")  # version, checkpoint, operating point, image, CRC-32 of all the rest
HEADER_BYTES = _HEADER.size


class PayloadError(ValueError):
    """A payload that is damaged, or was made of another photograph, with another checkpoint or operating point."""


class Identity(msgspec.Struct, frozen=True):
    """What a payload is of."""

    checkpoint: str  # SHA-256 of the file, hexadecimal; the header holds its first eight digits
    point: int  # the operating point's place among the checkpoint's, below 256
    image: int  # the photograph's number among those of the run


def pack(symbols: Symbols, coder: EntropyCoder, identity: Identity) -> bytes:
    """`[k, positions]` symbols to a payload."""
    coded = coder.encode(symbols)
    return _header(identity, coded) + coded


def unpack(payload: bytes, coder: EntropyCoder, identity: Identity, positions: int) -> Symbols:
    """The symbols `[k, positions]` that `pack` was given, in time and memory bounded by those, whatever the bytes.

    Raises:
        PayloadError: the payload is damaged, or is not of this identity.
    """
    if len(payload) < HEADER_BYTES:
        raise PayloadError(f"payload of {len(payload)} bytes is shorter than its header of {HEADER_BYTES}")
    version, prefix, point, image, _ = _HEADER.unpack_from(payload)
    if version != VERSION:
        raise PayloadError(f"payload is of version {version}, this is {VERSION}")
    if prefix != _prefix(identity):
        raise PayloadError(f"payload was made with checkpoint {prefix.hex()}..., this is {_prefix(identity).hex()}...")
    if point != identity.point:
        raise PayloadError(f"payload is of operating point {point} of the checkpoint, this is {identity.point}")
    if image != identity.image:
        raise PayloadError(f"payload is of photograph {image}, this is {identity.image}")
    most = HEADER_BYTES + coder.most_bytes(positions)
    if len(payload) > most:
        raise PayloadError(f"payload of {len(payload)} bytes; at this operating point there are at most {most}")
    coded = payload[HEADER_BYTES:]
    if payload[:HEADER_BYTES] != _header(identity, coded):
        raise PayloadError("payload is damaged: its checksum does not match")
    try:
        return coder.decode(coded, positions)
    except CodeError as error:
        raise PayloadError(f"payload is damaged: {error}") from None


def _header(identity: Identity, coded: bytes) -> bytes:
    fields = (VERSION, _prefix(identity), identity.point, identity.image)
    return _HEADER.pack(*fields, zlib.crc32(_HEADER.pack(*fields, 0) + coded))


def _prefix(identity: Identity) -> bytes:
    return bytes.fromhex(identity.checkpoint[:8])
