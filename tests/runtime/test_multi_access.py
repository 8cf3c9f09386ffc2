"""Devices that reach edges over several access points, over real links."""

import asyncio
import time

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
from testbed.jobs.ledger import Outcome
from testbed.network.addressing import addressing
from testbed.network.shape import Shaping
from testbed.runtime.board import Board
from testbed.runtime.paths import Hop, addresses, path, reverse, view

LINK = LinkParameters(20e6, 0.002)
PACE = Compute(1e9)
BACKENDS = [Shaping.RELAY, pytest.param(Shaping.NETEM, marks=pytest.mark.netem)]
SENT = 8 * 20_000  # bytes of payload in each direction's jobs

TWO_EDGES = ResolvedTopology(
    name="two-edges",
    access_points={"ap1": ResolvedAccessPoint(), "ap2": ResolvedAccessPoint()},
    edges={"edge1": ResolvedEdge("ap1", PACE), "edge2": ResolvedEdge("ap2", PACE)},
    devices={"dev1": ResolvedDevice(("ap1", "ap2"), PACE)},
    links=(
        ResolvedLink("dev1", "ap1", LINK, LINK),
        ResolvedLink("dev1", "ap2", LINK, LINK),
        ResolvedLink("edge1", "ap1", LINK, LINK),
        ResolvedLink("edge2", "ap2", LINK, LINK),
    ),
)
JOINED = ResolvedTopology(
    name="joined",
    access_points={name: ResolvedAccessPoint() for name in ("ap1", "ap2", "core")},
    edges={"edge1": ResolvedEdge("core", PACE), "edge2": ResolvedEdge("ap2", PACE)},
    devices={"dev1": ResolvedDevice(("ap1", "ap2"), PACE)},
    links=(
        ResolvedLink("dev1", "ap1", LINK, LINK),
        ResolvedLink("dev1", "ap2", LINK, LINK),
        ResolvedLink("ap1", "core", LINK, LINK),
        ResolvedLink("ap2", "core", LINK, LINK),
        ResolvedLink("edge1", "core", LINK, LINK),
        ResolvedLink("edge2", "ap2", LINK, LINK),
    ),
)
"""Edge 1 is three hops away over either access point, edge 2 two hops over the second."""


def test_the_first_of_several_shortest_ways_is_taken_and_its_interfaces_addresses() -> None:
    plan = addressing(JOINED)
    to_edge1, to_edge2 = path(JOINED, "dev1", "edge1"), path(JOINED, "dev1", "edge2")
    assert to_edge1 == (Hop(0, "up"), Hop(2, "up"), Hop(4, "down"))
    assert to_edge2 == (Hop(1, "up"), Hop(5, "down"))
    first, second = (interface.address for interface in plan.by_node["dev1"])
    assert addresses(JOINED, plan, to_edge1) == (first, plan.address("edge1"))
    assert addresses(JOINED, plan, to_edge2) == (second, plan.address("edge2"))
    assert addresses(JOINED, plan, reverse(to_edge2)) == (plan.address("edge2"), second)


def test_what_a_policy_sees_of_an_edge_is_its_own_ways(tmp_path) -> None:
    board = Board(tmp_path / "board", JOINED)
    for number, link in enumerate(JOINED.links, 1):
        for direction in (0, 1):
            board.set_link(
                (link.a, link.b), direction, LinkParameters(number * 1e6, 0.001 * number, loss=0.01 * direction)
            )
    way = path(JOINED, "dev1", "edge1")
    up, down = (view([board.link(hop) for hop in hops]) for hops in (way, reverse(way)))
    assert (up.bandwidth_bps, up.delay_s, up.loss) == (
        1e6,
        pytest.approx(0.009),
        pytest.approx(0.01),
    )  # edge1-core down
    assert (down.bandwidth_bps, down.loss) == (1e6, pytest.approx(1 - 0.99**2))
    other = view([board.link(hop) for hop in path(JOINED, "dev1", "edge2")])
    assert (other.bandwidth_bps, other.delay_s) == (2e6, pytest.approx(0.008))


@pytest.mark.root
@pytest.mark.parametrize("shaping", BACKENDS)
@pytest.mark.parametrize("topology", [TWO_EDGES, JOINED], ids=lambda topology: topology.name)
def test_each_edge_is_reached_over_its_own_way_in_both_directions(staged, jobs, topology, shaping) -> None:
    stage = staged(topology, shaping)
    for edge in topology.edges:
        played = stage.play(jobs(8, 0.05), [edge])
        assert [row.outcome for row in played.rows] == [Outcome.ON_TIME] * 8
        way = path(topology, "dev1", edge)
        there, back = stage.way(way), stage.way(reverse(way))
        warm_up = 96 * 2**10 * len(topology.edges)  # every edge's window is opened
        for direction, count in played.carried.items():
            if direction in there:
                assert SENT < count.entered_bytes < 1.1 * (SENT + warm_up)
            elif direction in back:
                assert 0.02 * SENT < count.entered_bytes < 0.2 * SENT
            else:
                assert count.entered_bytes < 1.1 * 96 * 2**10


@pytest.mark.root
@pytest.mark.parametrize("shaping", BACKENDS)
def test_where_one_link_is_cut_the_other_edge_is_still_reached(staged, jobs, shaping) -> None:
    stage = staged(TWO_EDGES, shaping)

    async def cut(start_s: float) -> None:
        await asyncio.sleep(start_s + 0.3 - time.monotonic())
        dead = LinkParameters(20e6, 0.002, loss=1.0)
        stage.network.set_link("dev1", "ap1", dead, dead)

    played = stage.play(jobs(20, 0.1), ["edge1", "edge2"], meanwhile=cut)
    by_edge = {edge: [row for row in played.rows if row.edge == edge] for edge in TWO_EDGES.edges}
    assert [row.outcome for row in by_edge["edge2"]] == [Outcome.ON_TIME] * 10
    early, after = by_edge["edge1"][0], by_edge["edge1"][3:]
    assert early.outcome is Outcome.ON_TIME
    assert {row.outcome for row in after} <= {Outcome.FAILED, Outcome.DROPPED} and all(row.error for row in after)
