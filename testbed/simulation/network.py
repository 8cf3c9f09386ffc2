"""The links of a topology as lines, played by the very timeline that the emulation plays."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from functools import partial

import simpy

from testbed.documents.resolved import Event, LinkParameters, ResolvedTopology
from testbed.network.allotment import WHOLE, Allotment, Direction
from testbed.network.event_log import EventLog
from testbed.network.record import LinkRows
from testbed.network.timeline import Timeline
from testbed.runtime.paths import Hop
from testbed.simulation.air import Air
from testbed.simulation.board import Board
from testbed.simulation.instants import after
from testbed.simulation.line import Line
from testbed.simulation.overheads import PUBLISH_S


class Network:
    """All lines, and what becomes of them in a run."""

    def __init__(
        self, env: simpy.Environment, topology: ResolvedTopology, events: Iterable[Event], seed: int, board: Board
    ) -> None:
        self._env, self._board = env, board
        found = {(link.a, link.b): (link.up, link.down) for link in topology.links}
        airs = {
            name: Air(env, access_point.bandwidth_bps)
            for name, access_point in topology.access_points.items()
            if access_point.bandwidth_bps
        }
        self._pairs = list(found)
        self._lines: dict[Direction, Line] = {}
        self._whole: dict[Direction, LinkParameters] = {}
        self.rows = LinkRows()
        for (a, b), both in found.items():
            for direction, (sender, receiver) in enumerate(((a, b), (b, a))):
                key = (a, b), direction
                air = next((airs.get(far) for near, far in ((a, b), (b, a)) if near in topology.devices), None)
                self._lines[key] = Line(env, both[direction], f"{seed} {sender} {receiver}", air)
                self._whole[key] = both[direction]
                self.rows.add(0.0, 0.0, (a, b), direction, both[direction])
        self._allotted: Mapping[Direction, Allotment] = {}
        events = tuple(events)
        self.log = EventLog(events, found)
        env.process(self._play(Timeline(topology, found, events, seed)))

    def lines(self, hops: Iterable[Hop]) -> tuple[Line, ...]:
        """The lines that some hops use."""
        return tuple(self._lines[self._pairs[hop.link], int(hop.direction == "down")] for hop in hops)

    def allot(self, directions: Mapping[Direction, Allotment]) -> None:
        """Give some directions a share of their rate, and all others the whole, from now on."""
        before, self._allotted = self._allotted, directions
        for direction in sorted({**before, **directions}):
            if before.get(direction, WHOLE) != directions.get(direction, WHOLE):
                self._set(direction)

    def take_rows(self) -> LinkRows:
        """The links as set since the last call; the first gives them as found, at 0 s."""
        rows, self.rows = self.rows, LinkRows()
        return rows

    def _play(self, timeline: Timeline) -> Generator[simpy.Event, None, None]:
        for change in timeline.changes():
            yield self._env.timeout(max(0.0, change.at_ns / 1e9 - self._env.now))
            direction = change.link, change.direction
            self._whole[direction] = change.parameters
            self._set(direction)
            self.log.applied(change.at_ns, change.link, self._env.now)
            publish = partial(self._board.set_link, *direction, change.parameters)
            after(self._env, PUBLISH_S, publish)

    def _set(self, direction: Direction) -> None:
        parameters = self._allotted.get(direction, WHOLE).of(self._whole[direction])
        self._lines[direction].change(parameters)
        self.rows.add(self._env.now, self._env.now, *direction, parameters)
