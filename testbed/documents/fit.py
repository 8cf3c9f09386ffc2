"""What a workload says of the topology that it runs on, and what is wrong with that."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from testbed.documents.channels import impossible_bursts
from testbed.documents.layout import ENOUGH, Loc, Problem, matching, unknown_node
from testbed.documents.model import KEY, nearest, one_of
from testbed.documents.parameters import BothWays, too_much_under_way
from testbed.documents.resolved import LinkChange, LinkParameters, ResolvedTopology
from testbed.documents.units import DURATION, INSTANT, RATE, SHARE, SLOT
from testbed.documents.workload import DEFAULT_SLOT_S, Flap

Links = tuple[tuple[str, str], ...]


def matched_links(patterns: tuple[str, str], topology: ResolvedTopology) -> tuple[Links, Links]:
    """The links that match as they are named in the topology, and those that match the other way round."""
    first, second = (set(matching(pattern, _nodes(topology))) for pattern in patterns)
    links = [(link.a, link.b) for link in topology.links]
    as_named = tuple((a, b) for a, b in links if a in first and b in second)
    return as_named, tuple((a, b) for a, b in links if b in first and a in second and (a, b) not in as_named)


def _nodes(topology: ResolvedTopology) -> list[str]:
    return [*topology.devices, *topology.edges, *topology.access_points]


def workload_problems(
    data: Mapping[str, Any], topology: ResolvedTopology | None = None, broken: Collection[Loc] = ()
) -> list[Problem]:
    """What is wrong between the parts of a workload document, and between it and a topology.

    `broken` names the fields that are wrong by themselves; nothing is said that only follows from them.
    """
    problems = [
        *_late_events(data),
        *_stops_and_starts(data, broken),
        *_too_much_in_classes(data, broken),
        *_crowded_slots(data, broken),
    ]
    if topology is not None:
        for found in (
            _unknown_links(data, topology, broken),
            _impossible_links(data, topology, broken),
            _unknown_nodes(data, topology, broken),
            _unknown_edges(data, topology, broken),
            _unknown_devices(data, topology, broken),
        ):
            problems += itertools.islice(found, ENOUGH)
    return problems


def _late_events(data: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        duration_s = DURATION.parse(data.get("duration"))
    except ValueError:
        return
    for index, event in _events(data):
        at_s = _at(event)
        if at_s is None:
            continue
        if at_s > duration_s:
            text = f"{event['at']} is after the run's end, at most {data['duration']} is allowed"
            yield ("events", index, "at"), text
        elif (last_s := _last_cut(event, at_s)) is not None and last_s > duration_s:
            text = f"the last time would begin at {last_s:g} s, after the run's end ({data['duration']}): fewer times"
            yield ("events", index, "flap"), text


def _at(event: Mapping[str, Any]) -> float | None:
    try:
        return INSTANT.parse(event.get("at"))
    except ValueError:
        return None


def _last_cut(event: Mapping[str, Any], at_s: float) -> float | None:
    """When a flap goes down for the last time, if it is a flap."""
    try:
        flap = Flap.model_validate(event.get("flap"))
    except ValidationError:
        return None
    return at_s + (flap.times - 1) * (flap.down_s + flap.up_s)


def _stops_and_starts(data: Mapping[str, Any], broken: Collection[Loc]) -> Iterator[Problem]:
    """Nodes that are stopped twice, or started without having been stopped."""
    if any(loc[:1] == ("events",) and loc[2:3] in ((), ("at",), ("stop",), ("start",)) for loc in broken):
        return  # the order is in doubt
    timed = [(_at(event) or 0.0, index, event) for index, event in _events(data)]
    stopped: dict[str, int] = {}
    for _, index, event in sorted(timed, key=lambda each: each[:2]):
        stop, start = event.get("stop"), event.get("start")
        if stop is not None:
            if stop in stopped:
                yield ("events", index, "stop"), f"{stop!r} was stopped by events[{stopped[stop]}] already"
            stopped[stop] = index
        elif start is not None and stopped.pop(start, None) is None:
            yield ("events", index, "start"), f"{start!r} runs already: a start needs an earlier stop of the node"


def _too_much_in_classes(data: Mapping[str, Any], broken: Collection[Loc]) -> Iterator[Problem]:
    classes = data.get("classes")
    if not isinstance(classes, dict) or any(loc[:1] == ("classes",) for loc in broken):
        return
    total = sum(SHARE.parse(each["share"]) for each in classes.values())
    if total > 1 + 1e-9:
        yield ("classes",), f"the shares are {100 * total:g} % together, more than all arrivals"


def _crowded_slots(data: Mapping[str, Any], broken: Collection[Loc]) -> Iterator[Problem]:
    """Slotted arrivals that would need several jobs in a slot."""
    arrivals, offloading = data.get("arrivals"), data.get("offloading")
    if not isinstance(arrivals, dict) or not isinstance(offloading, dict) or arrivals.get("process") != "slotted":
        return
    if any(loc[:1] in (("arrivals",), ("offloading",)) for loc in broken):
        return
    slot_s = SLOT.parse(offloading["slot"]) if "slot" in offloading else DEFAULT_SLOT_S
    if RATE.parse(arrivals["rate"]) * slot_s > 1 + 1e-9:
        text = f"is more than one job a slot of {slot_s:g} s, at most {1 / slot_s:g} /s is allowed, or shorter slots"
        yield ("arrivals", "rate"), text


def _unknown_links(data: Mapping[str, Any], topology: ResolvedTopology, broken: Collection[Loc]) -> Iterator[Problem]:
    nodes = _nodes(topology)
    for index, event in _events(data):
        loc: Loc = ("events", index, "links")
        if "links" not in event or any(each[:3] == loc for each in broken):
            continue
        unknown = [side for side, pattern in enumerate(event["links"]) if not matching(pattern, nodes)]
        for side in unknown:
            yield (*loc, side), unknown_node(event["links"][side], nodes)
        if not unknown and not any(matched_links(event["links"], topology)):
            links = one_of([f"[{link.a}, {link.b}]" for link in topology.links])
            yield loc, f"no link joins {event['links'][0]!r} and {event['links'][1]!r}, there are: {links}"


def _impossible_links(
    data: Mapping[str, Any], topology: ResolvedTopology, broken: Collection[Loc]
) -> Iterator[Problem]:
    """Changes that a link cannot have together with what it keeps."""
    links = {(link.a, link.b): link for link in topology.links}
    for index, event in _events(data):
        loc: Loc = ("events", index, "set")
        if "set" not in event or "links" not in event or any(each[:2] == loc[:2] for each in broken):
            continue
        changes = BothWays.model_validate(event["set"]).changes
        for pairs, (up, down) in zip(matched_links(event["links"], topology), (changes, changes[::-1]), strict=True):
            directions = [
                (each, links[a, b]) for a, b in pairs for each in ((up, links[a, b].up), (down, links[a, b].down))
            ]
            problems = ((link, impossible(change, old)) for (change, old), link in directions)
            for link, problem in problems:
                if problem:
                    yield loc, f"{problem} ([{link.a}, {link.b}])"
                    break


def impossible(change: LinkChange, old: LinkParameters) -> str | None:
    """Why a direction cannot be changed so, with what it keeps; None if it can."""
    new = change.applied_to(old)
    late = too_much_under_way([LinkChange(new.bandwidth_bps, new.delay_s, new.jitter_s)])
    return late or (impossible_bursts(new.loss, new.burst) if new.burst is not None else None)


def _unknown_nodes(data: Mapping[str, Any], topology: ResolvedTopology, broken: Collection[Loc]) -> Iterator[Problem]:
    for index, event in _events(data):
        for action in ("stop", "start"):
            loc: Loc = ("events", index, action)
            node = event.get(action)
            if node is not None and loc not in broken and node not in _nodes(topology):
                near = nearest(node, _nodes(topology))
                yield loc, f"there is no node {node!r}{near or ','} there are: {one_of(_nodes(topology))}"


def _unknown_devices(data: Mapping[str, Any], topology: ResolvedTopology, broken: Collection[Loc]) -> Iterator[Problem]:
    """Arrivals at devices that there are not."""
    arrivals = data.get("arrivals")
    times = arrivals.get("times") if isinstance(arrivals, dict) else None
    if not isinstance(times, dict) or any(loc[:1] == ("arrivals",) for loc in broken):
        return
    for pattern in times:
        if not matching(pattern, topology.devices):
            yield ("arrivals", "times", pattern, KEY), unknown_node(pattern, list(topology.devices), "device")


def _unknown_edges(data: Mapping[str, Any], topology: ResolvedTopology, broken: Collection[Loc]) -> Iterator[Problem]:
    named: list[tuple[Loc, Any]] = [(("events", index, "kill"), event.get("kill")) for index, event in _events(data)]
    offloading = data.get("offloading")
    policy = offloading.get("policy") if isinstance(offloading, dict) else None
    several = isinstance(policy, list)
    for index, each in enumerate(policy if isinstance(policy, list) else [policy]):
        if isinstance(each, dict) and each.get("name") in ("full", "fixed"):
            loc: Loc = ("offloading", "policy", *((index,) if several else ()), "edge")
            named.append((loc, each.get("edge")))
    bad = {tuple(part for part in loc if not str(part).startswith("<")) for loc in broken}
    for loc, edge in named:
        if edge is not None and loc not in bad and edge not in topology.edges:
            near = nearest(edge, topology.edges)
            yield loc, f"{edge!r} is not an edge{near or ','} there are: {one_of(topology.edges)}"


def _events(data: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    events = data.get("events")
    for index, event in enumerate(events if isinstance(events, list) else []):
        if isinstance(event, dict):
            yield index, event
