import sys
from pathlib import Path

import msgspec
import pytest

from testbed.documents.events import resolve_events
from testbed.documents.loading import load_topology, load_workload
from testbed.documents.resolve import parse_change, resolve
from testbed.documents.resolved import (
    Compute,
    CutEvent,
    KillEvent,
    LinkChange,
    LinkEvent,
    LinkParameters,
    Machine,
    Placement,
    ResolvedTopology,
    StartEvent,
    StopEvent,
)
from testbed.documents.topology import Topology
from testbed.documents.workload import Workload

ROOT = Path(__file__).parents[2]
BURSTS = {"process": "gilbert_elliott", "loss": "2 %", "burst": 2}
STAR = load_topology(ROOT / "topologies" / "star.yaml")


def topology(**changes):
    document = {
        "name": "two",
        "access_points": {"ap1": {}, "ap2": {}},
        "edges": {"edge1": {"access_point": "ap2", "compute": "live"}},
        "devices": {"cam": {"count": 2, "compute": {"gflops": 5}}, "robot": {"compute": "live"}},
        "links": [
            {"between": ["cam*", "ap1"], "bandwidth": "10 Mbit/s", "up": {"bandwidth": "2 Mbit/s", "delay": "5 ms"}},
            {"between": ["ap2", "robot"], "up": {"bandwidth": "1 Mbit/s"}, "down": {"bandwidth": "2 Mbit/s"}},
            {"between": ["robot", "ap1"], "bandwidth": "3 Mbit/s", "loss": "1 %", "queue": "64 KiB"},
            {"between": ["edge1", "ap2"], "bandwidth": "100 Mbit/s"},
            {"between": ["ap1", "ap2"], "bandwidth": "50 Mbit/s"},
        ],
    }
    return Topology.model_validate({**document, **changes})


def workload(*events, **changes):
    document = {
        "name": "w",
        "duration": "30 s",
        "deadline": "200 ms",
        "arrivals": {"process": "poisson", "rate": "2 /s"},
        "offloading": {"policy": "greedy"},
        "events": list(events),
    }
    return Workload.model_validate({**document, **changes})


def test_groups_are_counted_out_and_patterns_matched():
    resolved = resolve(topology())
    assert list(resolved.devices) == ["cam1", "cam2", "robot"]
    assert [(link.a, link.b) for link in resolved.links] == [
        ("cam1", "ap1"),
        ("cam2", "ap1"),
        ("ap2", "robot"),
        ("robot", "ap1"),
        ("edge1", "ap2"),
        ("ap1", "ap2"),
    ]
    assert resolved.devices["robot"].access_points == ("ap2", "ap1")
    assert resolved.devices["cam1"].compute == Compute(5e9)
    assert resolved.edges["edge1"].compute == Compute(None)


def test_a_direction_overrides_what_is_said_of_both():
    link = resolve(topology()).links[0]
    assert link.up == LinkParameters(2e6, delay_s=0.005)
    assert link.down == LinkParameters(10e6)


def test_up_is_away_from_the_node_named_first_even_if_that_is_the_access_point():
    link = resolve(topology()).links[2]
    assert (link.a, link.b, link.up.bandwidth_bps, link.down.bandwidth_bps) == ("ap2", "robot", 1e6, 2e6)


LAB = {"lab1": {"address": "10.9.0.1"}, "lab2": {"address": "10.9.0.2", "user": "tester", "port": 2222}}


def test_machines_have_their_defaults_and_patterns_place_nodes():
    machines = LAB | {"lab3": {"address": "10.9.0.3", "python": "/opt/bin/python", "tunnel_address": "10.10.0.3"}}
    resolved = resolve(topology(machines=machines, place={"by": "spread", "cam*": "lab2", "edge1": "lab3"}))
    assert resolved.machines == (
        Machine("lab1", "10.9.0.1", "root", 22, None, None, sys.executable, "10.9.0.1"),
        Machine("lab2", "10.9.0.2", "tester", 2222, None, None, sys.executable, "10.9.0.2"),
        Machine("lab3", "10.9.0.3", "root", 22, None, None, "/opt/bin/python", "10.10.0.3"),
    )
    assert resolved.place == Placement("spread", {"cam1": "lab2", "cam2": "lab2", "edge1": "lab3"})
    assert (resolve(topology()).machines, resolve(topology()).place) == ((), Placement())


