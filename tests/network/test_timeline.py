"""What happens to the links in a run: layers, restoring, cuts, and order."""

from __future__ import annotations

import collections
import itertools
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.documents.resolved import (
    Compute,
    CutEvent,
    Fading,
    KillEvent,
    LinkChange,
    LinkEvent,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedLink,
    ResolvedTopology,
    Schedule,
    StartEvent,
    StopEvent,
)
from testbed.network.timeline import Timeline

FOUND = LinkParameters(10e6, 0.005, loss=0.01, burst=3.0)
CUT = LinkParameters(10e6, 0.005, loss=1.0)
LINK, OTHER = ("dev1", "ap1"), ("dev2", "ap1")
FADING = Fading(5e6, 60, 3.0, 40, 20, -170, 0.02)


def topology(devices=2, up=None, down=None, channels=()):
    names = [f"dev{number}" for number in range(1, devices + 1)]
    return ResolvedTopology(
        "t",
        {"ap1": ResolvedAccessPoint()},
        {},
        {name: ResolvedDevice(("ap1",), Compute()) for name in names},
        tuple(ResolvedLink(name, "ap1", FOUND, FOUND, up, down) for name in names),
        channels=channels,
    )


def changes(*events, of=None, until_s=1000.0, seed=1, start_ns=0):
    """What becomes of the links, as (instant in s, link, direction, parameters)."""
    of = of or topology()
    found = {(link.a, link.b): (link.up, link.down) for link in of.links}
    played = Timeline(of, found, events, seed).changes(start_ns)
    return [
        (change.at_ns / 1e9, change.link, change.direction, change.parameters)
        for change in itertools.takewhile(lambda change: change.at_ns <= until_s * 1e9, played)
    ]


def of_link(found, direction=0, link=LINK):
    return [(at_s, parameters) for at_s, which, way, parameters in found if (which, way) == (link, direction)]


def test_set_and_restore():
    found = changes(
        LinkEvent(1.0, (LINK,), LinkChange(1e6), LinkChange(loss=0.0)),
        LinkEvent(2.0, (LINK,), LinkChange(delay_s=0.1)),
        LinkEvent(3.0, (LINK, OTHER), restore=True),
    )
    assert of_link(found) == [
        (1.0, LinkParameters(1e6, 0.005, loss=0.01, burst=3.0)),
        (2.0, LinkParameters(1e6, 0.1, loss=0.01, burst=3.0)),
        (3.0, FOUND),
    ]
    assert of_link(found, 1) == [(1.0, LinkParameters(10e6, 0.005, burst=3.0)), (3.0, FOUND)]
    assert {link for _, link, _, _ in found} == {LINK}  # what stays as it is is not told


def test_events_of_one_instant_happen_in_their_order_and_are_told_once():
    slow, slower = LinkEvent(1.0, (LINK,), LinkChange(2e6)), LinkEvent(1.0, (LINK,), LinkChange(1e6))
    assert [one.bandwidth_bps for _, one in of_link(changes(slow, slower))] == [1e6]
    assert [one.bandwidth_bps for _, one in of_link(changes(slower, slow))] == [2e6]
    assert changes(slow, LinkEvent(1.0, (LINK,), restore=True)) == []


def test_the_run_may_begin_at_any_instant_of_a_clock():
    event = LinkEvent(1.5, (LINK,), LinkChange(1e6))
    assert changes(event, start_ns=7_000_000_000)[0][0] == 8.5


STEPS = Schedule((0.0, 1.0, 2.0, 3.0), tuple(LinkChange(rate) for rate in (4e6, 3e6, 2e6, 1e6)))


def test_what_an_event_sets_wins_over_the_channel_until_it_is_restored():
    found = changes(
        LinkEvent(0.5, (LINK,), LinkChange(9e6)),
        LinkEvent(1.5, (LINK,), LinkChange(loss=0.0)),
        LinkEvent(2.5, (LINK,), restore=True),
        of=topology(up=0, channels=(STEPS,)),
    )
    assert [(at_s, one.bandwidth_bps, one.loss) for at_s, one in of_link(found)] == [
        (0.0, 4e6, 0.01),
        (0.5, 9e6, 0.01),
        (1.5, 9e6, 0.0),
        (2.5, 2e6, 0.01),
        (3.0, 1e6, 0.01),
    ]
    assert [one.bandwidth_bps for _, one in of_link(found, link=OTHER)] == [4e6, 3e6, 2e6, 1e6]
    assert of_link(found, 1) == []


def test_cuts_overlap():
    found = changes(CutEvent(1.0, 3.0, (LINK,)), CutEvent(2.0, 4.0, (LINK, OTHER)))
    for direction in (0, 1):
        assert of_link(found, direction) == [(1.0, CUT), (4.0, FOUND)]
        assert of_link(found, direction, OTHER) == [(2.0, CUT), (4.0, FOUND)]


