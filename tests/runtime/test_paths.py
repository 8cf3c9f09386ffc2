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
from testbed.runtime.board import Board
from testbed.runtime.paths import Hop, path, reverse, view

SLOW, FAST = LinkParameters(1e6, 0.005, loss=0.1), LinkParameters(1e8, 0.001, loss=0.5)
TREE = ResolvedTopology(
    name="tree",
    access_points={name: ResolvedAccessPoint() for name in ("ap1", "ap2", "ap3")},
    edges={"edge1": ResolvedEdge("ap2", Compute(1e9))},
    devices={"dev1": ResolvedDevice(("ap1",), Compute(1e9)), "dev2": ResolvedDevice(("ap3",), Compute(1e9))},
    links=(
        ResolvedLink("dev1", "ap1", SLOW, FAST),
        ResolvedLink("ap1", "ap2", FAST, SLOW),
        ResolvedLink("edge1", "ap2", FAST, SLOW),
        ResolvedLink("dev2", "ap3", SLOW, SLOW),
    ),
)


def test_the_way_leads_through_access_points() -> None:
    way = path(TREE, "dev1", "edge1")
    assert way == (Hop(0, "up"), Hop(1, "up"), Hop(2, "down"))
    assert reverse(way) == path(TREE, "edge1", "dev1")


def test_there_is_no_way_where_access_points_are_not_joined() -> None:
    assert path(TREE, "dev2", "edge1") is None


def test_a_way_is_as_fast_as_its_narrowest_link_and_adds_delays() -> None:
    seen = view([SLOW, FAST])
    assert (seen.bandwidth_bps, seen.delay_s) == (1e6, 0.006)
    assert seen.loss == pytest.approx(1 - 0.9 * 0.5)


def test_what_one_process_writes_on_the_board_another_reads(tmp_path) -> None:
    writer, reader = Board(tmp_path / "board", TREE), Board(tmp_path / "board", TREE)
    assert reader.busy_until("edge1") == 0
    writer.set_link(1, "up", SLOW)
    writer.set_link(1, "down", FAST)
    writer.set_busy_until("edge1", 12.5)
    assert reader.link(Hop(1, "up")) == SLOW
    assert reader.link(Hop(1, "down")) == FAST
    assert reader.busy_until("edge1") == 12.5
    assert reader.link(Hop(2, "up")).bandwidth_bps == 0
