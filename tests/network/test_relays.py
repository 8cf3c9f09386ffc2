"""A testbed of many links, which several relays share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgspec
import pytest

from testbed.documents.resolved import LinkParameters, ResolvedAccessPoint
from testbed.network.build import EmulatedNetwork
from testbed.network.links import AppliedChange, PlannedChange
from tests.network.conftest import star

pytestmark = pytest.mark.root

LINK = LinkParameters(1e6, 0.001)
MS = 1_000_000


def relays(network: EmulatedNetwork) -> list[int]:
    return [process.pid for process, name in network.ownership.processes().items() if name == "relay"]


def test_each_has_some_of_the_links_and_all_changes_are_told_in_order(built: Callable[..., EmulatedNetwork]) -> None:
    network = built(star(60, LINK))
    assert len(relays(network)) == min(len(os.sched_getaffinity(0)), 2)
    start = time.monotonic_ns() + 100 * MS
    given = [
        PlannedChange(start + 3 * number * MS, (f"dev{number}", "ap1"), 0, LinkParameters(1e6 + number))
        for number in range(1, 61)
    ]
    network.schedule(given)
    found: list[AppliedChange] = []
    until = time.monotonic() + 20
    while len(found) < len(given):
        assert time.monotonic() < until
        time.sleep(0.005)
        now = network.applied()
        assert now == sorted(now, key=lambda one: one.applied_ns)
        found += now
    assert sorted(one.planned for one in found) == given
    assert all(one.applied_ns >= one.planned.at_ns for one in found)
    rates = {link: both[0].parameters.bandwidth_bps for link, both in network.readings().items() if link[0] != "edge1"}
    assert rates == {(f"dev{number}", "ap1"): 1e6 + number for number in range(1, 61)}
    network.schedule([one._replace(at_ns=time.monotonic_ns() + 3600_000 * MS) for one in given])
    assert network.cancel() == []
    network.stop()


def test_links_that_share_an_air_are_with_one(built: Callable[..., EmulatedNetwork]) -> None:
    """A relay knows no air of another's link, and would refuse."""
    plain = star(60, LINK)
    network = built(msgspec.structs.replace(plain, access_points={"ap1": ResolvedAccessPoint(20e6)}))
    airs = [network.wire(*link).air for link in network.links()]
    assert sum(air is not None for air in airs) == 60
    assert all(both[0].parameters.bandwidth_bps == 1e6 for link, both in network.readings().items() if "dev" in link[0])
