"""Which machine each node lies on, and which of the machines this one is."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import psutil

from testbed.documents.model import one_of
from testbed.documents.resolved import ResolvedTopology
from testbed.network.errors import RefusedError
from testbed.network.ownership import LOCAL


def placed(topology: ResolvedTopology) -> dict[str, str]:
    """The machine of each device, edge and access point: as given by hand, else by the topology's rule.

    `access_point`: an access point on the machine with the fewest nodes, with its devices (a device of several, with
    the first that it is linked to) and edges. `pack`: all on the first machine. `spread`: access points, edges and
    devices each in turn. Ties go to the machine named first. Without machines, all lie on `local`.
    """
    nodes = [*topology.access_points, *topology.edges, *topology.devices]
    machines = [machine.name for machine in topology.machines]
    if not machines:
        return dict.fromkeys(nodes, LOCAL)
    found = dict(topology.place.by_hand)
    match topology.place.by:
        case "access_point":
            _with_access_points(topology, machines, found)
        case "pack":
            found = dict.fromkeys(nodes, machines[0]) | found
        case "spread":
            for kind in (topology.access_points, topology.edges, topology.devices):
                for node in kind:
                    if node not in found:
                        found[node] = _least(machines, (found[one] for one in kind if one in found))
    return {node: found[node] for node in nodes}


def used(topology: ResolvedTopology) -> list[str]:
    """The machines that take part, in the topology's order: the driver's, and those that nodes lie on.

    Raises:
        RefusedError: as `here` does.
    """
    taken = {here(topology), *placed(topology).values()}
    return [name for name in ([machine.name for machine in topology.machines] or [LOCAL]) if name in taken]


def here(topology: ResolvedTopology) -> str:
    """The name of the machine that this one is: the one whose address is an address of this machine.

    Raises:
        RefusedError: none is, or several are.
    """
    if not topology.machines:
        return LOCAL
    own = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET
    }
    names = [machine.name for machine in topology.machines if machine.address in own]
    if len(names) == 1:
        return names[0]
    given = one_of(f"{machine.name} {machine.address}" for machine in topology.machines)
    if names:
        raise RefusedError(f"the machines {one_of(names)} are all this one by their addresses: keep one of them")
    raise RefusedError(
        f"this machine has none of the addresses of `machines` ({given}): call this on one of them, or give this one's"
        f" ({one_of(sorted(address for address in own if not address.startswith('127.')))})"
    )


def _with_access_points(topology: ResolvedTopology, machines: list[str], found: dict[str, str]) -> None:
    homes = {edge: one.access_point for edge, one in topology.edges.items()}
    homes |= {device: one.access_points[0] for device, one in topology.devices.items()}
    for access_point in topology.access_points:
        if access_point not in found:
            found[access_point] = _least(machines, found.values())
        for node, home in homes.items():
            if home == access_point:
                found.setdefault(node, found[access_point])


def _least(machines: list[str], taken: Iterable[str]) -> str:
    """The machine that was taken least often, of several the first."""
    loads = dict.fromkeys(machines, 0)
    for machine in taken:
        loads[machine] += 1
    return min(machines, key=loads.__getitem__)
