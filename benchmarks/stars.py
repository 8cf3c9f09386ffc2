"""The topology that benchmarks measure: devices and an edge around one access point, by links of one kind."""

from __future__ import annotations

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
)


def star(devices: int, link: LinkParameters) -> ResolvedTopology:
    """Devices dev1, dev2, ... and edge1 around ap1."""
    names = [f"dev{number}" for number in range(1, devices + 1)]
    return ResolvedTopology(
        "star",
        {"ap1": ResolvedAccessPoint()},
        {"edge1": ResolvedEdge("ap1", Compute())},
        {name: ResolvedDevice(("ap1",), Compute()) for name in names},
        tuple(ResolvedLink(name, "ap1", link, link) for name in ("edge1", *names)),
    )
