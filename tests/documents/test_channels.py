"""Channels as they are written, and what they become."""

import math

import pytest
from pydantic import ValidationError

from testbed.documents.fading import shannon_bps
from testbed.documents.resolve import resolve
from testbed.documents.resolved import (
    Fading,
    Limits,
    LinkChange,
    LinkParameters,
    ResolvedAccessPoint,
    Schedule,
    Tolerance,
)
from testbed.documents.topology import Topology

FADING = {
    "process": "fading",
    "distance": "50 m",
    "path_loss_exponent": 3,
    "transmit_power": "20 dBm",
    "bandwidth": "1 MHz",
    "noise": "-174 dBm/Hz",
    "fading": "rician",
    "k": 4,
    "coherence_time": "20 ms",
}
STEPS = {
    "process": "steps",
    "steps": [{"at": "0 s", "bandwidth": "10 Mbit/s"}, {"at": "5 s", "bandwidth": "1 Mbit/s", "loss": "2 %"}],
}
BURSTS = {"process": "gilbert_elliott", "loss": "2 %", "burst": 5}


def topology(*links, **changes):
    links = [{"between": [f"dev{number}", "ap1"], **link} for number, link in enumerate(links, 1)]
    document = {
        "name": "star",
        "access_points": {"ap1": {}},
        "edges": {"edge1": {"access_point": "ap1", "compute": "live"}},
        "devices": {"dev": {"count": len(links), "compute": "live"}},
        "links": [*links, {"between": ["edge1", "ap1"], "bandwidth": "100 Mbit/s"}],
    }
    return resolve(Topology.model_validate({**document, **changes}))


def refused(link):
    with pytest.raises(ValidationError) as found:
        topology(link)
    return "; ".join(error["msg"] for error in found.value.errors())


def test_bursts_are_parameters_of_the_link():
    resolved = topology({"bandwidth": "1 Mbit/s", "channel": BURSTS})
    link = resolved.links[0]
    assert link.up == link.down == LinkParameters(1e6, loss=0.02, burst=5.0)
    assert (link.up_channel, link.down_channel, resolved.channels) == (None, None, ())


def test_a_fading_link_rests_at_the_shannon_rate_of_the_mean_gain():
    resolved = topology({"channel": FADING, "delay": "5 ms"})
    assert resolved.channels == (Fading(1e6, 50.0, 3, 40.0, 20.0, -174.0, 0.02, 4.0),)
    snr_db = 20 - 40 - 30 * math.log10(50) - (-174 + 60)
    assert resolved.links[0].up == LinkParameters(
        pytest.approx(1e6 * math.log2(1 + 10 ** (snr_db / 10)), rel=1e-9), delay_s=0.005
    )


def test_the_shannon_rate_stays_within_what_a_link_may_have():
    far = Fading(1e3, 1e6, 10, 200.0, -100.0, 0.0, 0.02)
    assert shannon_bps(far, 1.0) == 1e3
    assert shannon_bps(Fading(1e11, 1.0, 1, 0.0, 100.0, -250.0, 0.02), 1.0) == 3e10


def test_a_bandwidth_beside_a_channel_is_where_the_link_rests():
    for channel in (FADING, STEPS):
        resolved = topology({"channel": channel, "bandwidth": "3 Mbit/s"})
        assert resolved.links[0].up == LinkParameters(3e6)
        assert len(resolved.channels) == 1


def test_steps_become_a_schedule_and_the_link_rests_at_the_first():
    resolved = topology({"channel": STEPS, "delay": "5 ms"})
    assert resolved.channels == (Schedule((0.0, 5.0), (LinkChange(10e6), LinkChange(1e6, loss=0.02))),)
    assert resolved.links[0].up == LinkParameters(10e6, delay_s=0.005)


def test_steps_that_begin_anew_do_so_with_all_that_they_set():
    steps = {**STEPS, "period": "10 s"}
    resolved = topology({"channel": steps}, {"channel": steps, "loss": "1 %"}, {"channel": steps})
    rounds = [
        Schedule((0.0, 5.0), (LinkChange(10e6, loss=loss), LinkChange(1e6, loss=0.02)), 10.0) for loss in (0, 0.01)
    ]
    assert resolved.channels == tuple(rounds)
    assert [link.up_channel for link in resolved.links] == [0, 1, 0, None]


