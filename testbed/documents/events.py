"""A workload's events with their patterns matched."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.documents.fit import matched_links, workload_problems
from testbed.documents.resolved import (
    CutEvent,
    Event,
    KillEvent,
    LinkEvent,
    ResolvedTopology,
    StartEvent,
    StopEvent,
)
from testbed.documents.workload import Event as WrittenEvent
from testbed.documents.workload import Workload


def resolve_events(workload: Workload, topology: ResolvedTopology) -> tuple[Event, ...]:
    """The workload's events with their patterns matched, by time (those of one instant in the file's order).

    An event whose patterns name some links' ends the other way round becomes two, so that up and down are always the
    topology's; a flap becomes a cut for each time. Raises ValueError if the workload does not fit the topology.
    """
    if problems := workload_problems(workload.document(), topology):
        raise ValueError("; ".join(text for _, text in problems))
    resolved = [each for event in workload.events for each in _resolved(event, topology)]
    return tuple(sorted(resolved, key=lambda event: event.at_s))


def _resolved(event: WrittenEvent, topology: ResolvedTopology) -> Iterator[Event]:
    for node, kind in ((event.kill, KillEvent), (event.stop, StopEvent), (event.start, StartEvent)):
        if node is not None:
            yield kind(event.at_s, node)
    if event.links is None:
        return
    as_named, reversed_ = matched_links(event.links, topology)
    if event.partition_s is not None:
        yield CutEvent(event.at_s, event.at_s + event.partition_s, as_named + reversed_)
    elif event.flap is not None:
        for number in range(event.flap.times):
            begin_s = event.at_s + number * (event.flap.down_s + event.flap.up_s)
            yield CutEvent(begin_s, begin_s + event.flap.down_s, as_named + reversed_)
    else:
        up, down = event.set.changes if event.set else (None, None)
        restore = event.set is None
        if as_named:
            yield LinkEvent(event.at_s, as_named, up, down, restore)
        if reversed_:
            yield LinkEvent(event.at_s, reversed_, down, up, restore)
