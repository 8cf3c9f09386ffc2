"""The ways between all devices and edges: what `paths.path` finds for one, found once for what many have in common."""

from __future__ import annotations

import msgspec

from testbed.documents.resolved import ResolvedTopology
from testbed.runtime.paths import Hop, path


def ways(topology: ResolvedTopology) -> dict[str, dict[str, tuple[Hop, ...]]]:
    """For each device the way to each edge in its reach, as `paths.path` has it."""
    beyond = _beyond(topology)
    found: dict[str, dict[str, tuple[Hop, ...]]] = {device: {} for device in topology.devices}
    for number, link in enumerate(topology.links):
        for device, access_point, first in ((link.a, link.b, Hop(number, "up")), (link.b, link.a, Hop(number, "down"))):
            for edge, rest in beyond[access_point].items() if device in found else ():
                known = found[device].get(edge)
                if known is None or len(rest) + 1 < len(known):
                    found[device][edge] = (first, *rest)
    return {device: {edge: own[edge] for edge in topology.edges if edge in own} for device, own in found.items()}


def _beyond(topology: ResolvedTopology) -> dict[str, dict[str, tuple[Hop, ...]]]:
    """For each access point the way to each edge in its reach."""
    numbers = [
        number
        for number, link in enumerate(topology.links)
        if link.a not in topology.devices and link.b not in topology.devices
    ]
    core = msgspec.structs.replace(topology, devices={}, links=tuple(topology.links[number] for number in numbers))
    ways = {
        access_point: {edge: path(core, access_point, edge) for edge in topology.edges}
        for access_point in topology.access_points
    }
    return {
        access_point: {
            edge: tuple(Hop(numbers[hop.link], hop.direction) for hop in way) for edge, way in own.items() if way
        }
        for access_point, own in ways.items()
    }
