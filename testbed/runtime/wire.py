"""The data plane's frames: a bounded, checksummed header and a bounded raw payload behind it."""

from __future__ import annotations

import asyncio
import struct
import zlib

import msgspec

from testbed.jobs.decision import Option

MAX_HEADER_BYTES = 4096
MAX_PAYLOAD_BYTES = 4 * 2**20
PORT = 7700
"""Where every edge listens, inside its own namespace."""

_PREFIX = struct.Struct(">4sHII")  # magic, header bytes, payload bytes, CRC-32 of both
_MAGIC = b"TBF1"
PREFIX_BYTES = _PREFIX.size


class WireError(Exception):
    """What arrived is not a frame of ours; the connection cannot be trusted any further."""


class Request(msgspec.Struct, frozen=True, array_like=True, tag="job"):
    """A job's payload, on its way to an edge. A second attempt carries the same job id."""

    job_id: int
    attempt: int
    image: int
    option: Option


class Reply(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """An edge's answer: the predicted class or an error, and the instants of its stages (monotonic clock)."""

    job_id: int
    predicted: int | None
    error: str | None
    received_s: float
    started_s: float
    decoded_s: float
    done_s: float


class WarmUp(msgspec.Struct, frozen=True, array_like=True, tag="warm"):
    """A payload sent to open TCP's window before a run; the edge acknowledges it and drops it."""


Message = Request | Reply | WarmUp

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def frame(message: Message, payload: bytes = b"") -> bytes:
    """One message as bytes.

    Raises:
        WireError: it is larger than the other side would read.
    """
    header = _encoder.encode(message)
    if len(header) > MAX_HEADER_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        raise WireError(f"a frame of {len(header)} + {len(payload)} bytes is larger than the wire allows")
    checksum = zlib.crc32(payload, zlib.crc32(header))
    return _PREFIX.pack(_MAGIC, len(header), len(payload), checksum) + header + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[Message, bytes]:
    """The next message and its payload.

    Raises:
        WireError: the bytes are not a frame, are larger than allowed, or damaged.
        asyncio.IncompleteReadError: the connection ended.
    """
    magic, header_bytes, payload_bytes, checksum = _PREFIX.unpack(await reader.readexactly(PREFIX_BYTES))
    if magic != _MAGIC:
        raise WireError("not a frame of this protocol")
    if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise WireError(f"a frame of {header_bytes} + {payload_bytes} bytes is larger than the wire allows")
    header = await reader.readexactly(header_bytes)
    payload = await reader.readexactly(payload_bytes) if payload_bytes else b""
    if zlib.crc32(payload, zlib.crc32(header)) != checksum:
        raise WireError("the checksum does not match")
    try:
        return _decoder.decode(header), payload
    except msgspec.MsgspecError as error:
        raise WireError(f"the header cannot be read: {error}") from error