def test_a_cut_hides_what_else_happens_but_forgets_none_of_it():
    found = changes(
        CutEvent(1.0, 3.0, (LINK,)),
        LinkEvent(2.0, (LINK,), LinkChange(loss=0.5)),
        LinkEvent(4.0, (LINK,), restore=True),
    )
    assert of_link(found) == [
        (1.0, CUT),
        (3.0, LinkParameters(10e6, 0.005, loss=0.5, burst=3.0)),
        (4.0, FOUND),
    ]
    restored = changes(CutEvent(1.0, 3.0, (LINK,)), LinkEvent(2.0, (LINK,), restore=True))
    assert of_link(restored) == [(1.0, CUT), (3.0, FOUND)]


def test_a_flap_of_cuts_end_to_end_is_one_cut():
    gaps = [CutEvent(number, number + 0.5, (LINK,)) for number in range(1, 4)]
    assert [at_s for at_s, _ in of_link(changes(*gaps))] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    joined = [CutEvent(number, number + 1.0, (LINK,)) for number in range(1, 4)]
    assert of_link(changes(*joined)) == [(1.0, CUT), (4.0, FOUND)]


def test_a_stopped_node_is_cut_off_whatever_else_is_and_however_often():
    found = changes(
        StopEvent(1.0, "dev1"),
        StopEvent(1.5, "dev1"),
        StopEvent(2.0, "ap1"),
        StartEvent(3.0, "dev1"),
        CutEvent(3.5, 5.0, (OTHER,)),
        StartEvent(4.0, "ap1"),
        StartEvent(4.5, "ap1"),
    )
    assert of_link(found) == [(1.0, CUT), (4.0, FOUND)]
    assert of_link(found, 1, OTHER) == [(2.0, CUT), (5.0, FOUND)]


def test_a_kill_does_nothing_to_the_links():
    assert changes(KillEvent(1.0, "edge1")) == []


def test_channels_neither_depend_on_one_another_nor_on_their_place_in_the_topology():
    both = topology(up=0, down=0, channels=(FADING,))
    turned = ResolvedTopology("t", both.access_points, {}, both.devices, both.links[::-1], channels=both.channels)
    alone = ResolvedTopology("t", both.access_points, {}, both.devices, both.links[:1], channels=both.channels)
    played = changes(of=both, until_s=1)
    assert sorted(changes(of=turned, until_s=1)) == sorted(played)
    assert of_link(changes(of=alone, until_s=1)) == of_link(played)
    assert len(played) == 4 * 51
    rates = [parameters.bandwidth_bps for _, _, _, parameters in played]
    assert len(set(rates)) == len(rates)
    assert changes(of=both, until_s=1, seed=2) != played


def test_a_day_of_a_hundred_fading_links_takes_no_memory_in_advance():
    many = topology(100, up=0, down=0, channels=(FADING,))
    found = {(link.a, link.b): (link.up, link.down) for link in many.links}
    day = [CutEvent(number, number + 1.0, (LINK,)) for number in range(0, 86_400, 3600)]
    tracemalloc.start()
    try:
        (last,) = collections.deque(itertools.islice(Timeline(many, found, day, 1).changes(), 20_000), maxlen=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 1.9 < last.at_ns / 1e9 < 2.1
    assert peak < 10 * 2**20


INSTANTS = st.integers(0, 20).map(lambda number: number / 4)
EVENTS = st.one_of(
    st.builds(LinkEvent, INSTANTS, st.just((LINK,)), st.builds(LinkChange, st.sampled_from([1e6, 2e6]))),
    st.builds(LinkEvent, INSTANTS, st.just((LINK, OTHER)), restore=st.just(True)),
    st.builds(lambda at_s, long_s: CutEvent(at_s, at_s + long_s, (LINK,)), INSTANTS, INSTANTS),
    st.builds(StopEvent, INSTANTS, st.sampled_from(["dev1", "ap1"])),
    st.builds(StartEvent, INSTANTS, st.sampled_from(["dev1", "ap1"])),
)


@given(st.lists(EVENTS, max_size=12))
@settings(deadline=None)
def test_only_real_changes_are_told_by_time_and_everything_can_be_undone(events):
    last = [StartEvent(100.0, "dev1"), StartEvent(100.0, "ap1"), LinkEvent(100.0, (LINK, OTHER), restore=True)]
    found = changes(*events, *last)
    assert [at_s for at_s, *_ in found] == sorted(at_s for at_s, *_ in found)
    for link, direction in itertools.product((LINK, OTHER), (0, 1)):
        told = [FOUND, *(parameters for _, parameters in of_link(found, direction, link))]
        assert all(before != after for before, after in itertools.pairwise(told))
        assert told[-1] == FOUND
