"""The process that makes planned changes of traffic control, each at its instant."""

from __future__ import annotations

import os
import selectors
import struct
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

from testbed.network.errors import NetworkError
from testbed.network.native import program
from testbed.network.ownership import Ownership
from testbed.network.rtnetlink import Request

_CHANGE = struct.Struct("=qII")
_PART = struct.Struct("=II")
_RECORD = struct.Struct("=qIHH")
_FORGET = 0xFFFFFFFF


class Record(NamedTuple):
    """What became of a planned change: when it was made, on the monotonic clock, or before that why it was not."""

    number: int
    done_ns: int
    refusal: str | None


class Changer:
    """The process `changer`; it ends when it is closed, and with its starter."""

    def __init__(self, ownership: Ownership) -> None:
        self._child = ownership.popen(
            [program("changer")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        self._unread = b""
        self._records: list[Record] = []

    def plan(self, at_ns: int, number: int, requests: Sequence[tuple[int, Request]]) -> bytes:
        """A change for `send`: at an instant, what is to be asked of the kernel in which process's namespace."""
        parts: dict[int, bytes] = {}
        for pid, request in requests:
            parts[pid] = parts.get(pid, b"") + request.message(number)
        body = b"".join(_PART.pack(pid, len(messages)) + messages for pid, messages in parts.items())
        return _CHANGE.pack(at_ns, number, len(body)) + body

    def send(self, changes: Sequence[bytes]) -> None:
        """Hands changes over.

        Raises:
            NetworkError: the process has ended.
        """
        assert self._child.stdin
        rest = memoryview(b"".join(changes))
        try:
            while rest:
                rest = rest[self._child.stdin.write(rest) :]
        except BrokenPipeError:
            raise self._ended() from None

    def done(self) -> list[Record]:
        """What was done since the last call.

        Raises:
            NetworkError: the process has ended.
        """
        self._read(0.0)
        records, self._records = self._records, []
        return records

    def cancel(self) -> None:
        """Forgets what is planned. What `done` tells afterwards is all that was done.

        Raises:
            NetworkError: the process has ended, or does not answer.
        """
        self.send([_CHANGE.pack(0, _FORGET, 0)])
        until = time.monotonic() + 10
        while not (self._records and self._records[-1].number == _FORGET):
            if time.monotonic() > until:
                raise NetworkError("the process that makes planned changes does not answer: take the testbed down")
            self._read(until - time.monotonic())
        self._records.pop()

    def _read(self, wait_s: float) -> None:
        assert self._child.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            while selector.select(wait_s):
                data = os.read(self._child.stdout.fileno(), 65536)
                if not data:
                    raise self._ended()
                self._unread += data
                wait_s = 0.0
        at = 0
        while len(self._unread) - at >= _RECORD.size:
            done_ns, number, error, length = _RECORD.unpack_from(self._unread, at)
            if len(self._unread) - at < _RECORD.size + length:
                break
            words = self._unread[at + _RECORD.size : at + _RECORD.size + length].decode(errors="replace")
            self._records.append(Record(number, done_ns, (words or os.strerror(error)) if error else None))
            at += _RECORD.size + length
        self._unread = self._unread[at:]

    def _ended(self) -> NetworkError:
        return NetworkError("the process that makes planned changes has ended: the testbed was damaged; take it down")

    def close(self) -> None:
        """Ends the process."""
        assert self._child.stdin and self._child.stdout
        self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()