def test_a_direction_overrides_the_channel_of_the_link():
    resolved = topology(
        {"bandwidth": "1 Mbit/s", "channel": STEPS, "up": {"channel": FADING}},
        {"bandwidth": "1 Mbit/s", "channel": FADING, "down": {"channel": {"process": "constant"}}},
        {"bandwidth": "1 Mbit/s", "up": {"channel": BURSTS}, "down": {"loss": "1 %"}},
    )
    assert [type(channel).__name__ for channel in resolved.channels] == ["Fading", "Schedule"]
    assert [(link.up_channel, link.down_channel) for link in resolved.links[:3]] == [(0, 1), (0, None), (None, None)]
    assert (resolved.links[2].up.burst, resolved.links[2].down) == (5.0, LinkParameters(1e6, loss=0.01))


@pytest.mark.parametrize("burst", [1, 2, 5, 100.5])
def test_bursts_are_possible_up_to_the_loss_at_which_one_packet_passes_between_two(burst):
    most = burst / (burst + 1) * 100
    topology({"bandwidth": "1 Mbit/s", "channel": {**BURSTS, "loss": f"{most - 0.001:.6f} %", "burst": burst}})
    channel = {**BURSTS, "loss": f"{most + 0.001:.6f} %", "burst": burst}
    assert "cannot come in bursts" in refused({"bandwidth": "1 Mbit/s", "channel": channel})


@pytest.mark.parametrize(("loss", "burst"), [("50 %", 1), ("80 %", 4), ("90 %", 9), ("75 %", 3)])
def test_the_highest_loss_of_bursts_is_possible(loss, burst):
    assert topology({"bandwidth": "1 Mbit/s", "channel": {**BURSTS, "loss": loss, "burst": burst}})


def test_bursts_of_every_packet_are_impossible():
    channel = {**BURSTS, "loss": "100 %", "burst": 1000}
    assert "cannot come in bursts" in refused({"bandwidth": "1 Mbit/s", "channel": channel})


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ({"channel": {"process": "constant"}}, "has no bandwidth up and down, give `bandwidth`"),
        ({"channel": BURSTS}, "has no bandwidth up and down"),
        ({"up": {"channel": FADING}}, "has no bandwidth down"),
        ({"channel": {**STEPS, "steps": [{"at": "0 s", "loss": "1 %"}]}}, "or in the first step"),
        (
            {"bandwidth": "1 Mbit/s", "loss": "1 %", "channel": BURSTS},
            "has both `loss` and a gilbert_elliott channel up",
        ),
        ({"bandwidth": "30 Gbit/s", "delay": "287 ms"}, "1.002 GiB under way"),
        ({"channel": {**FADING, "bandwidth": "1 GHz"}, "delay": "60 s"}, "GiB under way"),
    ],
)
def test_links_that_cannot_be_are_refused(link, message):
    assert message in refused(link)


def test_nodes_carry_totals_limits_and_the_topology_its_tolerance_and_switch():
    limits = {"memory": "2 GiB", "cpus": 0.5}
    resolved = topology(
        {"bandwidth": "1 Mbit/s"},
        access_points={"ap1": {"bandwidth": "40 Mbit/s"}},
        edges={"edge1": {"access_point": "ap1", "compute": "live", "limits": limits}},
        devices={"dev1": {"compute": "live", "limits": {"cpus": 1}}},
        switch="ovs",
        tolerance={"bandwidth": "1 %", "delay": "0.3 ms"},
    )
    assert resolved.access_points == {"ap1": ResolvedAccessPoint(40e6)}
    assert resolved.edges["edge1"].limits == Limits(2 << 30, 0.5)
    assert resolved.devices["dev1"].limits == Limits(None, 1.0)
    assert (resolved.switch, resolved.tolerance) == ("ovs", Tolerance(0.01, 0.3))


def test_what_is_not_given_has_its_default():
    resolved = topology({"bandwidth": "1 Mbit/s"}, tolerance={"delay": "1 ms"})
    assert resolved.access_points == {"ap1": ResolvedAccessPoint()}
    assert resolved.edges["edge1"].limits == Limits()
    assert (resolved.switch, resolved.tolerance) == ("bridge", Tolerance(delay_ms=1.0))
    assert topology({"bandwidth": "1 Mbit/s"}).tolerance == Tolerance()
