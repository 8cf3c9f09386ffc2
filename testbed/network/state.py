"""`state.json`: what a testbed consists of on one machine, for those who look at it from outside."""

from __future__ import annotations

from pathlib import Path

import msgspec

from testbed.documents.resolved import ResolvedTopology
from testbed.network.errors import NotUpError
from testbed.network.ownership import Ownership
from testbed.network.part import Part
from testbed.network.processes import Process, is_alive
from testbed.network.shape import Shaping


class NodeState(msgspec.Struct, frozen=True):
    """A node: the process that holds its namespace, and its addresses by interface."""

    kind: str  # device, edge, access_point
    pid: int
    start: int
    addresses: dict[str, str]

    @property
    def alive(self) -> bool:
        """Whether its namespace is still held."""
        return is_alive(Process(self.pid, self.start))


class State(msgspec.Struct, frozen=True):
    """A testbed on one machine: of the topology its part, and that part's nodes."""

    name: str
    machine: str
    shaping: Shaping
    topology: ResolvedTopology
    nodes: dict[str, NodeState]
    part: Part


def write_state(ownership: Ownership, state: State) -> None:
    """Puts the state in place whole: a reader finds the old one or the new one."""
    path = ownership.folder / "state.json"
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(state))
    fresh.replace(path)


def read_state(ownership: Ownership) -> State:
    """The state of a testbed.

    Raises:
        NotUpError: it has none: it is being built, or its building was broken off.
    """
    path: Path = ownership.folder / "state.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        raise NotUpError(
            f"testbed {ownership.name!r} is not whole: it is being built, or its building was broken off"
            f" (testbed down {ownership.name})"
        ) from None
