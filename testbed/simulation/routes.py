"""The ways between all devices and edges: what `paths.path` finds for one, found once for what many have in common."""

from __future__ import annotations

from testbed.documents.resolved import ResolvedTopology
from testbed.runtime.paths import Hop, path


def ways(topology: ResolvedTopology) -> dict[str, dict[str, tuple[Hop, ...]]]:
    """For each device the way to each edge in its reach, as `paths.path` has it."""
    beyond = {
        (access_point, edge): way
        for access_point in topology.access_points
        for edge in topology.edges
        if (way := path(topology, access_point, edge))
    }
    found: dict[str, dict[str, tuple[Hop, ...]]] = {device: {} for device in topology.devices}
    for number, link in enumerate(topology.links):
        for device, access_point, direction in ((link.a, link.b, "up"), (link.b, link.a, "down")):
            if device not in found:
                continue
            for edge in topology.edges:
                rest = beyond.get((access_point, edge))
                known = found[device].get(edge)
                if rest is not None and (known is None or len(rest) + 1 < len(known)):
                    found[device][edge] = (Hop(number, "up" if direction == "up" else "down"), *rest)
    return {device: {edge: own[edge] for edge in topology.edges if edge in own} for device, own in found.items()}
