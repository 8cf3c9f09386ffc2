"""Whole topologies that are valid, small, and of every form that the documents have; and traces, good and bad."""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st


@dataclass
class Written:
    """A topology as a user would write it, and the files that it names."""

    document: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)

    def save(self, folder: Path) -> Path:
        """Writes all into a folder; the topology's path."""
        for name, text in self.files.items():
            (folder / name).write_text(text)
        path = folder / "topology.yaml"
        path.write_text(yaml.safe_dump(self.document, sort_keys=False))
        return path


def quantity(lowest: float, highest: float, unit: str, places: int = 1) -> st.SearchStrategy[str]:
    return st.decimals(lowest, highest, places=places).map(lambda number: f"{number} {unit}")


BANDWIDTHS = st.one_of(
    quantity(1, 1000, "kbit/s"),
    quantity(1, 1000, "Mbit/s"),
    quantity(1, 20, "Gbit/s"),
    st.integers(1000, 10**6).map("{} bit/s".format),
)
DELAYS = st.one_of(quantity(0, 200, "ms"), quantity(0, 5000, "us"), st.just("0 s"))
LOSSES = quantity(0, 100, "%", 4)
QUEUES = st.one_of(quantity(1, 200, "KiB"), st.just("1 B"), st.just("1 MB"))
COMPUTES = st.one_of(st.just("live"), st.builds(lambda gflops: {"gflops": gflops}, st.floats(1e-3, 1e4)))
LIMITS = st.fixed_dictionaries(
    {"cpus": st.floats(0.01, 8)}, optional={"memory": st.sampled_from(["64 MiB", "2 GiB", "0.5 GiB", "100000 kB"])}
)


@st.composite
def csv_traces(draw: st.DrawFn) -> str:
    columns = ["time_s", "bandwidth_bps", *draw(st.lists(st.sampled_from(["delay_ms", "loss"]), unique=True))]
    values = {
        "bandwidth_bps": st.integers(1000, 10**10),
        "delay_ms": st.floats(0, 200),
        "loss": st.floats(0, 1).map(lambda loss: round(loss, 6)),
    }
    gaps = draw(st.lists(st.integers(1, 10_000), max_size=5))
    rows = []
    for number in range(len(gaps) + 1):
        row = {"time_s": sum(gaps[:number]) / 1000} | {name: draw(values[name]) for name in columns[1:]}
        rows.append(",".join(str(row[name]) for name in columns))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join([",".join(columns), *rows, ""])


MAHIMAHI = st.lists(st.integers(0, 2000), min_size=1, max_size=30).map(
    lambda instants: "\n".join(map(str, [*sorted(instants), 2001]))
)


@st.composite
def channels(draw: st.DrawFn, files: dict[str, str]) -> dict[str, Any]:
    """A channel of any kind, in whose first instant there is a bandwidth where it may give one."""
    process = draw(st.sampled_from(["constant", "gilbert_elliott", "fading", "steps", "trace"]))
    return {"process": process} | draw(
        {
            "constant": st.just({}),
            "gilbert_elliott": _gilbert_elliott(),
            "fading": _fading(),
            "steps": _steps(),
            "trace": _trace(files),
        }[process]
    )


@st.composite
def _gilbert_elliott(draw: st.DrawFn) -> dict[str, Any]:
    burst = draw(st.one_of(st.integers(1, 1000), st.floats(1, 1000)))
    percent = draw(st.integers(0, int(100 * burst / (burst + 1))))
    return {"loss": f"{percent} %", "burst": burst}


@st.composite
def _fading(draw: st.DrawFn) -> dict[str, Any]:
    rician = draw(st.booleans())
    return {
        "distance": draw(quantity(1, 1000, "m")),
        "path_loss_exponent": draw(st.floats(1, 6)),
        "transmit_power": draw(quantity(-20, 40, "dBm")),
        "bandwidth": draw(st.one_of(quantity(1, 1000, "kHz"), quantity(1, 20, "MHz"))),
        "noise": draw(quantity(-180, -140, "dBm/Hz")),
        "fading": "rician" if rician else "rayleigh",
        "coherence_time": draw(quantity(1, 100, "ms")),
        **({"k": draw(st.floats(0.1, 100))} if rician else {}),
        **draw(st.fixed_dictionaries({}, optional={"reference_loss": quantity(0, 80, "dB")})),
    }


@st.composite
def _steps(draw: st.DrawFn) -> dict[str, Any]:
    instants = [0, *sorted(draw(st.sets(st.integers(1, 60_000), max_size=4)))]
    optional = {"delay": DELAYS, "loss": LOSSES, "queue": QUEUES}
    steps = [draw(st.fixed_dictionaries({"bandwidth": BANDWIDTHS}, optional=optional)) for _ in instants]
    written: dict[str, Any] = {"steps": [{"at": f"{at} ms", **step} for at, step in zip(instants, steps, strict=True)]}
    if draw(st.booleans()):
        written["period"] = f"{instants[-1] + draw(st.integers(1, 1000))} ms"
        if any("queue" in step for step in written["steps"]):
            written["steps"][0].setdefault("queue", "64 KiB")
    return written


