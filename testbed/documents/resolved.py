"""A topology with its groups counted out and its patterns matched: what the other rooms build from.

These are plain structs, so that they go into state files, manifests and between processes as JSON.
"""

from __future__ import annotations

import msgspec


class LinkParameters(msgspec.Struct, frozen=True):
    """One direction of a link. Bandwidth counts bits at the IP layer; delay is one way, on top of serialisation."""

    bandwidth_bps: float
    delay_s: float = 0.0
    jitter_s: float = 0.0  # uniform, plus or minus; never reorders
    loss: float = 0.0  # 0 to 1, drawn after the packet has used the link
    queue_bytes: int | None = None  # None: bandwidth times delay, and enough for a burst


class LinkChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some parameters of one direction, to be changed in place; None stays as it is."""

    bandwidth_bps: float | None = None
    delay_s: float | None = None
    jitter_s: float | None = None
    loss: float | None = None
    queue_bytes: int | None = None

    def applied_to(self, old: LinkParameters) -> LinkParameters:
        """The parameters after the change."""
        new = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(old, **new)

    def over(self, other: LinkChange) -> LinkChange:
        """Both changes as one; where both set a parameter, this one counts."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__struct_fields__)
        return LinkChange(*(theirs if own is None else own for own, theirs in pairs))


class ResolvedLink(msgspec.Struct, frozen=True):
    """A link between two nodes. `a` is the one named first: `up` is from `a` to `b`."""

    a: str
    b: str
    up: LinkParameters
    down: LinkParameters


class Compute(msgspec.Struct, frozen=True):
    """How a node computes: paced at so many FLOP/s, or live (None): as long as it takes here."""

    flops_per_s: float | None = None


class ResolvedEdge(msgspec.Struct, frozen=True):
    """An edge: the access point it hangs on, and its compute."""

    access_point: str
    compute: Compute


class ResolvedDevice(msgspec.Struct, frozen=True):
    """A device: the access points it is linked to, in the order of the links, and its compute."""

    access_points: tuple[str, ...]
    compute: Compute


class ResolvedTopology(msgspec.Struct, frozen=True):
    """A topology ready to be built."""

    name: str
    access_points: tuple[str, ...]
    edges: dict[str, ResolvedEdge]
    devices: dict[str, ResolvedDevice]
    links: tuple[ResolvedLink, ...]
    congestion_control: str = "cubic"


class LinkEvent(msgspec.Struct, frozen=True, tag="link"):
    """At `at_s` from the run's start, some links change; each is named (a, b) as in the topology's links."""

    at_s: float
    links: tuple[tuple[str, str], ...]
    up: LinkChange | None = None
    down: LinkChange | None = None
    restore: bool = False  # back to what the run found; up and down are then None


class KillEvent(msgspec.Struct, frozen=True, tag="kill"):
    """At `at_s` from the run's start, an edge's processes are killed."""

    at_s: float
    node: str


class PolicySpec(msgspec.Struct, frozen=True):
    """A policy to run: a built-in name or `package.module:Class`, and its options."""

    name: str
    options: dict[str, object] = {}
