"""The relay's control socket, spoken to rudely."""

from __future__ import annotations

import random
import socket
import stat
from collections.abc import Callable

import pytest

from testbed.documents.resolved import LinkParameters
from testbed.network.build import EmulatedNetwork
from testbed.network.relay import RelayLinks
from tests.network.conftest import star

pytestmark = pytest.mark.root

RUDE = [
    b"",
    b"\0",
    b"set",
    b"set 0 0",
    b"set 99999 0 1 1 1 0 0 1",
    b"set -1 0 1 1 1 0 0 1",
    b"set 0 2 1e6 0 0 0 0 1000",
    b"set 0 0 nan 0 0 0 0 1000",
    b"set 0 0 inf 0 0 0 0 1000",
    b"set 0 0 -5 0 0 0 0 1000",
    b"set 0 0 1e6 -1 0 0 0 1000",
    b"set 0 0 1e6 0 0 1.5 0 1000",
    b"set 0 0 1e6 0 0 nan 0 1000",
    b"set 0 0 1e6 0 0 0.1 0.5 1000",
    b"set 0 0 1e6 0 0 0.1 nan 1000",
    b"set 0 0 1e6 0 0 0.9 2 1000",
    b"set 0 0 1e6 0 0 0 0 1000 and more",
    b"air",
    b"air 0 0 1e6",  # it is in use
    b"air 9 0 1e6",
    b"air 0 -1 1e6",
    b"air 0 99999 1e6",
    b"air 0 1 nan",
    b"plan",
    b"plan x",
    b"plan " + bytes(71),
    b"plan " + bytes(72),  # no rate
    b"plan " + b"\xff" * 72,
    b"plan " + b"\x7f" * 72 * 5,
    b"plan " + bytes(65_536),
    b"done now",
    b"done\0",
    b"cancel all",
    b"get 12345678901234567890",
    b"get x",
    b"add 7 0 eth0 0 eth0 1",
    b"add 8 1 averyveryverylonginterfacename 1 b 1",
    b"%s%s%s%n",
    b"A" * 511,
    b"A" * 60_000,
]


def test_rudeness_is_answered_with_errors_and_changes_nothing(built: Callable[..., EmulatedNetwork]) -> None:
    network = built(star(1, LinkParameters(10e6, 0.001)))
    path = network.ownership.folder / "relay-1.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = network.readings()
    draw = random.Random(3)
    noise = [draw.randbytes(draw.randrange(1, 300)) for _ in range(200)]
    for request in RUDE + noise:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(path))
            client.settimeout(10)
            client.send(request)
            if request:
                assert client.recv(1000).startswith(b"error ")
    hanging = []
    for _ in range(100):  # more than it takes; the rest are turned away
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(str(path))  # waits for room; with a time limit it would not
        hanging.append(client)
    for client in hanging:
        client.close()
    assert network.readings() == before and network.applied() == []
    again = RelayLinks.attach(network.ownership)
    assert again.realtime
    again.close()