def test_a_resolved_topology_goes_through_json():
    resolved = resolve(topology(machines=LAB, place={"edge1": "lab2"}))
    assert msgspec.json.decode(msgspec.json.encode(resolved), type=ResolvedTopology) == resolved


def test_a_topology_whose_parts_do_not_fit_is_not_resolved():
    with pytest.raises(ValueError, match="there is no 'ap9', did you mean"):
        resolve(topology(edges={"edge1": {"access_point": "ap9", "compute": "live"}}))


def test_a_pattern_that_matches_both_ends_links_each_pair_once():
    links = [
        {"between": ["ap*", "ap*"], "bandwidth": "50 Mbit/s"},
        {"between": ["[ce]*", "ap2"], "bandwidth": "10 Mbit/s"},
        {"between": ["robo?", "ap1"], "bandwidth": "10 Mbit/s"},
    ]
    pairs = [(link.a, link.b) for link in resolve(topology(links=links)).links]
    assert pairs == [("ap1", "ap2"), ("edge1", "ap2"), ("cam1", "ap2"), ("cam2", "ap2"), ("robot", "ap1")]


def test_a_thousand_nodes_are_allowed():
    devices = {"dev": {"count": 998, "compute": "live"}}
    links = [
        {"between": ["dev*", "ap1"], "bandwidth": "1 Mbit/s"},
        {"between": ["edge1", "ap1"], "bandwidth": "1 Mbit/s"},
    ]
    edges = {"edge1": {"access_point": "ap1", "compute": "live"}}
    resolved = resolve(topology(access_points={"ap1": {}}, edges=edges, devices=devices, links=links))
    assert len(resolved.devices) == 998
    assert list(resolved.devices)[-1] == "dev998"


def test_events_come_by_time_with_their_links():
    events = resolve_events(
        workload(
            {"at": "20 s", "links": ["cam*", "ap1"], "restore": True},
            {"at": "15 s", "kill": "edge1"},
            {"at": "10 s", "links": ["cam*", "ap?"], "set": {"loss": "3 %", "up": {"bandwidth": "1 Mbit/s"}}},
        ),
        resolve(topology()),
    )
    links = (("cam1", "ap1"), ("cam2", "ap1"))
    assert events == (
        LinkEvent(10.0, links, LinkChange(bandwidth_bps=1e6, loss=0.03), LinkChange(loss=0.03)),
        KillEvent(15.0, "edge1"),
        LinkEvent(20.0, links, restore=True),
    )


def test_an_event_that_names_the_ends_the_other_way_round_changes_the_same_direction():
    event = {"at": "1 s", "links": ["ap*", "*"], "set": {"up": {"delay": "9 ms"}, "down": {"delay": "1 ms"}}}
    forwards, backwards = resolve_events(workload(event), resolve(topology()))
    assert isinstance(forwards, LinkEvent) and isinstance(backwards, LinkEvent)
    assert forwards.links == (("ap2", "robot"), ("ap1", "ap2"))
    assert (forwards.up, forwards.down) == (LinkChange(delay_s=0.009), LinkChange(delay_s=0.001))
    assert backwards.links == (("cam1", "ap1"), ("cam2", "ap1"), ("robot", "ap1"), ("edge1", "ap2"))
    assert (backwards.up, backwards.down) == (LinkChange(delay_s=0.001), LinkChange(delay_s=0.009))


def test_events_that_do_not_fit_the_topology_are_refused():
    with pytest.raises(ValueError, match="no node matches 'dev1'"):
        resolve_events(workload({"at": "1 s", "links": ["dev1", "ap1"], "restore": True}), resolve(topology()))


def test_cuts_stops_and_starts_come_by_time():
    events = resolve_events(
        workload(
            {"at": "10 s", "links": ["cam*", "ap1"], "partition": "5 s"},
            {"at": "9 s", "links": ["ap1", "robot"], "flap": {"down": "200 ms", "up": "800 ms", "times": 3}},
            {"at": "12 s", "start": "ap2"},
            {"at": "10.5 s", "stop": "ap2"},
        ),
        resolve(topology()),
    )
    robot = (("robot", "ap1"),)
    assert events == (
        CutEvent(9.0, 9.2, robot),
        CutEvent(10.0, 15.0, (("cam1", "ap1"), ("cam2", "ap1"))),
        CutEvent(10.0, 10.2, robot),
        StopEvent(10.5, "ap2"),
        CutEvent(11.0, 11.2, robot),
        StartEvent(12.0, "ap2"),
    )


