"""A topology with its groups counted out and its patterns matched: what the other rooms build from.

These are plain structs, so that they go into state files, manifests and between processes as JSON.
"""

from __future__ import annotations

from typing import Literal

import msgspec

RuntimeName = Literal["onnx", "torch"]
"""What computes the network."""

SPLITS = ("stem", "layer1", "layer2", "layer3")
"""Where a checkpoint's network may be split: after the stage named."""


class LinkParameters(msgspec.Struct, frozen=True):
    """One direction of a link. Bandwidth counts bits at the IP layer; delay is one way, on top of serialisation."""

    bandwidth_bps: float
    delay_s: float = 0.0
    jitter_s: float = 0.0  # uniform, plus or minus; never reorders
    loss: float = 0.0  # 0 to 1, drawn after the packet has used the link
    queue_bytes: int | None = None  # None: bandwidth times delay, and enough for a burst
    burst: float | None = None  # mean number of packets lost in a row (Gilbert-Elliott); None: each is lost on its own


class LinkChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some parameters of one direction, to be changed in place; None stays as it is."""

    bandwidth_bps: float | None = None
    delay_s: float | None = None
    jitter_s: float | None = None
    loss: float | None = None
    queue_bytes: int | None = None
    burst: float | None = None

    def applied_to(self, old: LinkParameters) -> LinkParameters:
        """The parameters after the change."""
        new = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(old, **new)

    def over(self, other: LinkChange) -> LinkChange:
        """Both changes as one; where both set a parameter, this one counts."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__struct_fields__)
        return LinkChange(*(theirs if own is None else own for own, theirs in pairs))


class Schedule(msgspec.Struct, frozen=True, tag="schedule"):
    """A channel known beforehand: what `steps` and `trace` become."""

    at_s: tuple[float, ...]  # from the run's start, rising; the first is 0
    changes: tuple[LinkChange, ...]  # one for each instant
    period_s: float | None = None  # after so long it begins anew; None: the last change stays


class Fading(msgspec.Struct, frozen=True, tag="fading"):
    """A channel that is drawn: every coherence time a new gain, independent of the last, and the Shannon rate with it.

    rate = B log2(1 + P g / (N0 B)), g = |h|² d^-n / L0; |h|² has mean 1, exponential for K = 0 (Rayleigh), else Rician.
    """

    bandwidth_hz: float  # B
    distance_m: float  # d
    path_loss_exponent: float  # n
    reference_loss_db: float  # L0, at 1 m
    transmit_power_dbm: float  # P
    noise_dbm_per_hz: float  # N0
    coherence_s: float
    rician_k: float = 0.0  # K, power of the direct path over that of all others


Channel = Schedule | Fading


class ResolvedLink(msgspec.Struct, frozen=True):
    """A link between two nodes. `a` is the one named first: `up` is from `a` to `b`.

    The parameters are those at rest: before and after runs, and where no channel varies them.
    """

    a: str
    b: str
    up: LinkParameters
    down: LinkParameters
    up_channel: int | None = None  # which of the topology's channels varies `up` during a run
    down_channel: int | None = None


class ResolvedAccessPoint(msgspec.Struct, frozen=True):
    """An access point, and the total rate that its links to devices share, both directions together; None: no limit."""

    bandwidth_bps: float | None = None


class Compute(msgspec.Struct, frozen=True):
    """How a node computes: paced at so many FLOP/s, or live (None): as long as it takes here."""

    flops_per_s: float | None = None


class Limits(msgspec.Struct, frozen=True):
    """What the processes of a node may use of this machine; None: as much as there is."""

    memory_bytes: int | None = None
    cpus: float | None = None  # cores' worth of time


class Tolerance(msgspec.Struct, frozen=True):
    """How far a link may be from what was asked. The loss asked must lie inside its measured interval."""

    bandwidth: float = 0.03  # of what was asked
    delay_ms: float = 0.5


class ResolvedEdge(msgspec.Struct, frozen=True):
    """An edge: the access point it hangs on, and its compute."""

    access_point: str
    compute: Compute
    limits: Limits = Limits()


class ResolvedDevice(msgspec.Struct, frozen=True):
    """A device: the access points it is linked to, in the order of the links, and its compute."""

    access_points: tuple[str, ...]
    compute: Compute
    limits: Limits = Limits()


class Machine(msgspec.Struct, frozen=True):
    """A lab machine, and how the driver's reaches it."""

    name: str
    address: str  # on the management network
    user: str = "root"
    port: int = 22
    key_file: str | None = None  # None: OpenSSH's usual ones and the agent's; may begin with ~/
    known_hosts: str | None = None  # None: OpenSSH's usual ones; may begin with ~/
    python: str = ""  # of the environment there that has the testbed
    tunnel_address: str = ""  # on the network that carries links between machines


PlacementRule = Literal["access_point", "pack", "spread"]


class Placement(msgspec.Struct, frozen=True):
    """Which nodes lie on which machine: by hand, and the rule for all others."""

    by: PlacementRule = "access_point"
    by_hand: dict[str, str] = {}  # node to machine


class ResolvedTopology(msgspec.Struct, frozen=True):
    """A topology ready to be built."""

    name: str
    access_points: dict[str, ResolvedAccessPoint]
    edges: dict[str, ResolvedEdge]
    devices: dict[str, ResolvedDevice]
    links: tuple[ResolvedLink, ...]
    congestion_control: str = "cubic"
    channels: tuple[Channel, ...] = ()  # several links may have the same; each draws its own
    switch: Literal["bridge", "ovs"] = "bridge"
    tolerance: Tolerance = Tolerance()
    machines: tuple[Machine, ...] = ()  # none: all on this one
    place: Placement = Placement()


class LinkEvent(msgspec.Struct, frozen=True, tag="link"):
    """At `at_s` from the run's start, some links change; each is named (a, b) as in the topology's links."""

    at_s: float
    links: tuple[tuple[str, str], ...]
    up: LinkChange | None = None
    down: LinkChange | None = None
    restore: bool = False  # back to what the run found; up and down are then None


class CutEvent(msgspec.Struct, frozen=True, tag="cut"):
    """From `at_s` to `until_s` from the run's start nothing passes some links, in either direction."""

    at_s: float
    until_s: float
    links: tuple[tuple[str, str], ...]


class StopEvent(msgspec.Struct, frozen=True, tag="stop"):
    """At `at_s` a node is switched off: nothing passes its links, and a device or an edge drops its work."""

    at_s: float
    node: str


class StartEvent(msgspec.Struct, frozen=True, tag="start"):
    """At `at_s` a stopped node is switched on again, with nothing of its work left."""

    at_s: float
    node: str


class KillEvent(msgspec.Struct, frozen=True, tag="kill"):
    """At `at_s` from the run's start, an edge's processes are killed."""

    at_s: float
    node: str


Event = LinkEvent | CutEvent | StopEvent | StartEvent | KillEvent


class PolicySpec(msgspec.Struct, frozen=True):
    """A policy to run: a built-in name or `package.module:Class`, and its options."""

    name: str
    options: dict[str, object] = {}
