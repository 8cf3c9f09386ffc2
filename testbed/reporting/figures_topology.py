"""The topology drawn, with the state of its links: as certified, and as they were during the run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from markupsafe import Markup

from testbed.cluster.placement import placed
from testbed.documents.resolved import Compute, LinkParameters, ResolvedTopology
from testbed.reporting.figures_svg import Drawing, svg, tag, text
from testbed.reporting.page_data import Shown
from testbed.reporting.page_words import counted, percent, rate

_MOST_DEVICES = 16
"""More are drawn in groups of the same links in the same state."""
_MOST_NAMES = 50
_ROW, _TOP = 36.0, 34.0
_COLUMNS = {"device": 150.0, "access point": 370.0, "core": 490.0, "edge": 610.0}

Link = tuple[str, str]

OK, MISSED, UNMEASURED = "ok", "missed", "unmeasured"
STEADY, VARIED, CUT = "steady", "varied", "cut"
LEGEND = (
    (OK, "as asked in the certificate"),
    (MISSED, "out of tolerance"),
    (UNMEASURED, "not measured"),
    (VARIED, "dashed: varied during the run"),
    (CUT, "dotted: cut at some time"),
)


class LinkState(msgspec.Struct, frozen=True):
    """A link in brief: both its directions together."""

    certified: str
    course: str
    bandwidth_bps: tuple[float, float]  # lowest and highest during the run
    loss: tuple[float, float]


class _Place(msgspec.Struct, frozen=True):
    """A node, or devices drawn as one."""

    names: tuple[str, ...]
    kind: str
    x: float
    y: float


def link_states(run: Shown, topology: ResolvedTopology) -> dict[Link, LinkState]:
    """The state of each link of the topology."""
    entries = [*run.proof.before, *run.proof.after]
    measured = {tuple(entry.link) for entry in entries}
    missed = {tuple(entry.link) for entry in entries if not entry.ok}
    applied = run.links.groupby(["a", "b"], sort=False).indices
    t_s, bandwidth_bps, loss = (run.links[name].to_numpy(np.float64) for name in ("t_s", "bandwidth_bps", "loss"))
    states = {}
    for link in topology.links:
        key = (link.a, link.b)
        ranges = [(side.bandwidth_bps, side.loss) for side in (link.up, link.down)]
        course = STEADY
        if key in applied:
            place = applied[key]
            ranges = list(zip(bandwidth_bps[place].tolist(), loss[place].tolist(), strict=True))
            if (loss[place] >= 1).any():
                course = CUT
            elif (t_s[place] > 0).any():
                course = VARIED
        rates, losses = zip(*ranges, strict=True)
        states[key] = LinkState(
            certified=MISSED if key in missed else OK if key in measured else UNMEASURED,
            course=course,
            bandwidth_bps=(min(rates), max(rates)),
            loss=(min(losses), max(losses)),
        )
    return states


def topology_drawn(run: Shown, topology: ResolvedTopology) -> Drawing:
    """Devices at the left, access points in the middle, edges at the right."""
    states = link_states(run, topology)
    where = placed(topology) if topology.machines else {}
    places, height = _places(topology, states, where)
    at = {name: place for place in places for name in place.names}
    lines, labels, drawn = [], [], set()
    said: dict[tuple[str, str], list[tuple[_Place, _Place, str]]] = {}  # by where links lead, and from what
    for link in topology.links:
        ends = (at[link.a], at[link.b])
        left, right = sorted(ends, key=lambda place: place.x)
        said.setdefault((left.kind, right.names[0]), []).append((left, right, _label(link.up)))
        names = (left.names[0], right.names[0])
        if names in drawn:
            continue
        drawn.add(names)
        state = states[link.a, link.b]
        alike = f"; {len(left.names)} links are drawn as this one" if len(left.names) > 1 else ""
        lines.append(_line(ends, state, _words(link.a, link.b, link.up, link.down, state) + alike))
    for fan in said.values():
        if len({words for *_, words in fan}) == 1:
            left, right, words = fan[0]  # the uppermost says it for all
            x, y = left.x + 0.42 * (right.x - left.x), left.y + 0.42 * (right.y - left.y)
            labels.append(text(x, y - 6, words, "start" if len(fan) > 1 else "middle", class_="note halo"))
    nodes = [part for place in places for part in _node(place, topology, where)]
    devices, access_points = len(topology.devices), len(topology.access_points)
    counts = f"{counted(devices, 'device')}, {counted(access_points, 'access point')}, "
    counts += counted(len(topology.edges), "edge")
    present = {part for state in states.values() for part in (state.certified, state.course)}
    return Drawing(
        name="topology",
        svg=svg("topology", height, [*lines, *labels, *nodes], f"Topology {topology.name}", counts),
        caption=f"{counts}. Each link tells its values when it is pointed at; all are in the table of the certificate.",
        legend=tuple((f"link {name}", words) for name, words in LEGEND if name in present),
    )


def _places(
    topology: ResolvedTopology, states: dict[Link, LinkState], where: dict[str, str]
) -> tuple[list[_Place], float]:
    nearest = {name for device in topology.devices.values() for name in device.access_points}
    columns: dict[str, list[tuple[str, ...]]] = {
        "device": _grouped(topology, states, where),
        "access point": [(name,) for name in topology.access_points if name in nearest],
        "core": [(name,) for name in topology.access_points if name not in nearest],
        "edge": [(name,) for name in topology.edges],
    }
    rows = max(len(column) for column in columns.values())
    places = []
    for kind, column in columns.items():
        step = rows * _ROW / max(1, len(column))
        for number, names in enumerate(column):
            places.append(_Place(names, kind, _COLUMNS[kind], _TOP + (number + 0.5) * step))
    return places, rows * _ROW + 1.5 * _TOP


def _grouped(topology: ResolvedTopology, states: dict[Link, LinkState], where: dict[str, str]) -> list[tuple[str, ...]]:
    if len(topology.devices) <= _MOST_DEVICES:
        return [(name,) for name in topology.devices]
    own: dict[str, list[tuple[str, str]]] = {name: [] for name in topology.devices}
    for (a, b), state in states.items():
        for device in {a, b} & own.keys():
            own[device].append((state.certified, state.course))
    groups: dict[object, list[str]] = {}
    for name, one in topology.devices.items():
        groups.setdefault((one.access_points, one.compute, where.get(name), *own[name]), []).append(name)
    return [tuple(names) for names in groups.values()]


def _line(ends: tuple[_Place, _Place], state: LinkState, words: str) -> Markup:
    first, second = ends
    return tag(
        "line",
        tag("title", words),
        x1=first.x,
        y1=first.y,
        x2=second.x,
        y2=second.y,
        class_=f"mark link {state.certified} {state.course}",
    )


def _label(up: LinkParameters) -> str:
    loss = f", {percent(up.loss)} lost" if up.loss else ""
    return f"{rate(up.bandwidth_bps)}, {up.delay_s * 1e3:g} ms{loss}"


def _node(place: _Place, topology: ResolvedTopology, where: dict[str, str]) -> list[Markup]:
    named = place.names[0] if len(place.names) == 1 else f"{place.names[0]} … {place.names[-1]} ({len(place.names)})"
    first = place.names[0]
    machine = where.get(first, "")
    if place.kind == "edge":
        box = {"x": place.x - 8, "y": place.y - 8, "width": 16.0, "height": 16.0}
        words = (named, _compute_words(topology.edges[first].compute, machine))
        return [tag("rect", tag("title", named), **box, class_="mark node edge"), *_beside(place, 14, "start", words)]
    if place.kind == "device":
        words = (named, _compute_words(topology.devices[first].compute, machine))
        circle = tag(
            "circle",
            tag("title", ", ".join(place.names[:_MOST_NAMES])),
            cx=place.x,
            cy=place.y,
            r=7,
            class_="mark node",
        )
        return [circle, *_beside(place, -14, "end", words)]
    points = f"{place.x},{place.y - 10:.1f} {place.x + 10},{place.y:.1f} {place.x},{place.y + 10:.1f}"
    diamond = tag(
        "polygon",
        tag("title", named),
        points=f"{points} {place.x - 10},{place.y:.1f}",
        class_="mark node access-point",
    )
    below = [text(place.x, place.y + 22, machine, "middle", class_="note halo")] if machine else []
    return [diamond, text(place.x, place.y - 15, named, "middle", class_="halo"), *below]


def _beside(place: _Place, away: float, anchor: str, words: Sequence[str]) -> list[Markup]:
    return [
        text(place.x + away, place.y - 1, words[0], anchor),
        text(place.x + away, place.y + 11, words[1], anchor, class_="note"),
    ]


def _compute_words(compute: Compute, machine: str) -> str:
    pace = "live" if compute.flops_per_s is None else f"{compute.flops_per_s / 1e9:g} GFLOP/s"
    return f"{machine}, {pace}" if machine else pace


def _words(a: str, b: str, up: LinkParameters, down: LinkParameters, state: LinkState) -> str:
    (low, high), (_, loss) = state.bandwidth_bps, state.loss
    during = f"{rate(low)} to {rate(high)}, loss up to {percent(loss)}" if state.course != STEADY else "steady"
    return f"{a} to {b}: {_side(up)}; back: {_side(down)}; during the run {during}; certificate: {state.certified}"


def _side(side: LinkParameters) -> str:
    jitter = f" ± {side.jitter_s * 1e3:g}" if side.jitter_s else ""
    return f"{rate(side.bandwidth_bps)}, {side.delay_s * 1e3:g}{jitter} ms, loss {percent(side.loss)}"