def test_a_cut_has_the_links_of_both_orders_of_ends_at_once():
    events = resolve_events(workload({"at": "1 s", "links": ["ap*", "*"], "partition": "1 s"}), resolve(topology()))
    assert len(events) == 1 and isinstance(events[0], CutEvent)
    assert set(events[0].links) == {(link.a, link.b) for link in resolve(topology()).links}


def test_a_node_may_be_stopped_and_started_again_and_again():
    events = [{"at": f"{at} s", ("start" if at % 2 else "stop"): "edge1"} for at in range(6)]
    assert len(resolve_events(workload(*reversed(events)), resolve(topology()))) == 6


def test_an_event_may_not_give_bursts_a_loss_that_they_cannot_have():
    links = [
        {"between": ["*m*", "ap1"], "bandwidth": "1 Mbit/s", "up": {"channel": BURSTS}},
        {"between": ["robot", "ap1"], "bandwidth": "1 Mbit/s"},
        {"between": ["edge1", "ap2"], "bandwidth": "1 Mbit/s"},
        {"between": ["ap1", "ap2"], "bandwidth": "1 Mbit/s"},
    ]
    bursty = resolve(topology(links=links))
    allowed = [
        {"links": ["cam*", "ap1"], "set": {"loss": "66 %"}},
        {"links": ["robot", "ap1"], "set": {"loss": "100 %"}},
    ]
    allowed += [{"links": ["ap1", "cam1"], "set": {"up": {"loss": "67 %"}}}]
    for event in allowed:
        assert resolve_events(workload({"at": "1 s", **event}), bursty)
    for event in (
        {"links": ["cam*", "ap1"], "set": {"loss": "67 %"}},
        {"links": ["ap1", "*"], "set": {"loss": "67 %"}},
    ):
        with pytest.raises(ValueError, match=r"cannot come in bursts of 2 .*\(\[cam1, ap1\]\)"):
            resolve_events(workload({"at": "1 s", **event}), bursty)


def test_a_change_keeps_what_it_does_not_name():
    old = LinkParameters(1e6, delay_s=0.005, loss=0.01)
    assert parse_change(["bandwidth=400kbit/s", "loss=0 %"]).applied_to(old) == LinkParameters(4e5, delay_s=0.005)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bandwith=1Mbit/s"], "did you mean 'bandwidth'"),
        (["bandwidth"], "bandwidth=1Mbit/s"),
        (["delay=5"], "delay: '5' has no unit, write 0 s to 60 s"),
        (["delay=5ms", "delay=6ms"], "delay is given twice"),
        ([], "at least one of bandwidth, delay, jitter, loss, queue"),
    ],
)
def test_a_change_by_hand_that_is_wrong_says_what_is_allowed(words, message):
    with pytest.raises(ValueError, match=message):
        parse_change(words)


def test_policies_carry_their_options_and_defaults():
    fixed = {"name": "fixed", "split": "layer3", "kept_channels": 8, "bits": 8}
    own = {"name": "lab.policies:Mine", "depth": 3, "weights": [1, 2.5]}
    policies = workload(offloading={"policy": ["local", "full", fixed, own]}).policies
    assert [(each.name, each.options) for each in policies] == [
        ("local", {}),
        ("full", {"encoding": "jpeg"}),
        ("fixed", {"split": "layer3", "kept_channels": 8, "bits": 8, "encoding": "aecnn"}),
        ("lab.policies:Mine", {"depth": 3, "weights": [1, 2.5]}),
    ]
    assert [each.name for each in workload().policies] == ["greedy"]


@pytest.mark.parametrize("path", sorted((ROOT / "topologies").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_topologies_resolve_and_survive_being_written(path):
    loaded = load_topology(path)
    assert resolve(loaded).devices
    assert Topology.model_validate(loaded.document()).with_traces(loaded.recorded) == loaded


@pytest.mark.parametrize("path", sorted((ROOT / "workloads").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_workloads_fit_the_star_and_survive_being_written(path):
    loaded = load_workload(path, resolve(STAR))
    resolve_events(loaded, resolve(STAR))
    assert Workload.model_validate(loaded.document()) == loaded
