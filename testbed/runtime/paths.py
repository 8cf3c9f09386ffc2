"""The way between a device and an edge: which directions of which links it uses, and what they amount to."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

import msgspec

from testbed.documents.resolved import LinkParameters, ResolvedTopology
from testbed.jobs.observation import PathView
from testbed.network.addressing import Addressing

Direction = Literal["up", "down"]


class Hop(msgspec.Struct, frozen=True):
    """One direction of one link: its index in the topology, and which way."""

    link: int
    direction: Direction


def path(topology: ResolvedTopology, start: str, end: str) -> tuple[Hop, ...] | None:
    """The hops from one node to another, passing through access points only; None where there is no way.

    The way of the fewest hops; of several, the one whose first links come first in the topology. Access points form
    trees, so that bridges take that way too between the `addresses` at its ends.
    """
    neighbours: dict[str, list[tuple[str, Hop]]] = {}
    for index, link in enumerate(topology.links):
        neighbours.setdefault(link.a, []).append((link.b, Hop(index, "up")))
        neighbours.setdefault(link.b, []).append((link.a, Hop(index, "down")))
    ways: dict[str, tuple[Hop, ...]] = {start: ()}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        if node == end:
            return ways[node]
        if node != start and node not in topology.access_points:
            continue
        for neighbour, hop in neighbours.get(node, []):
            if neighbour not in ways:
                ways[neighbour] = (*ways[node], hop)
                queue.append(neighbour)
    return None


def addresses(topology: ResolvedTopology, plan: Addressing, way: tuple[Hop, ...]) -> tuple[str, str]:
    """The addresses at the two ends of a way: those of the interfaces at which its first link begins and its last ends.

    A node has an interface for each of its links; between these two addresses, packets take the way in both directions.
    """
    return _address(topology, plan, way[0], 0), _address(topology, plan, way[-1], 1)


def _address(topology: ResolvedTopology, plan: Addressing, hop: Hop, far: int) -> str:
    link = topology.links[hop.link]
    end = plan.ends[link.a, link.b][far if hop.direction == "up" else 1 - far]
    return next(one.address for one in plan.by_node[end.node] if one.name == end.name)


def reverse(hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
    """The way back."""
    return tuple(Hop(hop.link, "down" if hop.direction == "up" else "up") for hop in reversed(hops))


def view(directions: list[LinkParameters]) -> PathView:
    """What links in a row amount to: the narrowest bandwidth, delays added, losses compounded."""
    bandwidth_bps, delay_s, passes = math.inf, 0.0, 1.0
    for link in directions:  # a loop, as a slot looks at some thousand ways
        bandwidth_bps = min(bandwidth_bps, link.bandwidth_bps)
        delay_s += link.delay_s
        passes *= 1.0 - link.loss
    return PathView(bandwidth_bps, delay_s, 1.0 - passes)
