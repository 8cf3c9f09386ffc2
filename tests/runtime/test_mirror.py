"""Two machines' boards: what is written on one is on the other, instants by the other's clock."""

from __future__ import annotations

import time
from pathlib import Path

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
from testbed.runtime.mirror import Mirror, hear
from testbed.runtime.paths import Hop

REST, SLOW = LinkParameters(20e6, 0.002), LinkParameters(1e6, 0.002, 0.0, 0.03)
TOPOLOGY = ResolvedTopology(
    name="mirror",
    access_points={"ap1": ResolvedAccessPoint()},
    edges={"edge1": ResolvedEdge("ap1", Compute(1e9))},
    devices={"dev1": ResolvedDevice(("ap1",), Compute(1e9))},
    links=(ResolvedLink("dev1", "ap1", REST, REST), ResolvedLink("edge1", "ap1", REST, REST)),
)
AHEAD_S = 5000.0  # the clock of the machine that tells


def wait_until(true: object) -> None:
    until_s = time.monotonic() + 5
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_what_is_written_on_one_machine_is_told_to_the_other_and_nothing_else(tmp_path: Path) -> None:
    there, here = Board(tmp_path / "there", TOPOLOGY), Board(tmp_path / "here", TOPOLOGY)
    for board in (there, here):
        for link in TOPOLOGY.links:
            for direction in (0, 1):
                board.set_link((link.a, link.b), direction, REST)
    here.set_busy_until("dev1", 77.0)  # this machine's own
    messages: list[bytes] = []

    def tell(news: bytes) -> None:
        messages.append(news)
        hear(here, news, AHEAD_S)

    mirror = Mirror(there, there.written_by({"edge1"}), tell)
    try:
        there.set_busy_until("edge1", 6000.0)
        there.set_link(("edge1", "ap1"), 0, SLOW)  # from edge1
        there.set_link(("edge1", "ap1"), 1, SLOW)  # to edge1: its sender is elsewhere
        there.set_busy_until("dev1", 1.0)
        wait_until(lambda: here.busy_until("edge1") == 1000.0)
        wait_until(lambda: here.link(Hop(1, "up")) == SLOW)
        told = len(messages)
        time.sleep(0.1)
        assert len(messages) == told  # no news, no message
    finally:
        mirror.stop()
    assert here.link(Hop(1, "down")) == REST and here.busy_until("dev1") == 77.0


def test_a_mirror_whose_other_machine_has_gone_ends(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", TOPOLOGY)

    def gone(news: bytes) -> None:
        raise ConnectionError

    mirror = Mirror(board, board.written_by({"edge1"}), gone)
    wait_until(lambda: not mirror.lives)
