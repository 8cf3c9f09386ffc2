"""From what users write to what the other rooms build from."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import ValidationError

from testbed.documents.channels import Channel as WrittenChannel
from testbed.documents.channels import Constant, GilbertElliott, RadioFading, Steps, Trace, known_changes
from testbed.documents.layout import device_names, lay_out
from testbed.documents.model import nearest, one_of
from testbed.documents.parameters import Parameters
from testbed.documents.resolved import (
    Channel,
    Compute,
    LinkChange,
    LinkParameters,
    Placement,
    PlacementRule,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
    Schedule,
)
from testbed.documents.resolved import Limits as ResolvedLimits
from testbed.documents.resolved import Machine as ResolvedMachine
from testbed.documents.resolved import Tolerance as ResolvedTolerance
from testbed.documents.topology import Limits, Machine, Paced, Topology


def resolve(topology: Topology) -> ResolvedTopology:
    """The topology with groups counted out and patterns matched. Raises ValueError if its parts do not fit together."""
    layout = lay_out(topology.document())
    if layout.problems:
        raise ValueError("; ".join(text for _, text in layout.problems))
    homes = layout.neighbours
    devices = {
        name: ResolvedDevice(tuple(homes[name]), _compute(device.compute), _limits(device.limits))
        for group, device in topology.devices.items()
        for name in device_names(group, device.count)
    }
    channels = _Channels(topology.recorded)
    ways = [[channels.resolved(given, channel) for _, given, channel in link.ways] for link in topology.links]
    return ResolvedTopology(
        name=topology.name,
        access_points={name: ResolvedAccessPoint(each.bandwidth_bps) for name, each in topology.access_points.items()},
        edges={
            name: ResolvedEdge(edge.access_point, _compute(edge.compute), _limits(edge.limits))
            for name, edge in topology.edges.items()
        },
        devices=devices,
        links=tuple(
            ResolvedLink(a, b, up, down, up_channel, down_channel)
            for (a, b), index in layout.pairs.items()
            for (up, up_channel), (down, down_channel) in [ways[index]]
        ),
        congestion_control=topology.congestion_control,
        channels=channels.found,
        switch=topology.switch,
        tolerance=ResolvedTolerance(topology.tolerance.bandwidth, topology.tolerance.delay_s * 1e3),
        machines=tuple(_machine(name, machine) for name, machine in topology.machines.items()),
        place=Placement(cast(PlacementRule, topology.place.get("by", "access_point")), layout.placed),
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


def _limits(limits: Limits | None) -> ResolvedLimits:
    return ResolvedLimits(limits.memory_bytes, limits.cpus) if limits else ResolvedLimits()


def _machine(name: str, written: Machine) -> ResolvedMachine:
    return ResolvedMachine(
        name,
        written.address,
        written.user,
        written.port,
        written.key_file,
        written.known_hosts,
        written.python or sys.executable,
        written.tunnel_address or written.address,
    )


class _Channels:
    """The channels of a topology, equal ones once."""

    def __init__(self, recorded: Mapping[Trace, Schedule]) -> None:
        self._recorded = recorded
        self._numbers: dict[Channel, int] = {}
        self._known: dict[object, int] = {}  # by what is written, so that long traces are compared once

    @property
    def found(self) -> tuple[Channel, ...]:
        return tuple(self._numbers)

    def resolved(self, given: LinkChange, written: WrittenChannel) -> tuple[LinkParameters, int | None]:
        """How a direction rests, and the number of its channel."""
        known = self._recorded_in(written).changes if isinstance(written, Trace) else known_changes(written)
        rest = given.over(known[0]) if known else given
        parameters = rest.applied_to(LinkParameters(bandwidth_bps=0.0))  # the link sees to it that there is a bandwidth
        return parameters, self._number(written, parameters)

    def _number(self, written: WrittenChannel, rest: LinkParameters) -> int | None:
        if isinstance(written, Constant | GilbertElliott):
            return None
        key = (written.model_dump_json(), rest) if isinstance(written, Steps) else written
        if key not in self._known:
            self._known[key] = self._numbers.setdefault(self._channel(written, rest), len(self._numbers))
        return self._known[key]

    def _channel(self, written: Trace | Steps | RadioFading, rest: LinkParameters) -> Channel:
        match written:
            case Trace():
                return self._recorded_in(written)
            case RadioFading():
                return written.resolved()
        return _schedule(written, rest)

    def _recorded_in(self, trace: Trace) -> Schedule:
        if trace not in self._recorded:
            raise ValueError(f"the trace {trace.file!r} has not been read: load the topology from its file")
        return self._recorded[trace]


def _schedule(steps: Steps, rest: LinkParameters) -> Schedule:
    """The steps; where they begin anew, the first sets all that any sets, so that every round is like the first."""
    changes = [step.change() for step in steps.steps]
    if steps.period_s is not None:
        set_once = {
            name: getattr(rest, name)
            for name in LinkChange.__struct_fields__
            if any(getattr(change, name) is not None for change in changes)
        }
        changes[0] = changes[0].over(LinkChange(**set_once))
    return Schedule(tuple(step.at_s for step in steps.steps), tuple(changes), steps.period_s)