@st.composite
def _trace(draw: st.DrawFn, files: dict[str, str]) -> dict[str, Any]:
    csv = draw(st.booleans())
    name = f"trace{len(files)}.{'csv' if csv else 'mahi'}"
    files[name] = draw(csv_traces() if csv else MAHIMAHI)
    optional = {"loop": st.booleans()} if csv else {"window": st.integers(1, 500).map("{} ms".format)}
    return {"file": name} | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def _link(draw: st.DrawFn, between: list[str], files: dict[str, str]) -> dict[str, Any]:
    delay_ms = draw(st.integers(0, 200))
    link: dict[str, Any] = {"between": between, "delay": f"{delay_ms} ms"}
    link |= draw(st.fixed_dictionaries({}, optional={"queue": QUEUES, "jitter": quantity(0, delay_ms, "ms")}))
    if draw(st.booleans()):
        link["channel"] = draw(channels(files))
    for way in draw(st.lists(st.sampled_from(["up", "down"]), unique=True)):
        own = draw(st.fixed_dictionaries({}, optional={"delay": DELAYS, "bandwidth": BANDWIDTHS, "queue": QUEUES}))
        if draw(st.booleans()):
            own["channel"] = draw(channels(files))
        link[way] = own
    ways = [link.get(way, {}) for way in ("up", "down")]
    processes = [way.get("channel", link.get("channel", {})).get("process") for way in ways]
    rateless = any(process not in ("fading", "steps", "trace") for process in processes)
    if rateless or draw(st.booleans()):
        link["bandwidth"] = draw(BANDWIDTHS)
    if "gilbert_elliott" not in processes and draw(st.booleans()):
        link["loss"] = draw(LOSSES)
    return link


@st.composite
def _machines(draw: st.DrawFn, nodes: list[str]) -> dict[str, Any]:
    names = [f"lab{number}" for number in range(1, draw(st.integers(1, 3)) + 1)]
    optional = {
        "user": st.sampled_from(["root", "tester"]),
        "port": st.integers(1, 65535),
        "key_file": st.just("~/.ssh/lab"),
        "known_hosts": st.just("/etc/ssh/lab_hosts"),
        "python": st.just("/opt/testbed/bin/python"),
    }
    machines = {name: draw(st.fixed_dictionaries({}, optional=optional)) for name in names}
    for number, machine in enumerate(machines.values(), 1):
        machine["address"] = f"10.9.0.{number}"
        if draw(st.booleans()):
            machine["tunnel_address"] = f"10.10.0.{number}"
    place = draw(st.dictionaries(st.sampled_from(nodes), st.sampled_from(names)))
    rule = draw(st.fixed_dictionaries({}, optional={"by": st.sampled_from(["access_point", "pack", "spread"])}))
    return {"machines": machines, "place": place | rule}


@st.composite
def topologies(draw: st.DrawFn, *, of_this_machine: bool = False) -> Written:
    """Up to 3 access points, 2 edges and 4 devices.

    Args:
        draw: given by hypothesis.
        of_this_machine: leave out what a machine may lack: Open vSwitch, and the controllers of limits.
    """
    letters = iter(draw(st.permutations(string.ascii_lowercase)))  # each name has a first letter of its own
    rest = st.text(string.ascii_lowercase + string.digits + "-", max_size=10)

    def name() -> str:
        return next(letters) + draw(rest)

    files: dict[str, str] = {}
    access_points = [name() for _ in range(draw(st.integers(1, 3)))]
    joins = [(one, draw(st.sampled_from([None, *access_points[:at]]))) for at, one in enumerate(access_points) if at]
    island = {one: one for one in access_points}
    for one, other in joins:
        island[one] = island[other] if other else one
    homes = {name(): draw(st.sampled_from(access_points)) for _ in range(draw(st.integers(1, 2)))}
    served = [one for one in access_points if island[one] in {island[home] for home in homes.values()}]

    pairs: list[list[str]] = [[one, other] for one, other in joins if other]
    pairs += [[edge, home] for edge, home in homes.items()]
    devices: dict[str, dict[str, Any]] = {}
    sharing = dict.fromkeys(access_points, 0)
    for _ in range(draw(st.integers(1, 2))):
        group, count = name(), draw(st.sampled_from([None, 1, 2]))
        devices[group] = {} if count is None else {"count": count}
        reached = {draw(st.sampled_from(served)), *draw(st.sets(st.sampled_from(access_points), max_size=2))}
        for access_point in sorted(reached):
            sharing[access_point] += count or 1
            pairs.append([group if count is None else f"{group[0]}*", access_point])
    links = [draw(_link(draw(st.sampled_from([pair, pair[::-1]])), files)) for pair in pairs]

    def node() -> dict[str, Any]:
        written: dict[str, Any] = {"compute": draw(COMPUTES)}
        if written["compute"] == "live" and not of_this_machine and draw(st.booleans()):
            written["limits"] = draw(LIMITS)
        return written

    document: dict[str, Any] = {
        "name": name(),
        "access_points": {
            one: {"bandwidth": draw(quantity(4, 10_000, "kbit/s"))} if sharing[one] and draw(st.booleans()) else {}
            for one in access_points
        },
        "edges": {edge: {"access_point": home, **node()} for edge, home in homes.items()},
        "devices": {group: {**written, **node()} for group, written in devices.items()},
        "links": draw(st.permutations(links)),
    }
    if not of_this_machine:
        document |= draw(st.fixed_dictionaries({}, optional={"switch": st.sampled_from(["bridge", "ovs"])}))
        if draw(st.booleans()):
            document |= draw(_machines([*access_points, *homes]))
    tolerance = st.fixed_dictionaries({}, optional={"bandwidth": quantity(1, 50, "%"), "delay": DELAYS})
    return Written(document | draw(st.fixed_dictionaries({}, optional={"tolerance": tolerance})), files)
