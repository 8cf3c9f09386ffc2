"""More nodes than can be emulated are refused before anything is made."""

from __future__ import annotations

import pytest

from testbed.network.diagnosis import MOST_NODES, require
from testbed.network.errors import RefusedError
from tests.simulation.conftest import star


def test_a_topology_for_simulations_alone_is_refused_with_the_way_out() -> None:
    require(star(MOST_NODES - 2))
    with pytest.raises(RefusedError, match=r"1,001 nodes, at most 1,000 can be emulated; testbed run --simulate"):
        require(star(MOST_NODES - 1))
