"""Small topologies, and networks built from them that are gone when the test is over."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
)
from testbed.network.build import EmulatedNetwork
from testbed.network.ownership import RUN_FOLDER, Ownership
from testbed.network.shape import Shaping
from testbed.network.switches import OPEN_VSWITCH_PROGRAMS

BACKENDS = [Shaping.RELAY, pytest.param(Shaping.NETEM, marks=pytest.mark.netem)]
OPEN_VSWITCH = pytest.mark.skipif(
    not all(map(shutil.which, OPEN_VSWITCH_PROGRAMS)), reason="Open vSwitch is not installed (openvswitch-switch)"
)
_numbers = itertools.count()


def star(devices: int, link: LinkParameters, edge: LinkParameters | None = None) -> ResolvedTopology:
    """Devices dev1, dev2, ... and an edge around one access point."""
    names = [f"dev{number}" for number in range(1, devices + 1)]
    edge = edge or LinkParameters(100e6, 0.0002)
    return ResolvedTopology(
        name="star",
        access_points={"ap1": ResolvedAccessPoint()},
        edges={"edge1": ResolvedEdge("ap1", Compute(2e11))},
        devices={name: ResolvedDevice(("ap1",), Compute(5e9)) for name in names},
        links=(*(ResolvedLink(name, "ap1", link, link) for name in names), ResolvedLink("edge1", "ap1", edge, edge)),
    )


@pytest.fixture
def fresh_name() -> Callable[[], str]:
    """Names of testbeds that nobody else uses."""
    return lambda: f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def built(fresh_name: Callable[[], str]) -> Iterator[Callable[..., EmulatedNetwork]]:
    """Builds networks; afterwards they are undone, and nothing of them is left."""
    with contextlib.ExitStack() as stack:

        def build(topology: ResolvedTopology, shaping: Shaping = Shaping.RELAY) -> EmulatedNetwork:
            ownership = Ownership.create(fresh_name())

            def undo() -> None:
                assert ownership.undo().failures == []
                assert not (RUN_FOLDER / ownership.name).exists()
                assert ownership.group is None or not ownership.group.exists()

            stack.callback(undo)
            network = EmulatedNetwork.build(topology, shaping, ownership)
            stack.callback(network.stop)
            return network

        yield build
