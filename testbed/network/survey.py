"""What stands of a testbed, as it is found from outside, without asking its owners."""

from __future__ import annotations

from pathlib import Path

import msgspec

from testbed.documents.resolved import LinkParameters
from testbed.network.build import DIRECTIONS, EmulatedNetwork
from testbed.network.errors import NetworkError, NotUpError
from testbed.network.links import Counters
from testbed.network.ownership import LOCAL, Ownership
from testbed.network.state import read_state


class NodeFound(msgspec.Struct, frozen=True):
    """A node, and whether its namespace is held."""

    name: str
    kind: str
    alive: bool
    pid: int
    addresses: dict[str, str]


class LinkFound(msgspec.Struct, frozen=True):
    """One direction of a link: as it is set, and what it has carried since it was built."""

    link: tuple[str, str]
    direction: str
    parameters: LinkParameters
    counters: Counters


class ProcessFound(msgspec.Struct, frozen=True):
    """A living process of the testbed."""

    pid: int
    name: str


class Survey(msgspec.Struct, frozen=True):
    """A testbed on one machine: up, incomplete (being built, or broken off), or damaged; in the last two only what
    could be found. Of another machine also: gone, as it has no part of it any more, or unreachable."""

    name: str
    condition: str
    shaping: str | None
    nodes: list[NodeFound]
    links: list[LinkFound]
    processes: list[ProcessFound]
    machine: str = LOCAL
    problem: str | None = None  # why it is unreachable


def survey(name: str) -> Survey:
    """Looks at a testbed, as far as it lies on this machine.

    Raises:
        NotUpError: there is none of that name.
    """
    ownership = Ownership.open(name)
    processes = [ProcessFound(one.pid, called or _command(one.pid)) for one, called in ownership.processes().items()]
    try:
        state = read_state(ownership)
    except NotUpError:
        return Survey(name, "incomplete", None, [], [], processes, ownership.machine)
    nodes = [NodeFound(key, node.kind, node.alive, node.pid, node.addresses) for key, node in state.nodes.items()]
    links: list[LinkFound] = []
    condition = "up" if all(node.alive for node in nodes) else "damaged"
    if condition == "up":
        try:
            network = EmulatedNetwork.attach(ownership)
            links = [
                LinkFound(link, direction, *reading)
                for link, both in network.readings().items()
                for direction, reading in zip(DIRECTIONS, both, strict=True)
                if reading is not None
            ]
            network.stop()
        except NetworkError:
            condition = "damaged"
    return Survey(name, condition, state.shaping.value, nodes, links, processes, ownership.machine)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"
