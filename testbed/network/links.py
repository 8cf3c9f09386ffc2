"""What a way to make and shape links must do: netem and relay are the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from testbed.documents.resolved import LinkParameters
from testbed.network.addressing import End


class Counters(msgspec.Struct, frozen=True):
    """What one direction of a link has delivered, in IP bytes and packets, and how many packets it dropped: for want of
    queue, or by the loss that was asked for."""

    bytes: int
    packets: int
    dropped: int


class Reading(NamedTuple):
    """One direction of a link as the system has it: what it is set to, and what it has carried."""

    parameters: LinkParameters
    counters: Counters


class Air(NamedTuple):
    """What some links of an access point share: all their directions together pass so many bits per second."""

    access_point: str
    side: int  # which end of the link lies at the access point
    bandwidth_bps: float
    links: int  # how many share it


class Wire(NamedTuple):
    """A link as the backends see it: its number, its two interfaces, the processes that hold their namespaces, and what
    it shares with others. At one of the ends there may be a tunnel to another machine in place of a node: then only
    what goes there is shaped here."""

    number: int
    ends: tuple[End, End]
    pids: tuple[int, int]
    air: Air | None = None
    tunnel: int | None = None  # at which end

    @property
    def directions(self) -> tuple[int, ...]:
        """Those that are shaped here."""
        return (0, 1) if self.tunnel is None else (1 - self.tunnel,)


class PlannedChange(NamedTuple):
    """One direction (0: up) of a link, and what it should be from an instant of the monotonic clock on."""

    at_ns: int
    link: tuple[str, str]
    direction: int
    parameters: LinkParameters
    whole: LinkParameters | None = None  # what it would be if all of its rate were allotted; None: it is


class AppliedChange(NamedTuple):
    """A planned change, and when it was applied."""

    planned: PlannedChange
    applied_ns: int


class Planned(NamedTuple):
    """A change of one direction that is to be applied at an instant of the monotonic clock."""

    number: int  # by which `Done` names it
    at_ns: int
    wire: Wire
    direction: int
    link: LinkParameters


class Done(NamedTuple):
    """When a planned change was applied, on the monotonic clock."""

    number: int
    applied_ns: int


Readings = tuple[Reading | None, Reading | None]
"""Of both directions; None of the one that is shaped on another machine."""


class Backend(Protocol):
    """Makes and shapes links. Direction 0 is from the first end to the second."""

    def making(self, wire: Wire) -> tuple[list[str], list[str]]:
        """Makes a link's two interfaces, or says by which `ip` commands at each end they are made."""

    def shape(self, wires: Sequence[Wire], asked: Sequence[tuple[LinkParameters, LinkParameters]]) -> None:
        """Shapes links for the first time, and checks that they are as they should be."""

    def change(self, wire: Wire, direction: int, link: LinkParameters) -> None:
        """Changes one direction in place."""

    def schedule(self, changes: Sequence[Planned]) -> None:
        """Has changes applied in place at their instants (at once, where they are past), in the order of the instants,
        those of one instant in the order given. Returns before; may be called again while changes wait."""

    def done(self) -> list[Done]:
        """The planned changes that were applied since the last call.

        Raises:
            NetworkError: one was refused.
        """

    def cancel(self) -> None:
        """Forgets the planned changes that have not been applied."""

    def read(self, wires: Sequence[Wire]) -> list[Readings]:
        """How each link's directions are set, and what they have carried."""

    def close(self) -> None:
        """Lets go of helpers; the links stay."""
