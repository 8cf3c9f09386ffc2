"""What validation accepts can be built: whole topologies, drawn."""

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import BACKENDS
from hypothesis import HealthCheck, given, settings
from strategies import topologies

from testbed.documents.loading import load_topology
from testbed.documents.resolve import resolve
from testbed.network.build import EmulatedNetwork
from testbed.network.ownership import RUN_FOLDER, Ownership


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
