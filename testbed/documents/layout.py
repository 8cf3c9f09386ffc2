"""The nodes and links that a topology's groups and patterns stand for, and what is wrong between its parts.

It works on the document's plain values, so that these errors are told together with those of single fields: `broken`
names the fields that are wrong by themselves, and nothing is said that only follows from them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from testbed.documents.model import KEY, nearest, one_of
from testbed.documents.topology import MAX_NODES, NODE_NAME_LENGTH, PLACEMENTS
from testbed.documents.units import BANDWIDTH

MAX_LINKS = 40_000
MAX_SUBNETS = 255
"""What may be simulated, and what the network room can number: subnets, of which each tree of joined access points is
one."""

Loc = tuple[str | int, ...]
Problem = tuple[Loc, str]

ENOUGH = 100
"""So many unknown names are told, since looking for what was meant takes its time."""

_KINDS = {"access_points": "an access point", "edges": "an edge", "devices": "a device"}
_AP, _EDGE, _DEVICE = _KINDS.values()
_ALLOWED = ({_DEVICE, _AP}, {_EDGE, _AP}, {_AP})


@dataclass
class Layout:
    """Nodes with their kinds, links with the index of the entry that each comes from, nodes that were placed by hand
    with their machines, and problems.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    pairs: dict[tuple[str, str], int] = field(default_factory=dict)
    placed: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def neighbours(self) -> dict[str, list[str]]:
        """The nodes that each node is linked to, in the order of the links."""
        joined: dict[str, list[str]] = {name: [] for name in self.kinds}
        for a, b in self.pairs:
            joined[a].append(b)
            joined[b].append(a)
        return joined


def device_names(name: str, count: int | None) -> list[str]:
    """The devices of a group: dev1 to dev8, or just the name where there is no count."""
    return [name] if count is None else [f"{name}{number}" for number in range(1, count + 1)]


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern matches."""
    return [name for name in names if fnmatchcase(name, pattern)]


def unknown_node(pattern: str, names: Collection[str], what: str = "node") -> str:
    """The message for a name or pattern that matches nothing."""
    patterns = {f"{name.rstrip('0123456789')}*": None for name in names}
    near = nearest(pattern, [*names, *patterns] if "*" in pattern else names)
    return f"no {what} matches {pattern!r}{near or ','} there are: {one_of(names)}"


def lay_out(data: Mapping[str, Any], broken: Collection[Loc] = ()) -> Layout:
    """The layout of a topology document, whose fields at `broken` are known to be wrong already."""
    layout = Layout()
    _check_addresses(layout, data, broken)
    if not all(isinstance(data.get(kind), dict) for kind in _KINDS) or any(_unsure(loc) for loc in broken):
        return layout
    _name_nodes(layout, data)
    if any(loc[0] in _KINDS for loc, _ in layout.problems):
        return layout
    _place_nodes(layout, data, broken)
    links_known = _pair_nodes(layout, data, broken)
    edges_known = _check_edges(layout, data, broken, links_known)
    if links_known:
        _check_loops(layout)
        _check_devices(layout, data, edges_known)
        _check_subnets(layout)
        _check_totals(layout, data, broken)
    return layout


def _unsure(loc: Loc) -> bool:
    """Whether an error there leaves the nodes' names in doubt."""
    return loc[:1] == ("devices",) and (len(loc) == 2 or loc[2:] == ("count",))


def _name_nodes(layout: Layout, data: Mapping[str, Any]) -> None:
    entries = [(kind, entry) for kind in _KINDS for entry in data[kind]]
    total = sum(data[kind][entry].get("count", 1) if kind == "devices" else 1 for kind, entry in entries)
    if total > MAX_NODES:
        layout.problems.append((("devices",), f"{total:,} nodes in all, at most {MAX_NODES:,} are allowed"))
        return
    for kind, entry in entries:
        loc: Loc = (kind, entry, KEY)
        names = device_names(entry, data[kind][entry].get("count")) if kind == "devices" else [entry]
        if len(entry) <= NODE_NAME_LENGTH < len(names[-1]):
            text = f"its last device would be {names[-1]!r}: node names have at most {NODE_NAME_LENGTH} characters"
            layout.problems.append((loc, text))
        if taken := [name for name in names if name in layout.kinds]:
            text = f"{taken[0]!r} is already {layout.kinds[taken[0]]}, each node needs a name of its own"
            layout.problems.append((loc, text))
        layout.kinds.update(dict.fromkeys(names, _KINDS[kind]))


