"""The data plane's TCP sockets: made inside a node's namespace, and set up alike at both ends."""

from __future__ import annotations

import array
import fcntl
import socket
import termios

from testbed.network.namespace import socket_in
from testbed.runtime.wire import PORT

USER_TIMEOUT_MS = 10_000
"""How long TCP may wait for an acknowledgement before it gives a connection up."""

_BACKLOG = 128


def listening(pid: int, address: str, congestion_control: str) -> socket.socket:
    """A non-blocking socket that listens on a node's address inside its namespace."""
    listener = _prepared(pid, congestion_control)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, PORT))
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


def _prepared(pid: int, congestion_control: str) -> socket.socket:
    made = socket_in(pid, socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    # Accepted connections inherit it; a machine's default may be bbr, which hides loss.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion_control.encode())
    return made
