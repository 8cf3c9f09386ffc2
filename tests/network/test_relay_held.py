"""A relay that the machine keeps from running for a while."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from testbed.documents.resolved import LinkParameters
from testbed.network.build import EmulatedNetwork
from testbed.network.prober import probed
from testbed.network.probing import Probing, Stream
from tests.network.conftest import star

pytestmark = pytest.mark.root

RATE_BPS, SIZE, PACKETS = 50e6, 1000, 12_000
QUEUE = 200_000
HELD_S = 0.060  # in which twice as much comes as the queue holds


def process_of(path: Path) -> int:
    """Who listens on a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(path))
        return int(struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def through(
    network: EmulatedNetwork, trains: Sequence[Stream], over_s: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """When the packets of trains were sent and received while the relay was held again and again."""
    relay = process_of(network.ownership.folder / "relay-1.sock")
    probing = Probing(Stream(0, 1, 40, 0.0, 1.0), tuple(trains), 0)
    ends = network.probe_end("dev1", "ap1", 0), network.probe_end("dev1", "ap1", 1)
    found: list[npt.NDArray[np.int64]] = []
    prober = threading.Thread(
        target=lambda: found.extend(probed(network.ownership.popen, [ends], [probing], over_s + 1))
    )
    prober.start()
    time.sleep(0.4)
    try:
        for _ in range(5):
            os.kill(relay, signal.SIGSTOP)
            time.sleep(HELD_S)
            os.kill(relay, signal.SIGCONT)
            time.sleep(0.2)
    finally:
        os.kill(relay, signal.SIGCONT)
    prober.join()
    sent, arrived = found[0][1:].T
    assert (sent > 0).all() and (arrived > 0).all(), f"{(arrived == 0).sum()} were lost"
    late = arrived - sent
    assert late.max() > HELD_S * 0.8e9  # it was held while packets were under way
    assert late.min() >= 0.0002e9 + SIZE * 8 / RATE_BPS * 1e9
    return sent, arrived


def test_a_saturated_link_loses_nothing_and_stays_as_fast(built: Callable[..., EmulatedNetwork]) -> None:
    network = built(star(1, LinkParameters(RATE_BPS, 0.0002, queue_bytes=QUEUE)))
    gap_s = SIZE * 8 / RATE_BPS
    sent, arrived = through(
        network, [Stream(1, PACKETS, SIZE, 0.1, gap_s, QUEUE // SIZE // 2, 5)], over_s=PACKETS * gap_s
    )
    rate_bps = (PACKETS - 1) * SIZE * 8 / ((arrived[-1] - arrived[0]) / 1e9)
    assert rate_bps < 1.01 * RATE_BPS and (arrived - sent)[-1000:].max() < HELD_S * 0.8e9


def test_a_link_that_was_idle_loses_nothing(built: Callable[..., EmulatedNetwork]) -> None:
    """What comes while it is held is three times what the queue holds, and half of what the link could carry."""
    network = built(star(1, LinkParameters(RATE_BPS, 0.0002, queue_bytes=60_000)))
    trains = [Stream(1 + 30 * k, 30, SIZE, 0.1 + 0.010 * k, 0.0, 30) for k in range(180)]
    through(network, trains, over_s=2.0)
