"""What validation accepts can be built: whole topologies, drawn."""

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from testbed.documents.loading import load_topology, parse_topology
from testbed.documents.located import Source
from testbed.documents.resolve import resolve
from testbed.network.build import EmulatedNetwork
from testbed.network.ownership import RUN_FOLDER, Ownership
from tests.documents.strategies import topologies
from tests.network.conftest import BACKENDS

EXTREMES = """
name: extremes
access_points:
  ap1: {bandwidth: 9 kbit/s}
  ap2: {bandwidth: 30 Gbit/s}
edges: {edge1: {access_point: ap1, compute: live}, edge2: {access_point: ap2, compute: live}}
devices: {dev: {count: 9, compute: live}, far: {compute: live}}
links:
  - {between: [dev1, ap1], bandwidth: 1 kbit/s, delay: 60 s, jitter: 2 s, loss: 100 %, queue: 1 GiB}
  - {between: [dev2, ap1], bandwidth: 30 Gbit/s, delay: 280 ms, jitter: 5 ms, queue: 1 B}
  - {between: [dev3, ap1], bandwidth: 30 Gbit/s, loss: 0.0000000001 %}
  - {between: [dev4, ap1], bandwidth: 1 kbit/s, channel: {process: gilbert_elliott, loss: 50 %, burst: 1}}
  - {between: [dev5, ap1], bandwidth: 1 kbit/s, channel: {process: gilbert_elliott, loss: 80 %, burst: 4}}
  - {between: [dev6, ap1], bandwidth: 1 kbit/s, channel: {process: gilbert_elliott, loss: 99.9 %, burst: 1000}}
  - {between: [dev7, ap1], bandwidth: 1 kbit/s, channel: {process: gilbert_elliott, loss: 0.00000001 %, burst: 1000}}
  - {between: [dev8, ap1], bandwidth: 1 kbit/s, channel: {process: gilbert_elliott, loss: 0 %, burst: 5}}
  - {between: [dev9, ap1], bandwidth: 1 Mbit/s, delay: 1 us, jitter: 1 us}
  - {between: [far, ap2], bandwidth: 30 Gbit/s}
  - {between: [edge1, ap1], bandwidth: 1000.5 bit/s}
  - {between: [edge2, ap2], bandwidth: 1 Mbit/s, delay: 60 s}
"""


@pytest.mark.root
@pytest.mark.parametrize("shaping", BACKENDS)
def test_the_extremes_that_validation_accepts_can_be_built(built, shaping):
    network = built(resolve(parse_topology(Source("extremes.yaml", EXTREMES))), shaping)
    assert len(network.readings()) == 12


@pytest.mark.root
@pytest.mark.parametrize("shaping", BACKENDS)
@given(topologies(of_this_machine=True))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_valid_topology_can_be_built_and_undone(fresh_name, shaping, written):
    with TemporaryDirectory() as folder:
        topology = resolve(load_topology(written.save(Path(folder))))
    ownership = Ownership.create(fresh_name())
    with contextlib.ExitStack() as stack:

        def undo() -> None:
            assert ownership.undo().failures == []
            assert not (RUN_FOLDER / ownership.name).exists()

        stack.callback(undo)
        network = EmulatedNetwork.build(topology, shaping, ownership)
        stack.callback(network.stop)
        links = {(link.a, link.b): (link.up, link.down) for link in topology.links}
        for pair, readings in network.readings().items():
            for reading, asked in zip(readings, links[pair], strict=True):
                found = reading.parameters
                assert found.bandwidth_bps == pytest.approx(asked.bandwidth_bps, abs=8)  # netem counts bytes
                assert found.delay_s == pytest.approx(asked.delay_s, abs=1e-6)
                assert found.loss == pytest.approx(asked.loss, abs=1e-6)
