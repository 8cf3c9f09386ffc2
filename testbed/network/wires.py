"""A topology's links as the backends of one machine see them: a pure function of the topology."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from testbed.documents.resolved import ResolvedTopology
from testbed.network.addressing import Addressing, End
from testbed.network.links import Air, Wire
from testbed.network.part import Part


def wires(
    topology: ResolvedTopology, plan: Addressing, pids: Mapping[str, int], part: Part
) -> dict[tuple[str, str], Wire]:
    """The links that have an end on this machine by their nodes, in the topology's order.

    One that crosses to another machine ends here too: in the same namespace, where a tunnel takes over.
    """
    shared = airs(topology)
    found = {}
    for number, link in enumerate(topology.links):
        pair = (link.a, link.b)
        ends, here = plan.ends[pair], [part.here(node) for node in pair]
        if all(here):
            found[pair] = Wire(number, ends, (pids[link.a], pids[link.b]), shared[pair])
        elif any(here):
            side = here.index(True)
            far = End(pair[1 - side], f"far-{ends[side].name}")
            pid = pids[pair[side]]
            found[pair] = Wire(number, (ends[0], far) if side == 0 else (far, ends[1]), (pid, pid), None, 1 - side)
    return found


def airs(topology: ResolvedTopology) -> dict[tuple[str, str], Air | None]:
    """What each link shares: that of a device does, where its access point has a total rate."""
    sharing = Counter(name for device in topology.devices.values() for name in device.access_points)
    return {(link.a, link.b): _air(topology, sharing, (link.a, link.b)) for link in topology.links}


def _air(topology: ResolvedTopology, sharing: Counter[str], pair: tuple[str, str]) -> Air | None:
    for side, node in enumerate(pair):
        if pair[1 - side] in topology.devices and (total_bps := topology.access_points[node].bandwidth_bps) is not None:
            return Air(node, side, total_bps, sharing[node])
    return None
