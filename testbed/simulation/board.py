"""What nodes know of the network and of each other: links as set a moment ago, backlogs, what is unsent."""

from __future__ import annotations

import math
from collections.abc import Callable

from testbed.documents.resolved import LinkParameters, ResolvedTopology
from testbed.runtime.paths import Hop


class Board:
    """The numbers that policies see of a simulated testbed; what the emulation keeps in shared memory."""

    def __init__(self, topology: ResolvedTopology, now: Callable[[], float]) -> None:
        self._now = now
        self._links: dict[tuple[int, str], LinkParameters] = {}
        self._index = {(link.a, link.b): number for number, link in enumerate(topology.links)}
        self._air_bps = [_air_bps(topology, link.a, link.b) for link in topology.links]
        self._backlog_s: dict[str, Callable[[], float]] = {}
        self._unsent: dict[tuple[str, str], Callable[[], int | None]] = {}
        for link in topology.links:
            self.set_link((link.a, link.b), 0, link.up)
            self.set_link((link.a, link.b), 1, link.down)

    def set_link(self, link: tuple[str, str], direction: int, parameters: LinkParameters) -> None:
        """Publish one direction's values; 0 is up."""
        number = self._index[link]
        narrowest_bps = min(parameters.bandwidth_bps, self._air_bps[number])
        seen = LinkParameters(narrowest_bps, parameters.delay_s, parameters.jitter_s, parameters.loss)
        self._links[number, "down" if direction else "up"] = seen

    def link(self, hop: Hop) -> LinkParameters:
        """One direction's values as they were published last."""
        return self._links[hop.link, hop.direction]

    def air_bps(self, hop: Hop) -> float:
        """The total rate that a link shares with those of other devices at its access point; infinite: no limit."""
        return self._air_bps[hop.link]

    def tells_backlog(self, node: str, backlog_s: Callable[[], float]) -> None:
        """A node can be asked for the seconds of work that it holds."""
        self._backlog_s[node] = backlog_s

    def busy_until(self, node: str) -> float:
        """When a node will have finished all the work it holds now."""
        return self._now() + self._backlog_s[node]()

    def tells_unsent(self, device: str, edge: str, unsent: Callable[[], int | None]) -> None:
        """A device can be asked for the bytes on their way to an edge; None where it is not connected."""
        self._unsent[device, edge] = unsent

    def unsent(self, device: str, edge: str) -> int | None:
        """What a device has handed to its connection and is not acknowledged; None: not connected."""
        return self._unsent[device, edge]()


def _air_bps(topology: ResolvedTopology, a: str, b: str) -> float:
    for node, other in ((a, b), (b, a)):
        if node in topology.devices:
            return topology.access_points[other].bandwidth_bps or math.inf
    return math.inf
