"""The topology file: which nodes there are, and which links join them."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from testbed.documents.model import Model, explained, shown
from testbed.documents.resolved import LinkChange
from testbed.documents.units import Bandwidth, Delay, Loss, Size

MAX_NODES = 1000
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


class Parameters(Model):
    """What can be set on one direction of a link."""

    bandwidth_bps: Bandwidth | None = Field(
        None, alias="bandwidth", description="Bits per second at the IP layer; every packet takes size over bandwidth."
    )
    delay_s: Delay | None = Field(
        None, alias="delay", description="One-way delay on top of what the bandwidth takes; 0 ms if never given."
    )
    jitter_s: Delay | None = Field(
        None,
        alias="jitter",
        description="Uniform change of the delay, plus or minus, never reordering; 0 ms if never given.",
    )
    loss: Loss | None = Field(
        None, description="Share of packets lost after they have used the link; 0 % if never given."
    )
    queue_bytes: Size | None = Field(
        None,
        alias="queue",
        description="Size of the queue before the link; if never given, bandwidth times delay and enough for a burst.",
    )

    def change(self) -> LinkChange:
        """What is given here, as a change of one direction."""
        return LinkChange(self.bandwidth_bps, self.delay_s, self.jitter_s, self.loss, self.queue_bytes)


class BothWays(Parameters):
    """Parameters of both directions; `up` and `down` override them for one."""

    up: Parameters | None = Field(None, description="Parameters from the node named first to the second.")
    down: Parameters | None = Field(None, description="Parameters from the node named second to the first.")

    @property
    def changes(self) -> tuple[LinkChange, LinkChange]:
        """What is given for each direction, up and down."""
        return self._one_way(self.up), self._one_way(self.down)

    def _one_way(self, own: Parameters | None) -> LinkChange:
        return own.change().over(self.change()) if own else self.change()


class Link(BothWays):
    """A link, or one for each pair of nodes that the two patterns match."""

    between: Pair = Field(
        description="The two nodes, or patterns of nodes, [dev*, ap1]; the one named first is farther from the core."
    )

    @model_validator(mode="after")
    def _bandwidth_both_ways(self) -> Self:
        lacking = [
            way for way, change in zip(("up", "down"), self.changes, strict=True) if change.bandwidth_bps is None
        ]
        if lacking:
            ways = " and ".join(lacking)
            raise explained(f"has no bandwidth {ways}, give `bandwidth`, such as 10 Mbit/s, here or under {ways}")
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


class AccessPoint(Model):
    """An access point; it has no settings of its own."""


class Edge(Model):
    """An edge server."""

    access_point: str = Field(description="The access point that the edge hangs on; a link must join them.")
    compute: Compute = Field(description=_COMPUTE)


class Device(Model):
    """A device, or a group of equal devices."""

    count: int | None = Field(
        None,
        ge=1,
        le=MAX_NODES,
        description="How many: `dev` with count 8 is dev1 to dev8; without it, one device of this very name.",
    )
    compute: Compute = Field(description=_COMPUTE)


def _one_machine(value: object) -> object:
    if value != {}:
        raise explained("several machines are not supported by this version, leave it out or write {}")
    return value


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
    machines: Annotated[dict[str, str], BeforeValidator(_one_machine)] = Field(
        {},
        description="The lab machines that share the nodes; none: all on this one.",
        json_schema_extra={"maxProperties": 0},
    )
    congestion_control: Annotated[
        str, *_written_as(r"[a-z][a-z0-9_-]{0,14}", "the name of a TCP congestion control", "cubic")
    ] = Field("cubic", description="TCP congestion control of every node.")
