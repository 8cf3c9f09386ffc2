"""The certificate of real links, on both backends: bursts of losses, a shared air, batches."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from testbed.documents.resolved import LinkParameters, ResolvedAccessPoint, Tolerance
from testbed.network.build import EmulatedNetwork
from testbed.network.certify import batches, certify
from testbed.network.shape import Shaping
from tests.network.conftest import BACKENDS, star

pytestmark = pytest.mark.root
Build = Callable[..., EmulatedNetwork]


@pytest.mark.parametrize("shaping", BACKENDS)
def test_links_that_share_an_air_and_lose_in_bursts_hold(built: Build, shaping: Shaping) -> None:
    topology = star(3, LinkParameters(4e6, 0.005, 0.0, 0.05, burst=3.0), LinkParameters(20e6, 0.001))
    fast = msgspec.structs.replace(topology.links[0], up=LinkParameters(40e6, 0.005))
    topology = msgspec.structs.replace(
        topology,
        access_points={"ap1": ResolvedAccessPoint(8e6)},
        links=(fast, *topology.links[1:]),
        tolerance=Tolerance(bandwidth=0.05, delay_ms=2.0),
    )
    network = built(topology, shaping)
    assert [batch.links for batch in batches(network)] == [(0, 1, 2, 3)]
    entries = {(*entry.link, entry.direction): entry for entry in certify(network)}
    assert [entry.reason for entry in entries.values() if not entry.ok] == []
    assert entries["dev1", "ap1", "up"].asked.bandwidth_bps == 8e6  # all that there is to share
    rate = entries["dev1", "ap1", "up"].measured.bandwidth_bps
    assert rate and rate.value == pytest.approx(8e6, rel=0.05)
    assert entries["dev2", "ap1", "up"].asked.burst == 3.0
    assert {entry.tolerance.delay_ms for entry in entries.values()} == {2.0}


def test_some_links_alone_can_be_certified(built: Build) -> None:
    network = built(star(3, LinkParameters(10e6, 0.005)))
    entries = certify(network, links=[1, 3])
    assert [(entry.link, entry.direction) for entry in entries] == [
        (("dev2", "ap1"), "up"),
        (("dev2", "ap1"), "down"),
        (("edge1", "ap1"), "up"),
        (("edge1", "ap1"), "down"),
    ]
