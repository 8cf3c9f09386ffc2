"""What of a testbed lies on one machine, and the links that cross between machines: pure functions of the topology."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from testbed.documents.resolved import Event, LinkEvent, LinkParameters, ResolvedLink, ResolvedTopology, Schedule
from testbed.network.addressing import Addressing
from testbed.network.errors import RefusedError
from testbed.network.shape import MTU, queue_bytes
from testbed.network.underlay import Underlay

TUNNEL_BYTES = 50
"""What a tunnel adds to each IP packet: Ethernet, VXLAN, UDP and IPv4."""
_WAYS = ("up", "down")
_IDENTIFIERS = 1 << 24


class Crossing(msgspec.Struct, frozen=True):
    """A link whose ends lie on two machines: that of the node named first, and that of the other. What is up or down of
    it comes in this order."""

    link: int  # its place in the topology
    machines: tuple[str, str]
    addresses: tuple[str, str]  # the machines', on the network that carries it
    identifier: int  # VXLAN's, which no other link of the testbed has
    mtu: int  # IP bytes of the largest packet
    delay_s: float  # one way, that the real network takes of itself
    rates_bps: tuple[float, float]  # that it gives, up and down

    def emulated(self, link: LinkParameters) -> LinkParameters:
        """What is left to emulate of a direction: its delay less the real network's; its queue stays as it is."""
        return msgspec.structs.replace(
            link, delay_s=max(0.0, link.delay_s - self.delay_s), queue_bytes=queue_bytes(link)
        )

    def fault(self, direction: int, link: LinkParameters) -> str | None:
        """Why a direction (0: up) cannot be as asked; None if it can."""
        least_s = max(0.0, link.delay_s - link.jitter_s)
        sender, receiver = self.machines[direction], self.machines[1 - direction]
        if least_s < self.delay_s:
            less_jitter = ", less the jitter," if link.jitter_s else ""
            return (
                f"asks for a delay of {least_s * 1e3:.3f} ms{less_jitter} but the network from {sender} to {receiver}"
                f" takes {self.delay_s * 1e3:.3f} ms itself"
            )
        if link.bandwidth_bps > self.rates_bps[direction]:
            return (
                f"asks for {link.bandwidth_bps / 1e6:.4g} Mbit/s but the network from {sender} to {receiver} gives"
                f" {self.rates_bps[direction] / 1e6:.4g} Mbit/s"
            )
        return None


class Part(msgspec.Struct, frozen=True):
    """A testbed as one of its machines sees it."""

    machine: str
    placement: dict[str, str]  # of every node: its machine
    crossings: tuple[Crossing, ...] = ()  # of the whole testbed

    def here(self, node: str) -> bool:
        """Whether a node lies on this machine."""
        return self.placement[node] == self.machine

    def mtus(self, topology: ResolvedTopology, plan: Addressing) -> dict[int, int]:
        """The largest packet of each group of access points, IP bytes: one subnet has one, the least of its links'."""
        found = dict.fromkeys(plan.groups.values(), MTU)
        for crossing in self.crossings:
            group = group_of(topology.links[crossing.link], plan)
            found[group] = min(found[group], crossing.mtu)
        return found


def whole(topology: ResolvedTopology, machine: str) -> Part:
    """The part that is all of it."""
    return Part(machine, dict.fromkeys((*topology.access_points, *topology.edges, *topology.devices), machine))


def group_of(link: ResolvedLink, plan: Addressing) -> int:
    """The group of access points to which a link belongs."""
    return plan.groups[link.a if link.a in plan.groups else link.b]


def pairs(topology: ResolvedTopology, placement: Mapping[str, str]) -> list[tuple[str, str]]:
    """The machines between which links cross, each pair once and in the order of their names."""
    between = {_machines(link, placement) for link in topology.links}
    return sorted({(min(a, b), max(a, b)) for a, b in between if a != b})


