"""A relay that the machine keeps from running for a while."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
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


def test_a_saturated_link_loses_nothing_and_stays_as_fast(built: Callable[..., EmulatedNetwork]) -> None:
    network = built(star(1, LinkParameters(RATE_BPS, 0.0002, queue_bytes=QUEUE)))
    relay = process_of(network.ownership.folder / "relay.sock")
    gap_s = SIZE * 8 / RATE_BPS
    probing = Probing(Stream(0, 1, 40, 0.0, 1.0), (Stream(1, PACKETS, SIZE, 0.1, gap_s, QUEUE // SIZE // 2, 5),), 0)
    ends = network.probe_end("dev1", "ap1", 0), network.probe_end("dev1", "ap1", 1)
    found: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = []
    over = PACKETS * gap_s
    prober = threading.Thread(target=lambda: found.extend(probed(network.ownership.popen, [ends], [probing], over + 1)))
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
    late = arrived - sent
    assert (sent > 0).all() and (arrived > 0).all(), f"{(arrived == 0).sum()} were lost"
    assert late.max() > HELD_S * 0.8e9  # it was held while packets were under way
    rate_bps = (PACKETS - 1) * SIZE * 8 / ((arrived[-1] - arrived[0]) / 1e9)
    assert rate_bps < 1.01 * RATE_BPS and late[-1000:].max() < HELD_S * 0.8e9
    assert late.min() >= 0.0002e9 + gap_s * 1e9
