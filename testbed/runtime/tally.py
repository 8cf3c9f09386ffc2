"""What the data plane's connections have sent, by TCP's own count: what a run's byte proof rests on."""

from __future__ import annotations

import struct

import msgspec

_OPTIONS, _TIMESTAMPS = 5, 1
_SENT = struct.Struct("=QQ")  # bytes sent, and of these retransmitted
_WORD = struct.Struct("=I")
_PAIR = struct.Struct("=II")
_AT_RETRANSMITTED_SEGMENTS, _AT_SEGMENTS, _AT_DATA_SEGMENTS, _AT_SENT_BYTES, _AT_DISORDERED = 100, 136, 152, 200, 224
LEAST_BYTES = _AT_DISORDERED + _WORD.size
"""What a kernel must tell in its `tcp_info` (linux/tcp.h; Linux 5.5 and later do)."""

_HEADERS_BYTES = 40  # IPv4 20, TCP 20
_TIMESTAMPS_BYTES = 12
_HANDSHAKE_BYTES = 60  # a SYN, or the answer to one: headers, and 20 bytes of options


class Tally(msgspec.Struct):
    """What one node has sent to another, over however many connections. Bytes are TCP's payload unless said otherwise.

    What a node wrote and a broken connection never sent is `written_bytes` and `warm_up_bytes` less the bytes sent for
    the first time.
    """

    sender: str
    receiver: str
    written_bytes: int = 0  # frames of jobs or answers handed to sockets
    warm_up_bytes: int = 0  # frames of warm-ups
    sent_bytes: int = 0  # a retransmission counts again
    retransmitted_bytes: int = 0
    header_bytes: int = 0  # IP and TCP headers, of acknowledgements and handshakes too; no selective acknowledgements
    segments: int = 0
    received_segments: int = 0
    data_segments: int = 0  # of `segments`, and so the next: those with a payload; duplicates count
    received_data_segments: int = 0
    retransmitted_segments: int = 0
    disordered: int = 0  # segments that came out of order, each of which may have been acknowledged selectively

    @property
    def unsent_bytes(self) -> int:
        """What was handed to sockets and never sent."""
        return self.written_bytes + self.warm_up_bytes - (self.sent_bytes - self.retransmitted_bytes)

    def add(self, info: bytes, *, accepted: bool) -> None:
        """Count a connection that has ended, by its `tcp_info`; `accepted` where the other node opened it.

        Raises:
            ValueError: the kernel tells less than is needed.
        """
        if len(info) < LEAST_BYTES:
            raise ValueError(
                f"this kernel's tcp_info has {len(info)} bytes, {LEAST_BYTES} are needed: Linux 5.5 or later"
            )
        sent, retransmitted = _SENT.unpack_from(info, _AT_SENT_BYTES)
        segments, received = _PAIR.unpack_from(info, _AT_SEGMENTS)
        data_received, data_sent = _PAIR.unpack_from(info, _AT_DATA_SEGMENTS)
        header = _HEADERS_BYTES + (_TIMESTAMPS_BYTES if info[_OPTIONS] & _TIMESTAMPS else 0)
        self.sent_bytes += sent
        self.retransmitted_bytes += retransmitted
        self.segments += segments
        self.received_segments += received
        self.data_segments += data_sent
        self.received_data_segments += data_received
        self.retransmitted_segments += _WORD.unpack_from(info, _AT_RETRANSMITTED_SEGMENTS)[0]
        self.disordered += _WORD.unpack_from(info, _AT_DISORDERED)[0]
        self.header_bytes += header * segments
        if accepted:  # the answer to a SYN is sent before there is a socket that could count it
            self.segments += 1
            self.header_bytes += _HANDSHAKE_BYTES
        elif segments:
            self.header_bytes += _HANDSHAKE_BYTES - header