def parts(
    topology: ResolvedTopology,
    placement: Mapping[str, str],
    addresses: Mapping[str, str],
    underlays: Mapping[tuple[str, str], Underlay],
) -> dict[str, Part]:
    """Each machine's part.

    Args:
        topology: what is to be built.
        placement: the machine of each node.
        addresses: the machines', on the network that carries links between them.
        underlays: what that network was measured to give between each of `pairs`.

    Raises:
        RefusedError: links ask for more than it can give; a line for each, with both figures.
    """
    first = zlib.crc32(topology.name.encode())
    crossings = []
    for number, link in enumerate(topology.links):
        machines = _machines(link, placement)
        if machines[0] != machines[1]:
            underlay = underlays[min(machines), max(machines)]
            crossings.append(
                Crossing(
                    link=number,
                    machines=machines,
                    addresses=(addresses[machines[0]], addresses[machines[1]]),
                    identifier=(first + number) % _IDENTIFIERS,
                    mtu=min(MTU, underlay.mtu - TUNNEL_BYTES),
                    delay_s=underlay.delay_s,
                    rates_bps=underlay.rates_bps if machines[0] < machines[1] else underlay.rates_bps[::-1],
                )
            )
    if refusals := [*_refusals(topology, crossings), *_too_much_together(topology, crossings)]:
        raise RefusedError("\n".join(refusals))
    return {name: Part(name, dict(placement), tuple(crossings)) for name in dict.fromkeys(placement.values())}


def event_faults(topology: ResolvedTopology, part: Part, events: Iterable[Event]) -> list[str]:
    """What events ask of links between machines that the real network cannot give; a line for each link."""
    crossings = {(topology.links[one.link].a, topology.links[one.link].b): one for one in part.crossings}
    found = []
    for event in events:
        if not isinstance(event, LinkEvent):
            continue
        for pair in event.links:
            if crossing := crossings.get(pair):
                link = topology.links[crossing.link]
                for direction, (rest, change) in enumerate(((link.up, event.up), (link.down, event.down))):
                    if change and (fault := crossing.fault(direction, change.applied_to(rest))):
                        found.append(f"at {event.at_s:g} s the link {link.a}-{link.b} ({_WAYS[direction]}) {fault}")
    return found


def _refusals(topology: ResolvedTopology, crossings: Iterable[Crossing]) -> Iterator[str]:
    """What single links ask that the real network cannot give. What fading may come to is not known beforehand: of
    that, the rate at rest counts."""
    for crossing in crossings:
        link = topology.links[crossing.link]
        mend = f"place {link.a} and {link.b} on one machine"
        for pair, machines in (((link.a, link.b), crossing.machines), ((link.b, link.a), crossing.machines[::-1])):
            if pair[0] in topology.devices and topology.access_points[pair[1]].bandwidth_bps is not None:
                yield (
                    f"the link {link.a}-{link.b} cannot share the bandwidth of {pair[1]}, which lies on {machines[1]},"
                    f" from {machines[0]}: {mend}, or give {pair[1]} no bandwidth"
                )
        for direction, way in enumerate(_WAYS):
            faults = (crossing.fault(direction, one) for one in _values(topology, link, direction))
            if fault := next(filter(None, faults), None):
                yield f"the link {link.a}-{link.b} ({way}) {fault}: ask for what it can give, or {mend}"


def _too_much_together(topology: ResolvedTopology, crossings: Iterable[Crossing]) -> Iterator[str]:
    """Where links that are possible one by one are not at the same time."""
    together: dict[tuple[str, str], list[tuple[float, str]]] = {}
    given_bps: dict[tuple[str, str], float] = {}
    for crossing in crossings:
        link = topology.links[crossing.link]
        for direction in (0, 1):
            machines = (crossing.machines[direction], crossing.machines[1 - direction])
            given_bps[machines] = crossing.rates_bps[direction]
            most_bps = max(one.bandwidth_bps for one in _values(topology, link, direction))
            together.setdefault(machines, []).append((most_bps, f"{link.a}-{link.b}"))
    for machines, links in together.items():
        asked_bps = sum(bps for bps, _ in links)
        if asked_bps > given_bps[machines] >= max(links)[0]:
            yield (
                f"the links {_named(links)} ask together for {asked_bps / 1e6:.4g} Mbit/s but the network from"
                f" {machines[0]} to {machines[1]} gives {given_bps[machines] / 1e6:.4g} Mbit/s: ask for less, or place"
                " their nodes so that fewer of them cross"
            )


def _named(links: Iterable[tuple[float, str]]) -> str:
    names = [name for _, name in sorted(links, reverse=True)]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _values(topology: ResolvedTopology, link: ResolvedLink, direction: int) -> Iterator[LinkParameters]:
    """What a direction is at rest, and all that a schedule makes of it."""
    rest, number = ((link.up, link.up_channel), (link.down, link.down_channel))[direction]
    yield rest
    channel = topology.channels[number] if number is not None else None
    if isinstance(channel, Schedule):
        for change in channel.changes:
            yield change.applied_to(rest)


def _machines(link: ResolvedLink, placement: Mapping[str, str]) -> tuple[str, str]:
    return placement[link.a], placement[link.b]
