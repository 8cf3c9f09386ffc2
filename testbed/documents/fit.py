"""What a workload says of the topology that it runs on, and what is wrong with that."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from testbed.documents.layout import ENOUGH, Loc, Problem, matching, unknown_node
from testbed.documents.model import nearest, one_of
from testbed.documents.resolved import ResolvedTopology
from testbed.documents.units import DURATION, INSTANT

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
    problems = list(_late_events(data))
    if topology is not None:
        problems += itertools.islice(_unknown_links(data, topology, broken), ENOUGH)
        problems += itertools.islice(_unknown_edges(data, topology, broken), ENOUGH)
    return problems


def _late_events(data: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        duration_s = DURATION.parse(data.get("duration"))
    except ValueError:
        return
    for index, event in _events(data):
        try:
            late = INSTANT.parse(event.get("at")) > duration_s
        except ValueError:
            continue
        if late:
            text = f"{event['at']} is after the run's end, at most {data['duration']} is allowed"
            yield ("events", index, "at"), text


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
