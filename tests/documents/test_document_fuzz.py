"""No input gives anything but a document or located errors."""

import contextlib
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from testbed.documents.errors import DocumentErrors
from testbed.documents.events import resolve_events
from testbed.documents.json_schema import json_schema
from testbed.documents.loading import load_topology, parse_topology, parse_workload
from testbed.documents.located import Source
from testbed.documents.resolve import resolve
from testbed.documents.topology import Topology
from testbed.documents.traces import parse_trace
from tests.documents.strategies import MAHIMAHI, Written, csv_traces, topologies

ROOT = Path(__file__).parents[2]
SCHEMA = jsonschema.Draft202012Validator(json_schema(Topology))
BESIDE = ROOT / "topologies"
STAR = resolve(load_topology(ROOT / "topologies" / "star.yaml"))
SHIPPED = [
    path.read_text() for folder in ("topologies", "workloads") for path in sorted((ROOT / folder).glob("*.yaml"))
]


EVENTS = """
name: events
duration: 30 s
deadline: 200 ms
arrivals: {process: poisson, rate: 2 /s}
offloading: {policy: greedy}
events:
  - {at: 1 s, links: [dev*, ap1], set: {loss: 3 %, up: {bandwidth: 1 Mbit/s}}}
  - {at: 2 s, links: [dev*, ap1], partition: 5 s}
  - {at: 3 s, links: [dev1, ap1], flap: {down: 200 ms, up: 800 ms, times: 5}}
  - {at: 4 s, stop: edge1}
  - {at: 5 s, start: edge1}
  - {at: 6 s, kill: edge1}
"""
SHIPPED.append(EVENTS)


def read(text: str) -> None:
    """Reads a document as a topology, whose traces lie beside the shipped ones, and as a workload."""
    for parse in (parse_topology, lambda source: parse_workload(source, STAR)):
        try:
            document = parse(Source(str(BESIDE / "fuzz.yaml"), text))
            resolve(document) if isinstance(document, Topology) else resolve_events(document, STAR)
        except DocumentErrors as found:
            lines = str(found).split("\n")
            assert len(lines) == len(found.errors) > 0
            assert all(line.startswith(str(BESIDE)) and line.isprintable() for line in lines)


