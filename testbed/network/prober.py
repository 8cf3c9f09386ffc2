"""Has the native prober send packets over links as planned, and say when each was sent and received."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

import numpy as np

from testbed.network.build import ProbeEnd
from testbed.network.errors import NetworkError
from testbed.network.measures import Times
from testbed.network.native import program
from testbed.network.probing import Probing, Stream

_FIRST_PORT = 61000
"""Where halves of directions are received, beyond the ports that Linux gives away by itself."""
_PORTS = 4000
_LATE = 3  # the prober's exit status
_LATE_S = 1.0
"""By how much a sender on another machine may put off its packets."""


class LateError(NetworkError):
    """The prober was ready only when it was to have begun."""


def probed(
    popen: Callable[..., subprocess.Popen[bytes]],
    ends: Sequence[tuple[ProbeEnd, ProbeEnd]],
    probings: Sequence[Probing],
    listen_s: float,
    begin_ns: int | None = None,
) -> list[Times]:
    """When the packets of each direction were sent and received: nanoseconds, 0 for not; shape (packets, 2) each.

    Args:
        popen: starts the prober, as `subprocess.Popen` does.
        ends: where each direction's packets are sent from, and where they are received. The process is 0 of an end that
            is on another machine, where the same is to be asked for; neither is known of a direction whose ends both
            are.
        probings: each direction's packets.
        listen_s: how long to listen from the beginning on.
        begin_ns: the beginning, on the monotonic clock; None: at once.

    Raises:
        LateError: the beginning was past when all was ready.
        NetworkError: the links could not be probed.
    """
    here = [number for number, (sender, receiver) in enumerate(ends) if sender.pid or receiver.pid]
    lines = [_direction_line(*ends[number], _FIRST_PORT + number % _PORTS, probings[number].packets) for number in here]
    for place, number in enumerate(here):
        if ends[number][0].pid:
            for stream in probings[number].streams:
                lines += _stream_lines(place, stream)
    if begin_ns is not None:
        lines.append(f"begin {begin_ns}")
    comes_from_elsewhere = any(not ends[number][0].pid for number in here)
    lines.append(f"end {(listen_s + _LATE_S * comes_from_elsewhere) * 1e9:.0f}")
    child = popen([program("prober")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    records, said = child.communicate("\n".join(lines).encode() + b"\n")
    if child.returncode == _LATE:
        raise LateError("the links could not be probed: this machine was not ready in time")
    if child.returncode != 0:
        raise NetworkError(
            f"the links could not be probed: {said.decode(errors='replace').strip() or child.returncode}"
        )
    times = np.frombuffer(records, dtype=np.int64).reshape(-1, 2)
    parts = iter(np.split(times, np.cumsum([probings[number].packets for number in here])[:-1]))
    known = set(here)
    return [
        next(parts) if number in known else np.zeros((probing.packets, 2), dtype=np.int64)
        for number, probing in enumerate(probings)
    ]


def _direction_line(sender: ProbeEnd, receiver: ProbeEnd, port: int, packets: int) -> str:
    if sender.pid and receiver.pid:
        return f"direction {sender.pid} {sender.address} {sender.name} {receiver.pid} {receiver.address} {packets}"
    if sender.pid:
        return f"sender {sender.pid} {sender.address} {sender.name} {receiver.address} {port} {packets}"
    return f"receiver {receiver.pid} {receiver.address} {port} {packets}"


def _stream_lines(number: int, stream: Stream) -> list[str]:
    """A stream in the prober's words: what is sent at once, then the rest."""
    start_ns, gap_ns, rest = stream.start_s * 1e9, stream.gap_s * 1e9, stream.count - stream.at_once
    leeway_ns = stream.leeway_s * 1e9

    def words(first: int, count: int, start_ns: float, together: int) -> str:
        return f"stream {number} {first} {count} {stream.size} {start_ns:.0f} {gap_ns:.0f} {together} {leeway_ns:.0f}"

    at_once = words(stream.first, stream.at_once, start_ns, stream.at_once)
    if rest <= 0:
        return [at_once]
    return [at_once, words(stream.first + stream.at_once, rest, start_ns + gap_ns, stream.together)]