def _check_addresses(layout: Layout, data: Mapping[str, Any], broken: Collection[Loc]) -> None:
    """Each machine needs addresses of its own: Ray and tunnels know machines by them."""
    machines = data.get("machines")
    if not isinstance(machines, dict):
        return
    for kind in ("address", "tunnel_address"):
        taken: dict[str, str] = {}
        for name, entry in machines.items():
            loc: Loc = ("machines", name, kind)
            address = entry.get(kind) if isinstance(entry, dict) else None
            if not isinstance(address, str) or loc in broken:
                continue
            if address in taken:
                layout.problems.append(
                    (loc, f"{address} is already that of {taken[address]!r}, each machine needs its own")
                )
            taken.setdefault(address, name)


def _place_nodes(layout: Layout, data: Mapping[str, Any], broken: Collection[Loc]) -> None:
    """Matches the patterns of `place`."""
    place, machines = data.get("place", {}), data.get("machines", {})
    if not isinstance(place, dict) or not isinstance(machines, dict) or ("place",) in broken:
        return
    if place and not machines:
        layout.problems.append((("place",), "there are no `machines` to place nodes on, name some or leave it out"))
        return
    by: dict[str, str] = {}  # the pattern that placed each node
    for pattern, machine in place.items():
        loc: Loc = ("place", pattern)
        if len(layout.problems) >= ENOUGH:
            return
        if any(each[:2] == loc for each in broken):
            continue
        if pattern == "by":
            if machine not in PLACEMENTS:
                text = (
                    f"{machine!r} is no placement{nearest(machine, PLACEMENTS) or ','} there are: {one_of(PLACEMENTS)}"
                )
                layout.problems.append((loc, text))
            continue
        if machine not in machines:
            near = nearest(machine, machines) or ","
            layout.problems.append((loc, f"there is no machine {machine!r}{near} there are: {one_of(machines)}"))
            continue
        names = _ends(layout, pattern, (*loc, KEY))
        if twice := [name for name in names if name in by]:
            text = f"places {twice[0]!r} a second time, first done by {by[twice[0]]!r}"
            layout.problems.append(((*loc, KEY), text))
        for name in names:
            by.setdefault(name, pattern)
            layout.placed.setdefault(name, machine)


def _pair_nodes(layout: Layout, data: Mapping[str, Any], broken: Collection[Loc]) -> bool:
    """Matches the links' patterns; whether all links are known afterwards."""
    links = data.get("links")
    if not isinstance(links, list):
        return False
    doubtful = {loc[1] for loc in broken if loc[:1] == ("links",) and len(loc) > 1 and "between" in loc[2:3]}
    known, before = True, len(layout.problems)
    for index, link in enumerate(links):
        if len(layout.problems) >= ENOUGH:
            return False
        if index in doubtful or not isinstance(link, dict) or "between" not in link:
            known = False
            continue
        first, second = link["between"]
        entry = ("links", index, "between")
        for a, b in _distinct_pairs(_ends(layout, first, (*entry, 0)), _ends(layout, second, (*entry, 1))):
            if problem := _refusal(layout, a, b):
                layout.problems.append((entry, problem))
                break
            if len(layout.pairs) == MAX_LINKS:
                layout.problems.append((entry, f"makes more than {MAX_LINKS:,} links in all, which is the most"))
                return False
            layout.pairs[a, b] = index
    return known and len(layout.problems) == before


def _ends(layout: Layout, pattern: str, loc: Loc) -> list[str]:
    if pattern in layout.kinds:
        return [pattern]
    names = matching(pattern, layout.kinds)
    if not names:
        layout.problems.append((loc, unknown_node(pattern, layout.kinds)))
    return names


def _distinct_pairs(first: list[str], second: list[str]) -> Iterator[tuple[str, str]]:
    seen = set()
    for a, b in itertools.product(first, second):
        if a != b and (b, a) not in seen:
            seen.add((a, b))
            yield a, b
    if first == second and len(first) == 1:
        yield first[0], second[0]


def _refusal(layout: Layout, a: str, b: str) -> str | None:
    if a == b:
        return f"links {a!r} with itself"
    for pair in ((a, b), (b, a)):
        if pair in layout.pairs:
            return f"links {a!r} and {b!r} a second time, first done by links[{layout.pairs[pair]}]"
    kinds = layout.kinds[a], layout.kinds[b]
    if set(kinds) not in _ALLOWED:
        return f"links {kinds[0]} and {kinds[1]} ({a!r}, {b!r}), one end must be an access point"
    return None


