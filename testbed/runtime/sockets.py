"""The data plane's TCP sockets: made inside a node's namespace, and set up alike at both ends."""

from __future__ import annotations

import array
import fcntl
import socket
import termios
from asyncio import trsock

from testbed.network.namespace import socket_in
from testbed.runtime.wire import PORT

USER_TIMEOUT_MS = 10_000
"""How long TCP may wait for an acknowledgement before it gives a connection up."""

_BACKLOG = 128
_TCP_REPAIR = 19  # linux/tcp.h
_TCP_INFO_BYTES = 512  # more than any kernel tells


def listening(pid: int, congestion_control: str) -> socket.socket:
    """A non-blocking socket that listens on all of a node's addresses, inside its namespace."""
    listener = _prepared(pid, congestion_control)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", PORT))
    listener.listen(_BACKLOG)
    return listener


def connecting(pid: int, address: str, congestion_control: str) -> socket.socket:
    """A non-blocking socket inside a node's namespace, bound to its address and not yet connected."""
    made = _prepared(pid, congestion_control)
    made.bind((address, 0))
    return made


def unacknowledged_bytes(connected: socket.socket) -> int:
    """What was handed to the socket and the other side has not acknowledged."""
    answer = array.array("i", [0])
    fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, answer)
    return answer[0]


class Handle:
    """A second handle on a connection, which asyncio cannot close: until it ends, TCP's counts can be read."""

    def __init__(self, connection: socket.socket | trsock.TransportSocket) -> None:
        self._socket = connection.dup()

    def end(self, *, silently: bool) -> bytes:
        """Let go of the connection; asyncio's own handle should be closed next. Returns its `tcp_info`.

        Args:
            silently: as when a node is switched off: nothing more is sent, not even that the connection is over.
        """
        if silently:
            self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        self._socket.close()
        return info


def _prepared(pid: int, congestion_control: str) -> socket.socket:
    made = socket_in(pid, socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    # Accepted connections inherit it; a machine's default may be bbr, which hides loss.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion_control.encode())
    return made
