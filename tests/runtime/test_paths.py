import msgspec
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
    link = (TREE.links[1].a, TREE.links[1].b)
    writer.set_link(link, 0, SLOW)
    writer.set_link(link, 1, FAST)
    writer.set_busy_until("edge1", 12.5)
    assert reader.link(Hop(1, "up")) == SLOW
    assert reader.link(Hop(1, "down")) == FAST
    assert reader.busy_until("edge1") == 12.5
    assert reader.link(Hop(2, "up")).bandwidth_bps == 0


def test_a_devices_link_is_seen_no_wider_than_what_its_access_point_shares_out(tmp_path) -> None:
    access_points = dict.fromkeys(TREE.access_points, ResolvedAccessPoint(3e6))
    board = Board(tmp_path / "board", msgspec.structs.replace(TREE, access_points=access_points))
    for link in TREE.links:
        board.set_link((link.a, link.b), 0, FAST)
        board.set_link((link.a, link.b), 1, SLOW)
    for index, link in enumerate(TREE.links):
        shared = link.a in TREE.devices
        assert board.link(Hop(index, "up")).bandwidth_bps == (3e6 if shared else FAST.bandwidth_bps)
        assert board.link(Hop(index, "down")) == SLOW
