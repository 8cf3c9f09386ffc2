"""Losses in bursts, through the relay."""

from __future__ import annotations

import itertools
import math
import socket
import time
from collections.abc import Callable

import pytest

from testbed.documents.resolved import LinkParameters
from testbed.network.build import EmulatedNetwork
from tests.network.conftest import star
from tests.network.test_links import sockets

pytestmark = pytest.mark.root
FAST = LinkParameters(100e6)
SIX_SIGMA = 6.0


def arrived(network: EmulatedNetwork, near: socket.socket, far: socket.socket, count: int) -> list[bool]:
    """Which of so many small packets sent up dev1's link come through it."""
    came = [False] * count
    for first in range(0, count, 200):  # no more than the receiving socket holds
        before = network.counters()["dev1", "ap1", "up"]
        numbers = range(first, min(first + 200, count))
        for number in numbers:
            near.send(number.to_bytes(8, "big"))
        until = time.monotonic() + 20
        while (now := network.counters()["dev1", "ap1", "up"]).packets + now.dropped < (
            before.packets + before.dropped + len(numbers)
        ):
            assert time.monotonic() < until
            time.sleep(0.001)
        for _ in range(now.packets - before.packets):
            came[int.from_bytes(far.recv(100), "big")] = True
    return came


def test_losses_come_in_bursts_of_the_mean_asked_and_with_the_mean_loss_asked(
    built: Callable[..., EmulatedNetwork],
) -> None:
    loss, burst, count = 0.1, 5.0, 20_000
    link = LinkParameters(100e6, loss=loss, burst=burst, queue_bytes=100_000)
    network = built(star(1, FAST))
    near, far = sockets(network, "dev1", "ap1", socket.SOCK_DGRAM)
    network.set_link("dev1", "ap1", link, FAST)
    assert network.readings()["dev1", "ap1"][0].parameters == link
    assert network.readings()["dev1", "ap1"][1].parameters.burst is None
    with near, far:
        came = arrived(network, near, far, count)
    runs = [len([*run]) for lost, run in itertools.groupby(came, lambda one: not one) if lost]
    stays = 1 - 1 / burst - loss / (burst * (1 - loss))  # correlation of one packet's fate with the next one's
    spread = math.sqrt(loss * (1 - loss) / count * (1 + stays) / (1 - stays))
    assert came.count(False) / count == pytest.approx(loss, abs=SIX_SIGMA * spread)
    spread = math.sqrt(burst * (burst - 1) / len(runs))  # the runs are geometric
    assert sum(runs) / len(runs) == pytest.approx(burst, abs=SIX_SIGMA * spread)


def test_a_change_in_place_keeps_the_state_of_the_chain(built: Callable[..., EmulatedNetwork]) -> None:
    turns_bad = LinkParameters(100e6, loss=0.999999, burst=1e6)
    stays = LinkParameters(50e6, loss=0.5, burst=1e9)
    turns_good = LinkParameters(100e6, loss=1e-9, burst=1.0)
    network = built(star(1, FAST))
    near, far = sockets(network, "dev1", "ap1", socket.SOCK_DGRAM)
    with near, far:
        for link, comes in ((stays, True), (turns_bad, False), (stays, False), (turns_good, True), (stays, True)):
            network.set_link("dev1", "ap1", link, FAST)
            assert arrived(network, near, far, 20) == [comes] * 20
