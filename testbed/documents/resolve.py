"""From what users write to what the other rooms build from."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from testbed.documents.layout import device_names, lay_out
from testbed.documents.model import nearest, one_of
from testbed.documents.resolved import (
    Compute,
    LinkChange,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
)
from testbed.documents.topology import Link, Paced, Parameters, Topology


def resolve(topology: Topology) -> ResolvedTopology:
    """The topology with groups counted out and patterns matched. Raises ValueError if its parts do not fit together."""
    layout = lay_out(topology.document())
    if layout.problems:
        raise ValueError("; ".join(text for _, text in layout.problems))
    homes = layout.neighbours
    devices = {
        name: ResolvedDevice(tuple(homes[name]), _compute(device.compute))
        for group, device in topology.devices.items()
        for name in device_names(group, device.count)
    }
    both_ways = [_parameters(link) for link in topology.links]
    return ResolvedTopology(
        name=topology.name,
        access_points={name: ResolvedAccessPoint() for name in topology.access_points},
        edges={name: ResolvedEdge(edge.access_point, _compute(edge.compute)) for name, edge in topology.edges.items()},
        devices=devices,
        links=tuple(ResolvedLink(a, b, *both_ways[index]) for (a, b), index in layout.pairs.items()),
        congestion_control=topology.congestion_control,
    )


def parse_change(assignments: Sequence[str]) -> LinkChange:
    """A change of links given as words such as "bandwidth=1Mbit/s". Raises ValueError, saying what is allowed."""
    fields = [field.alias or name for name, field in Parameters.model_fields.items()]
    given: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ValueError(f"{assignment!r} is not an assignment, write such as bandwidth=1Mbit/s")
        if name not in fields:
            near = nearest(name, fields) or ","
            raise ValueError(f"{name!r} is no parameter of a link{near} allowed: {one_of(fields)}")
        if name in given:
            raise ValueError(f"{name} is given twice")
        given[name] = value
    if not given:
        raise ValueError(f"nothing to change, give at least one of {one_of(fields)}, such as bandwidth=1Mbit/s")
    try:
        return Parameters.model_validate(given).change()
    except ValidationError as error:
        raise ValueError("; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())) from None


def _compute(compute: str | Paced) -> Compute:
    return Compute(compute.gflops * 1e9) if isinstance(compute, Paced) else Compute()


def _parameters(link: Link) -> tuple[LinkParameters, LinkParameters]:
    up, down = (change.applied_to(LinkParameters(bandwidth_bps=0.0)) for change in link.changes)
    return up, down  # a link's model sees to it that both have a bandwidth
