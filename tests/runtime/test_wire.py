import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.jobs.decision import Kind, OperatingPoint, Option
from testbed.runtime.wire import MAX_PAYLOAD_BYTES, PREFIX_BYTES, Reply, Request, WireError, frame, read_frame

REQUEST = Request(7, 1, 3, Option(Kind.SPLIT, "aecnn", OperatingPoint("layer3", 16, 4)))


def read(data: bytes) -> tuple[object, bytes]:
    async def main() -> tuple[object, bytes]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await read_frame(reader)

    return asyncio.run(main())


@given(st.binary(max_size=5000), st.integers(0, 2**31), st.integers(1, 3))
def test_what_is_framed_is_read(payload: bytes, job_id: int, attempt: int) -> None:
    request = Request(job_id, attempt, 5, REQUEST.option)
    assert read(frame(request, payload)) == (request, payload)


def test_a_reply_is_read() -> None:
    reply = Reply(7, None, "no", 1.0, 2.0, 3.0, 4.0)
    assert read(frame(reply)) == (reply, b"")


@given(st.integers(0, 8 * len(frame(REQUEST, b"payload")) - 1))
def test_a_flipped_bit_is_found(bit: int) -> None:
    data = bytearray(frame(REQUEST, b"payload"))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises((WireError, asyncio.IncompleteReadError)):
        read(bytes(data))


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises((WireError, asyncio.IncompleteReadError)):
        read(data)


def test_an_endless_frame_is_refused_before_it_is_read() -> None:
    prefix = struct.pack(">4sHII", b"TBF1", 10, MAX_PAYLOAD_BYTES + 1, 0)
    assert len(prefix) == PREFIX_BYTES
    with pytest.raises(WireError, match="larger than the wire allows"):
        read(prefix)  # were more than the prefix waited for, this would be an incomplete read
    with pytest.raises(WireError, match="larger than the wire allows"):
        frame(REQUEST, bytes(MAX_PAYLOAD_BYTES + 1))
