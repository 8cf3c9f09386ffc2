"""A workload's events with their patterns matched."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.documents.fit import matched_links, workload_problems
from testbed.documents.resolved import KillEvent, LinkEvent, ResolvedTopology
from testbed.documents.workload import Event, Workload


def resolve_events(workload: Workload, topology: ResolvedTopology) -> tuple[LinkEvent | KillEvent, ...]:
    """The workload's events with their patterns matched, by time (those of one instant in the file's order).

    An event whose patterns name some links' ends the other way round becomes two, so that up and down are always the
    topology's. Raises ValueError if the workload does not fit the topology.
    """
    if problems := workload_problems(workload.document(), topology):
        raise ValueError("; ".join(text for _, text in problems))
    resolved = [each for event in workload.events for each in _resolved(event, topology)]
    return tuple(sorted(resolved, key=lambda event: event.at_s))


def _resolved(event: Event, topology: ResolvedTopology) -> Iterator[LinkEvent | KillEvent]:
    if event.kill is not None:
        yield KillEvent(event.at_s, event.kill)
    if event.links is None:
        return
    up, down = event.set.changes if event.set else (None, None)
    as_named, reversed_ = matched_links(event.links, topology)
    restore = event.set is None
    if as_named:
        yield LinkEvent(event.at_s, as_named, up, down, restore)
    if reversed_:
        yield LinkEvent(event.at_s, reversed_, down, up, restore)