@given(st.text())
@settings(deadline=None)
@example('"\\U00110000"')
@example('"\\ud800"')
@example('name: "\\ud800"\nlinks: []')
@example("%YAML 1." + "1" * 5000 + "\n--- a")
@example("name: " + "1" * 5000)
@example("name: 1e999")
@example("? [a, b]\n: c")
@example("&a [*a]")
@example("\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 2000)).replace("*a0", "&a0 x"))
@example("[" * 2000)
@example("- " * 2000)
@example("{a: " * 2000)
@example("!!python/name:os.system x")
def test_any_text(text):
    read(text)


@given(st.sampled_from(SHIPPED), st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_shipped_file_with_a_piece_replaced(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    piece = data.draw(
        st.one_of(st.text(max_size=5), st.sampled_from(["*", "[", "{}", "null", "- ", "dev*", ".nan", "7", "\n"]))
    )
    read(text[:start] + piece + text[end:])


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "dev",
            "dev*",
            "ap1",
            "edge1",
            "live",
            "1 Mbit/s",
            "5 ms",
            "3 %",
            "full",
            "fixed",
            "greedy",
            "10 s",
            "steps",
            "trace",
        ]
    ),
)
FIELDS = (
    "name access_points edges devices links machines between bandwidth delay up down access_point compute gflops count "
    "model duration seed deadline arrivals rate process offloading policy events at set restore kill edge split bits "
    "channel loss burst distance fading k steps period file loop window limits memory cpus switch tolerance partition "
    "flap up down times stop start"
)
KEYS = st.sampled_from([*FIELDS.split(), "dev", "ap1", "edge1", "dve"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(st.sampled_from(SHIPPED), st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_shipped_file_with_any_value_anywhere(text, data):
    document = yaml.safe_load(text)
    where = document
    while True:
        keys = list(where) if isinstance(where, dict) else range(len(where))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(where[key], dict | list) or data.draw(st.booleans()):
            where[data.draw(st.one_of(st.just(key), KEYS)) if isinstance(where, dict) else key] = data.draw(VALUES)
            break
        where = where[key]
    with contextlib.suppress(yaml.YAMLError):
        read(yaml.safe_dump(document))


@given(topologies())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_valid_topology_is_accepted_and_survives_being_written(tmp_path_factory, written):
    SCHEMA.validate(written.document)
    loaded = load_topology(written.save(tmp_path_factory.mktemp("drawn")))
    resolved = resolve(loaded)
    assert set(resolved.devices) and len(set(resolved.channels)) == len(resolved.channels)
    for link in resolved.links:
        assert all(1e3 <= way.bandwidth_bps <= 3e10 for way in (link.up, link.down))
        assert all(way is None or resolved.channels[way] for way in (link.up_channel, link.down_channel))
    assert Topology.model_validate(loaded.document()).with_traces(loaded.recorded) == loaded


TRACED = {
    "name": "traced",
    "access_points": {"ap1": {}},
    "edges": {"edge1": {"access_point": "ap1", "compute": "live"}},
    "devices": {"dev1": {"compute": "live"}},
    "links": [
        {"between": ["dev1", "ap1"], "channel": {"process": "trace", "file": "a.trace", "loop": True}},
        {"between": ["edge1", "ap1"], "bandwidth": "1 Mbit/s"},
    ],
}


@given(
    st.one_of(
        st.text(),
        st.text("0123456789\n", max_size=200),
        st.text("0123456789.,eE+-\r\n ").map("time_s,bandwidth_bps\n{}".format),
        st.lists(
            st.lists(st.one_of(st.integers(-1, 10**6), st.floats(), st.text(max_size=3)), max_size=4), max_size=5
        ).map(lambda rows: "\n".join(",".join(map(str, row)) for row in [["loss", "time_s", "bandwidth_bps"], *rows])),
    )
)
@settings(deadline=None, max_examples=300)
@example("9" * 5000)
@example("0\n0")
@example("86400000")
@example("1\n86400001")
@example("time_s,bandwidth_bps\n0,1e999")
def test_any_trace(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("trace")
    (folder / "a.trace").write_bytes(text.encode(errors="surrogatepass"))
    path = Written(TRACED).save(folder)
    try:
        schedule = resolve(load_topology(path)).channels[0]
    except DocumentErrors as found:
        assert all(line.startswith(f"{folder}/a.trace:") and line.isprintable() for line in str(found).split("\n"))
    else:
        assert schedule.at_s[0] == 0
        assert all(a < b for a, b in zip(schedule.at_s, schedule.at_s[1:], strict=False))
        assert schedule.period_s is None or schedule.period_s > schedule.at_s[-1]
        assert all(1e3 <= change.bandwidth_bps <= 3e10 for change in schedule.changes)


@given(st.one_of(csv_traces(), MAHIMAHI), st.integers(1, 500))
@settings(deadline=None)
def test_every_valid_trace_is_read_to_its_end(text, window_ms):
    csv = text.startswith("time_s")
    schedule = parse_trace("a", text, loop=True, window_s=None if csv else window_ms / 1e3)
    lines = text.split()
    if csv:
        assert len(schedule.at_s) == len(lines) - 1
        return
    ends = [*schedule.at_s[1:], schedule.period_s]
    carried = [
        change.bandwidth_bps * (end - at)
        for at, end, change in zip(schedule.at_s, ends, schedule.changes, strict=True)
        if change.bandwidth_bps > 1e3
    ]
    assert sum(carried) / (1504 * 8) == pytest.approx(len(lines))