def _check_edges(layout: Layout, data: Mapping[str, Any], broken: Collection[Loc], links_known: bool) -> bool:
    """Checks the edges' access points; whether all of them are known."""
    known, joined = True, layout.neighbours
    for edge, entry in data["edges"].items():
        loc: Loc = ("edges", edge, "access_point")
        home = entry.get("access_point") if isinstance(entry, dict) else None
        if home is None or loc in broken:
            known = False
        elif home not in data["access_points"]:
            known = False
            text = f"{home!r} is {layout.kinds[home]}" if home in layout.kinds else f"there is no {home!r}"
            near = nearest(home, data["access_points"])
            layout.problems.append((loc, f"{text}{near or ','} access points are: {one_of(data['access_points'])}"))
        elif links_known:
            _check_edge_link(layout, edge, home, joined[edge])
    return known


def _check_edge_link(layout: Layout, edge: str, home: str, joined: list[str]) -> None:
    if home not in joined:
        example = f"{{between: [{edge}, {home}], bandwidth: 100 Mbit/s}}"
        text = f"no link joins {edge!r} and {home!r}, add one to `links`, such as {example}"
        layout.problems.append((("edges", edge, "access_point"), text))
    if others := [other for other in joined if other != home]:
        index = next(layout.pairs[pair] for pair in ((edge, others[0]), (others[0], edge)) if pair in layout.pairs)
        text = f"links {edge!r} with {one_of(others)}, an edge has one link, to its access point {home!r}"
        layout.problems.append((("links", index, "between"), text))


def _islands(layout: Layout) -> tuple[dict[str, str], dict[int, tuple[str, str]]]:
    """A representative of each access point's island of joined access points; the first link of each entry of `links`
    that closes a loop.
    """
    parent = {name: name for name, kind in layout.kinds.items() if kind == _AP}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    closing: dict[int, tuple[str, str]] = {}
    for (a, b), index in layout.pairs.items():
        if a in parent and b in parent:
            if root(a) == root(b):
                closing.setdefault(index, (a, b))
            parent[root(a)] = root(b)
    return {name: root(name) for name in parent}, closing


def _check_loops(layout: Layout) -> None:
    for index, (a, b) in _islands(layout)[1].items():
        text = f"the link of {a!r} and {b!r} closes a loop of access points, they must form a tree"
        layout.problems.append((("links", index, "between"), text))


def _check_devices(layout: Layout, data: Mapping[str, Any], edges_known: bool) -> None:
    islands = _islands(layout)[0]
    homes = [edge["access_point"] for edge in data["edges"].values()] if edges_known else list(islands)
    served = {islands[home] for home in homes}
    joined = layout.neighbours
    for group, entry in data["devices"].items():
        names = device_names(group, entry.get("count"))
        if lonely := [name for name in names if not joined[name]]:
            text = f"no link joins {one_of(lonely, 1)} and an access point, add one to `links`"
            layout.problems.append((("devices", group, KEY), text))
        lost = [name for name in names if joined[name] and not any(islands[home] in served for home in joined[name])]
        if lost:
            homes_of = one_of(joined[lost[0]])
            text = f"{one_of(lost, 1)} cannot reach an edge: none hangs on {homes_of} or what it is linked to"
            layout.problems.append((("devices", group, KEY), text))


def _check_subnets(layout: Layout) -> None:
    if (subnets := len(set(_islands(layout)[0].values()))) > MAX_SUBNETS:
        text = f"{subnets} groups of access points that no link joins, there are subnets for {MAX_SUBNETS}"
        layout.problems.append((("access_points",), text))


def _check_totals(layout: Layout, data: Mapping[str, Any], broken: Collection[Loc]) -> None:
    """An access point's total must leave each of its links to devices a bandwidth that a link may have."""
    joined = layout.neighbours
    for name, entry in data["access_points"].items():
        loc: Loc = ("access_points", name, "bandwidth")
        if not isinstance(entry, dict) or "bandwidth" not in entry or loc in broken:
            continue
        links = sum(layout.kinds[other] == _DEVICE for other in joined[name])
        if not links:
            text = f"is what links to devices share, and {name!r} has none, leave it out"
            layout.problems.append((loc, text))
        elif BANDWIDTH.parse(entry["bandwidth"]) < links * BANDWIDTH.range[0]:
            text = f"{entry['bandwidth']} for {links} links to devices, at least {BANDWIDTH.lowest} for each is needed"
            layout.problems.append((loc, text))
