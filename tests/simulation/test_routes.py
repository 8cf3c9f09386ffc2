"""All ways at once are the ways one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.documents.loading import load_topology
from testbed.documents.resolve import resolve
from testbed.runtime.paths import path
from testbed.simulation.routes import ways

FILES = sorted(Path("topologies").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_ways_of_the_shipped_topologies(file: Path) -> None:
    topology = resolve(load_topology(file))
    found = ways(topology)
    assert found == {
        device: {edge: way for edge in topology.edges if (way := path(topology, device, edge))}
        for device in topology.devices
    }
    assert any(found.values())
