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


def probed(
    popen: Callable[..., subprocess.Popen[bytes]],
    ends: Sequence[tuple[ProbeEnd, ProbeEnd]],
    probings: Sequence[Probing],
    listen_s: float,
) -> list[Times]:
    """When the packets of each direction were sent and received: nanoseconds, 0 for not; shape (packets, 2) each.

    Args:
        popen: starts the prober, as `subprocess.Popen` does.
        ends: where each direction's packets are sent from, and where they are received.
        probings: each direction's packets.
        listen_s: how long to listen from the beginning on.

    Raises:
        NetworkError: the links could not be probed.
    """
    lines = [
        f"direction {sender.pid} {sender.address} {sender.name} {receiver.pid} {receiver.address} {probing.packets}"
        for (sender, receiver), probing in zip(ends, probings, strict=True)
    ]
    for number, probing in enumerate(probings):
        for stream in probing.streams:
            lines += _stream_lines(number, stream)
    lines.append(f"end {listen_s * 1e9:.0f}")
    child = popen([program("prober")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    records, said = child.communicate("\n".join(lines).encode() + b"\n")
    if child.returncode != 0:
        raise NetworkError(
            f"the links could not be probed: {said.decode(errors='replace').strip() or child.returncode}"
        )
    times = np.frombuffer(records, dtype=np.int64).reshape(-1, 2)
    return np.split(times, np.cumsum([probing.packets for probing in probings])[:-1])


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
