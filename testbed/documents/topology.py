"""The topology file: which nodes there are, and which links join them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    WithJsonSchema,
    model_validator,
)

from testbed.documents.channels import CONSTANT, Channel, GilbertElliott, Steps, Trace, gives_bandwidth, known_changes
from testbed.documents.model import Model, explained, shown
from testbed.documents.parameters import BothWays, Parameters, too_much_under_way
from testbed.documents.resolved import LinkChange, Schedule
from testbed.documents.units import Bandwidth, Delay, Memory, Share

MAX_NODES = 20_000
WAYS = ("up", "down")
NODE_NAME_LENGTH = 12

_NAME = r"[a-z][a-z0-9-]{0,29}"
_NODE_NAME = r"[a-z][a-z0-9-]{0,11}"


def _written_as(pattern: str, what: str, example: str) -> tuple[AfterValidator, WithJsonSchema]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise explained(f"{shown(text)} is not {what}, such as {example}")
        return text

    schema = {"type": "string", "pattern": f"^{pattern}$", "examples": [example]}
    return AfterValidator(check), WithJsonSchema(schema)


Name = Annotated[
    str,
    *_written_as(_NAME, "a name: a small letter, then at most 29 small letters, digits and hyphens", "star"),
]
NodeName = Annotated[
    str,
    *_written_as(_NODE_NAME, "a node name: a small letter, then at most 11 small letters, digits and hyphens", "edge1"),
]
NodePattern = Annotated[str, Field(min_length=1, max_length=60, examples=["dev*"])]


def _two(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise explained(f"must be a list of two node names or patterns, such as [dev*, ap1], found {_items(value)}")
    return tuple(value)


def _items(value: object) -> str:
    return f"{len(value)} names" if isinstance(value, list) else shown(value)


Pair = Annotated[
    tuple[NodePattern, NodePattern],
    BeforeValidator(_two),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 2,
            "maxItems": 2,
            "examples": [["dev*", "ap1"]],
        }
    ),
]


class Direction(Parameters):
    """Parameters of one direction of a link, and what varies them."""

    channel: Channel | None = Field(None, description="What varies this direction during a run.")


class Link(BothWays):
    """A link, or one for each pair of nodes that the two patterns match."""

    between: Pair = Field(
        description="The two nodes, or patterns of nodes, [dev*, ap1]; the one named first is farther from the core."
    )
    channel: Channel | None = Field(
        None,
        description="What varies the link during a run, such as {process: gilbert_elliott, loss: 2 %, burst: 5}; each "
        "link and direction draws its own.",
    )
    up: Direction | None = Field(None, description="Parameters and channel from the node named first to the second.")
    down: Direction | None = Field(None, description="Parameters and channel from the node named second to the first.")

    @property
    def channels(self) -> tuple[Channel, Channel]:
        """What varies each direction, up and down."""
        up, down = (way.channel if way and way.channel else self.channel for way in (self.up, self.down))
        return up or CONSTANT, down or CONSTANT

    @property
    def ways(self) -> tuple[tuple[str, LinkChange, Channel], ...]:
        """For each direction its name, what is given for it, and what varies it."""
        return tuple(zip(WAYS, self.changes, self.channels, strict=True))

    @model_validator(mode="after")
    def _bandwidth_both_ways(self) -> Self:
        lacking = [
            (way, channel)
            for way, given, channel in self.ways
            if given.bandwidth_bps is None and not gives_bandwidth(channel)
        ]
        if lacking:
            ways = " and ".join(way for way, _ in lacking)
            steps = ", or in the first step" if any(isinstance(channel, Steps) for _, channel in lacking) else ""
            raise explained(
                f"has no bandwidth {ways}, give `bandwidth`, such as 10 Mbit/s, here or under {ways}{steps}"
            )
        return self

    @model_validator(mode="after")
    def _one_loss(self) -> Self:
        for way, given, channel in self.ways:
            if given.loss is not None and isinstance(channel, GilbertElliott):
                raise explained(
                    f"has both `loss` and a gilbert_elliott channel {way}, which gives the loss: leave `loss` out there"
                )
        return self

    @model_validator(mode="after")
    def _queue_to_begin_anew_with(self) -> Self:
        for way, given, channel in self.ways:
            if given.queue_bytes is None and isinstance(channel, Steps) and channel.forgets_its_queue:
                text = "that sets `queue` and begins anew: give its first step or the link a `queue`"
                raise explained(f"has a channel {way} {text}")
        return self

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        for way, given, channel in self.ways:
            if problem := too_much_under_way([given, *known_changes(channel)]):
                raise explained(f"{problem} ({way})")
        return self


class Paced(Model):
    """Compute paced at a fixed speed."""

    gflops: float = Field(
        gt=0, le=1e9, description="Speed in GFLOP/s; the result is real, the duration is FLOPs over this.", examples=[5]
    )


def _kind_of_compute(value: object) -> str | None:
    if value == "live":
        return "<live>"
    return "<paced>" if isinstance(value, dict | Paced) else None


Compute = Annotated[
    Annotated[Literal["live"], Tag("<live>")] | Annotated[Paced, Tag("<paced>")],
    Discriminator(
        _kind_of_compute,
        custom_error_type="explained",
        custom_error_message="must be `live` or a pace in GFLOP/s, such as {gflops: 5}",
    ),
]
_COMPUTE = "How the node computes: live (as long as it takes here), or paced, such as {gflops: 5} in GFLOP/s."


class Limits(Model):
    """What the processes of a live node may use of this machine."""

    memory_bytes: Memory | None = Field(None, alias="memory", description="Memory; as much as there is if not given.")
    cpus: float | None = Field(
        None, ge=0.01, le=1024, description="Cores' worth of time; as much as there is if not given.", examples=[0.5]
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.memory_bytes is None and self.cpus is None:
            raise explained("limits nothing, give memory or cpus, such as {memory: 2 GiB, cpus: 0.5}")
        return self


class Node(Model):
    """What devices and edges have in common."""

    compute: Compute = Field(description=_COMPUTE)
    limits: Limits | None = Field(
        None, description="Of a live node: what it may use of this machine, such as {memory: 2 GiB, cpus: 0.5}."
    )

    @model_validator(mode="after")
    def _limits_for_live(self) -> Self:
        if self.limits is not None and self.compute != "live":
            raise explained("`limits` are for `compute: live`: a paced node computes nothing here, leave them out")
        return self


class AccessPoint(Model):
    """An access point."""

    bandwidth_bps: Bandwidth | None = Field(
        None,
        alias="bandwidth",
        description="Total rate that its links to devices share, both directions together; no limit if not given.",
    )


class Edge(Node):
    """An edge server."""

    access_point: str = Field(description="The access point that the edge hangs on; a link must join them.")


class Device(Node):
    """A device, or a group of equal devices."""

    count: int | None = Field(
        None,
        ge=1,
        le=MAX_NODES,
        description="How many: `dev` with count 8 is dev1 to dev8; without it, one device of this very name.",
    )


class Tolerance(Model):
    """How far a link may be from what was asked before a run over it is invalid."""

    bandwidth: Share = Field(0.03, description="Share of the bandwidth asked; 3 % if not given.")
    delay_s: Delay = Field(0.0005, alias="delay", description="Difference from the delay asked; 0.5 ms if not given.")


MAX_MACHINES = 64

_MACHINE_NAME = r"(?!local$)[a-z][a-z0-9-]{0,11}"  # `local` is what the only machine is called
MachineName = Annotated[
    str,
    *_written_as(
        _MACHINE_NAME,
        "a machine name: a small letter, then at most 11 small letters, digits and hyphens, and not `local`",
        "lab1",
    ),
]


def _address(text: str) -> str:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise explained(f"{shown(text)} is not an IPv4 address, such as 10.9.0.1") from None
    if address.is_loopback or address.is_multicast or address.is_unspecified or text == "255.255.255.255":
        raise explained(f"{text} is no address at which another machine can be reached, give one such as 10.9.0.1")
    return text


Address = Annotated[
    str,
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "format": "ipv4", "examples": ["10.9.0.1"]}),
]
UserName = Annotated[str, *_written_as(r"[a-z_][a-z0-9_-]{0,31}", "a user name", "root")]
AbsolutePath = Annotated[
    str, *_written_as(r"/[^\x00-\x1f\x7f]{1,1000}", "an absolute path", "/opt/testbed/.venv/bin/python")
]
OwnPath = Annotated[
    str,
    *_written_as(r"(/|~/)[^\x00-\x1f\x7f]{1,1000}", "a path that is absolute or begins with ~/", "~/.ssh/id_ed25519"),
]


class Machine(Model):
    """A lab machine, as the others reach it."""

    address: Address = Field(description="Its IPv4 address on the management network, for SSH and Ray.")
    user: UserName = Field("root", description="Who logs in there; not root: one who may use sudo without a password.")
    port: int = Field(22, ge=1, le=65535, description="The port where its SSH server listens.")
    key_file: OwnPath | None = Field(
        None, description="The private key to log in with; OpenSSH's usual ones and the agent's if not given."
    )
    known_hosts: OwnPath | None = Field(
        None, description="The file that has its host key; OpenSSH's usual ones if not given."
    )
    python: AbsolutePath | None = Field(
        None, description="Python of the environment there that has the testbed; the same path as here if not given."
    )
    tunnel_address: Address | None = Field(
        None, description="Its IPv4 address on the network that carries links between machines; `address` if not given."
    )


PLACEMENTS = ("access_point", "pack", "spread")
Place = Annotated[
    dict[NodePattern, str],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"by": {"enum": list(PLACEMENTS), "description": "The rule for nodes that are not named."}},
            "additionalProperties": {"type": "string"},
            "examples": [{"edge1": "lab2", "dev[1-4]": "lab1"}, {"by": "spread"}],
        }
    ),
]


class Topology(Model):
    """A network of devices, access points and edges."""

    name: Name = Field(description="The testbed's name, unless `--name` gives another.")
    access_points: dict[NodeName, AccessPoint] = Field(
        min_length=1, description="The access points by name, {ap1: {}}.", examples=[{"ap1": {}}]
    )
    edges: dict[NodeName, Edge] = Field(
        min_length=1,
        description="The edges by name, {edge1: {access_point: ap1, compute: {gflops: 200}}}.",
        examples=[{"edge1": {"access_point": "ap1", "compute": {"gflops": 200}}}],
    )
    devices: dict[NodeName, Device] = Field(
        min_length=1,
        description="The devices or groups of devices by name, {dev: {count: 8, compute: {gflops: 5}}}.",
        examples=[{"dev": {"count": 8, "compute": {"gflops": 5}}}],
    )
    links: list[Link] = Field(
        min_length=1, description="The links, - {between: [dev*, ap1], bandwidth: 10 Mbit/s, delay: 5 ms}."
    )
    machines: dict[MachineName, Machine] = Field(
        {},
        max_length=MAX_MACHINES,
        description="The lab machines that share the nodes, {lab1: {address: 10.9.0.1}}; none: all on this one.",
        examples=[{"lab1": {"address": "10.9.0.1"}, "lab2": {"address": "10.9.0.2"}}],
    )
    place: Place = Field(
        {},
        max_length=MAX_NODES,
        description="Which nodes lie on which machine, {edge1: lab2}, and with `by` the rule for all others: "
        "access_point (the default), pack or spread.",
    )
    congestion_control: Annotated[
        str, *_written_as(r"[a-z][a-z0-9_-]{0,14}", "the name of a TCP congestion control", "cubic")
    ] = Field("cubic", description="TCP congestion control of every node.")
    switch: Literal["bridge", "ovs"] = Field(
        "bridge", description="What an access point is made of: a Linux bridge, or Open vSwitch."
    )
    tolerance: Tolerance = Field(Tolerance(), description="How far links may be from what was asked.")

    _recorded: Mapping[Trace, Schedule] = PrivateAttr(default={})

    @property
    def traces(self) -> Iterator[tuple[tuple[str | int, ...], LinkChange, Trace]]:
        """The traces that directions follow: where each is named, what is given beside it, and the trace."""
        for index, link in enumerate(self.links):
            for way, given, channel in link.ways:
                if isinstance(channel, Trace):
                    own: Direction | None = getattr(link, way)
                    yield ("links", index, *([way] if own and own.channel else []), "channel"), given, channel

    @property
    def recorded(self) -> Mapping[Trace, Schedule]:
        """What the traces hold that the links name; nothing unless the topology was loaded from a file."""
        return self._recorded

    def with_traces(self, recorded: Mapping[Trace, Schedule]) -> Self:
        """The topology with what its traces hold."""
        copy = self.model_copy()
        copy._recorded = recorded
        return copy
