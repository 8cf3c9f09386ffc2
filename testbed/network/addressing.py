"""Who has which interface, address and neighbours in a topology: a pure function of the topology."""

from __future__ import annotations

from collections import deque

import msgspec

from testbed.documents.resolved import ResolvedLink, ResolvedTopology
from testbed.network.errors import NetworkError

BRIDGE = "br0"
"""The bridge of an access point, in the access point's own namespace."""
PREFIX = 16


class End(msgspec.Struct, frozen=True):
    """One end of a link: the interface `name` in the namespace of `node`."""

    node: str
    name: str


class Interface(msgspec.Struct, frozen=True):
    """An interface with an address: of a device or an edge, or the bridge of an access point."""

    node: str
    name: str
    group: int
    address: str
    mac: str


class Addressing(msgspec.Struct, frozen=True):
    """The interfaces of a topology. Each connected group of access points is one subnet, 10.GROUP.0.0/16."""

    ends: dict[tuple[str, str], tuple[End, End]]  # by link
    interfaces: tuple[Interface, ...]
    by_node: dict[str, tuple[Interface, ...]]
    groups: dict[str, int]  # of each access point
    ports: dict[str, dict[str, str]]  # of each access point: which port leads to a MAC address

    def address(self, node: str, peer: str | None = None) -> str:
        """The address by which `peer` reaches `node`; without a peer, the node's first.

        Raises:
            NetworkError: there is no such node, or no way between the two.
        """
        return self.interface(node, peer).address

    def interface(self, node: str, peer: str | None = None) -> Interface:
        """The interface of `node` that `peer` reaches; raises as `address` does."""
        for name in filter(None, (node, peer)):
            if name not in self.by_node:
                raise NetworkError(f"there is no node {name!r}: the nodes are {', '.join(self.by_node)}")
        reachable = {interface.group for interface in self.by_node[peer or node]}
        for interface in self.by_node[node]:
            if interface.group in reachable:
                return interface
        raise NetworkError(f"no links lead from {peer} to {node}")

    def neighbours(self, servers: frozenset[str]) -> dict[str, list[tuple[str, Interface]]]:
        """For each node and each interface of it, whom to know without asking: servers know all of their group, an
        access point those linked to it, the others the servers and access points."""
        known: dict[str, list[tuple[str, Interface]]] = {name: [] for name in self.by_node}
        linked: dict[str, set[str]] = {name: set() for name in self.by_node}
        for a, b in self.ends:
            linked[a].add(b)
            linked[b].add(a)
        of_servers = [interface for interface in self.interfaces if interface.node in servers]
        for server in of_servers:
            for other in self.interfaces:
                if other.group != server.group or other.node == server.node or other.name == BRIDGE:
                    continue
                known[server.node].append((server.name, other))
                if other.node not in servers:
                    known[other.node].append((other.name, server))
        for access_point in self.groups:
            (bridge,) = self.by_node[access_point]
            for node in linked[access_point]:
                for interface in self.by_node[node]:
                    if interface.group == bridge.group:
                        known[access_point].append((BRIDGE, interface))
                        if interface.name != BRIDGE:
                            known[node].append((interface.name, bridge))
        return known


def addressing(topology: ResolvedTopology) -> Addressing:
    """Gives every interface of a topology its name, address and MAC address.

    Raises:
        NetworkError: access points are linked in a ring, or there are more groups or nodes than addresses.
    """
    groups = _groups(topology)
    taken: dict[int, int] = {}
    counts: dict[str, int] = {}
    interfaces: list[Interface] = []

    def add(node: str, name: str, group: int) -> None:
        taken[group] = number = taken.get(group, 0) + 1
        if group > 255 or number > 65000:
            raise NetworkError("the topology has more groups of access points or more nodes than there are addresses")
        high, low = divmod(number, 256)
        interfaces.append(
            Interface(node, name, group, f"10.{group}.{high}.{low}", f"02:54:0a:{group:02x}:{high:02x}:{low:02x}")
        )

    for access_point in topology.access_points:
        add(access_point, BRIDGE, groups[access_point])
    ends: dict[tuple[str, str], tuple[End, End]] = {}
    order = sorted(topology.links, key=lambda link: _rank(topology, link))
    for link in order:
        pair = []
        for node, other in ((link.a, link.b), (link.b, link.a)):
            count = counts[node] = counts.get(node, -1) + 1
            if node in groups:
                pair.append(End(node, f"port{count}"))
            else:
                pair.append(End(node, f"eth{count}"))
                if other not in groups:
                    raise NetworkError(f"a link must end at an access point: {link.a} to {link.b} does not")
                add(node, f"eth{count}", groups[other])
        ends[link.a, link.b] = (pair[0], pair[1])
    by_node: dict[str, list[Interface]] = {
        name: [] for name in (*topology.access_points, *topology.edges, *topology.devices)
    }
    for interface in interfaces:
        by_node[interface.node].append(interface)
    return Addressing(
        ends=ends,
        interfaces=tuple(interfaces),
        by_node={name: tuple(own) for name, own in by_node.items()},
        groups=groups,
        ports=_ports(topology, ends, interfaces),
    )


def _rank(topology: ResolvedTopology, link: ResolvedLink) -> int:
    """Edges before devices, so that edges have the low addresses; an edge's own access point before others."""
    for node, other in ((link.a, link.b), (link.b, link.a)):
        if node in topology.edges:
            return 0 if topology.edges[node].access_point == other else 1
    return 2


def _groups(topology: ResolvedTopology) -> dict[str, int]:
    """The access points' connected groups, numbered from 1."""
    groups: dict[str, int] = {}
    between = [link for link in topology.links if link.a in topology.access_points and link.b in topology.access_points]
    for first in topology.access_points:
        if first in groups:
            continue
        number = len(set(groups.values())) + 1
        waiting, members = [first], {first}
        while waiting:
            at = waiting.pop()
            for link in between:
                if at in (link.a, link.b):
                    other = link.b if at == link.a else link.a
                    if other not in members:
                        members.add(other)
                        waiting.append(other)
        if sum(link.a in members for link in between) >= len(members):
            raise NetworkError(f"access points are linked in a ring: {', '.join(sorted(members))}; leave out a link")
        groups |= dict.fromkeys(members, number)
    return groups


def _ports(
    topology: ResolvedTopology, ends: dict[tuple[str, str], tuple[End, End]], interfaces: list[Interface]
) -> dict[str, dict[str, str]]:
    """For each access point, the port that leads to each MAC address of its group, so that nothing is ever flooded."""
    beside: dict[str, list[tuple[str, End, End]]] = {name: [] for name in topology.access_points}
    for (a, b), (end_a, end_b) in ends.items():
        for node, other, own, far in ((a, b, end_a, end_b), (b, a, end_b, end_a)):
            if node in beside:
                beside[node].append((other, own, far))
    mac = {(interface.node, interface.name): interface.mac for interface in interfaces}
    ports: dict[str, dict[str, str]] = {}
    for origin, links in beside.items():
        ports[origin] = {}
        for other, own, far in links:
            waiting, seen = deque([(other, far)]), {origin}
            while waiting:
                node, end = waiting.popleft()
                seen.add(node)
                if node not in beside:
                    ports[origin][mac[node, end.name]] = own.name
                    continue
                ports[origin][mac[node, BRIDGE]] = own.name
                waiting += [(next_node, next_end) for next_node, _, next_end in beside[node] if next_node not in seen]
    return ports
