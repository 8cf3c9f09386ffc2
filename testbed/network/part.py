"""What of a testbed lies on one machine, and the links that cross between machines: pure functions of the topology."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from testbed.documents.resolved import LinkParameters, ResolvedLink, ResolvedTopology, Schedule
from testbed.network.addressing import Addressing
from testbed.network.errors import RefusedError
from testbed.network.shape import MTU, queue_bytes
from testbed.network.underlay import Underlay

TUNNEL_BYTES = 50
"""What a tunnel adds to each IP packet: Ethernet, VXLAN, UDP and IPv4."""
_IDENTIFIERS = 1 << 24


class Crossing(msgspec.Struct, frozen=True):
    """A link whose ends lie on two machines: that of the node named first, and that of the other."""

    link: int  # its place in the topology
    machines: tuple[str, str]
    addresses: tuple[str, str]  # the machines', on the network that carries it
    identifier: int  # VXLAN's, which no other link of the testbed has
    mtu: int  # IP bytes of the largest packet
    delay_s: float  # one way, that the real network takes of itself

    def emulated(self, link: LinkParameters) -> LinkParameters:
        """What is left to emulate of a direction: its delay less the real network's; its queue stays as it is."""
        return msgspec.structs.replace(
            link, delay_s=max(0.0, link.delay_s - self.delay_s), queue_bytes=queue_bytes(link)
        )


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
    if refusals := [*_refusals(topology, placement, underlays)]:
        raise RefusedError("\n".join(refusals))
    first = zlib.crc32(topology.name.encode())
    crossings = []
    for number, link in enumerate(topology.links):
        machines = _machines(link, placement)
        if machines[0] != machines[1]:
            underlay = underlays[min(machines), max(machines)]
            crossings.append(
                Crossing(
                    number,
                    machines,
                    (addresses[machines[0]], addresses[machines[1]]),
                    (first + number) % _IDENTIFIERS,
                    min(MTU, underlay.mtu - TUNNEL_BYTES),
                    underlay.delay_s,
                )
            )
    return {name: Part(name, dict(placement), tuple(crossings)) for name in dict.fromkeys(placement.values())}


def lacking(link: LinkParameters, underlay_s: float) -> str | None:
    """Why a direction that crosses between machines cannot have the delay asked, given the real network's one way."""
    least_s = max(0.0, link.delay_s - link.jitter_s)
    if least_s >= underlay_s:
        return None
    return f"asks for a delay of {least_s * 1e3:.3f} ms{' with its jitter' if link.jitter_s else ''}"


def _refusals(
    topology: ResolvedTopology, placement: Mapping[str, str], underlays: Mapping[tuple[str, str], Underlay]
) -> Iterator[str]:
    """Each thing that the real network cannot give. What fading may come to is not known beforehand: of that, the rate
    at rest counts."""
    together: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for link in topology.links:
        machines = _machines(link, placement)
        if machines[0] == machines[1]:
            continue
        underlay = underlays[min(machines), max(machines)]
        name = f"{link.a}-{link.b}"
        place = f"place {link.a} and {link.b} on one machine"
        for pair in ((link.a, link.b), (link.b, link.a)):
            if pair[0] in topology.devices and topology.access_points[pair[1]].bandwidth_bps is not None:
                yield (
                    f"the link {name} cannot share the bandwidth of {pair[1]}, which lies on {placement[pair[1]]}, from"
                    f" {placement[pair[0]]}: {place}, or give {pair[1]} none"
                )
        for way, (sender, receiver) in (("up", machines), ("down", machines[::-1])):
            values = [*_values(topology, link, way)]
            fault = next(filter(None, (lacking(one, underlay.delay_s) for one in values)), None)
            if fault:
                yield (
                    f"the link {name} ({way}) {fault}, but the network between {sender} and {receiver} takes"
                    f" {underlay.delay_s * 1e3:.3f} ms itself: give it at least so much, or {place}"
                )
            together.setdefault((sender, receiver), []).append((name, max(one.bandwidth_bps for one in values)))
    for (sender, receiver), links in together.items():
        given_bps = underlays[min(sender, receiver), max(sender, receiver)].rates_bps[sender > receiver]
        asked_bps = sum(bps for _, bps in links)
        if asked_bps > given_bps:
            who = f"the link {links[0][0]} asks" if len(links) == 1 else f"{_named(links)} ask together"
            yield (
                f"{who} for {asked_bps / 1e6:.4g} Mbit/s from {sender} to {receiver}, but the network between them"
                f" gives {given_bps / 1e6:.4g} Mbit/s: give less, or place fewer links' ends on different machines"
            )


def _named(links: list[tuple[str, float]]) -> str:
    first = ", ".join(name for name, _ in sorted(links, key=lambda one: -one[1])[:3])
    return f"the links {first}" + (f" and {len(links) - 3} more" if len(links) > 3 else "")


def _values(topology: ResolvedTopology, link: ResolvedLink, way: str) -> Iterable[LinkParameters]:
    """What a direction is at rest, and all that a schedule makes of it."""
    rest, number = (link.up, link.up_channel) if way == "up" else (link.down, link.down_channel)
    yield rest
    channel = topology.channels[number] if number is not None else None
    if isinstance(channel, Schedule):
        for change in channel.changes:
            yield change.applied_to(rest)


def _machines(link: ResolvedLink, placement: Mapping[str, str]) -> tuple[str, str]:
    return placement[link.a], placement[link.b]
