"""What packets say of a link, from times made up to be right or wrong; and the judgement."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from testbed.documents.resolved import LinkParameters, Tolerance
from testbed.network.certify import CertificateEntry, judge
from testbed.network.links import Air
from testbed.network.measures import Times, measure
from testbed.network.probing import LONE_SIZE, Direction, Probing, plan
from testbed.network.shape import queue_bytes

ASKED = LinkParameters(10e6, 0.005, 0.001, 0.01)
ALPHA = 1e-4
SEND_S = 3e-6  # that a sender takes for a packet

Jitter = Callable[[random.Random, float], float]


def uniform(draw: random.Random, jitter_s: float) -> float:
    return draw.uniform(-jitter_s, jitter_s)


def times_over(link: LinkParameters, probing: Probing, seed: int = 1, jitter: Jitter = uniform) -> Times:
    """When packets would come through a link: queued, served at its rate, lost on their own or in bursts, delayed."""
    draw = random.Random(seed)
    times = np.zeros((probing.packets, 2), dtype=np.int64)
    free_s = last_s = 0.0
    lost = False
    for stream in probing.streams:
        sent_s = 0.0
        for number in range(stream.count):
            planned_s = 1.0 + stream.start_s + max(0, number - stream.at_once + 1) * stream.gap_s
            sent_s = max(planned_s, sent_s + SEND_S)
            serial_s = stream.size * 8 / link.bandwidth_bps
            waiting = int((free_s - sent_s) / serial_s + 1) if free_s > sent_s else 0
            times[stream.first + number, 0] = sent_s * 1e9
            if (waiting + 1) * stream.size > queue_bytes(link):
                continue
            free_s = max(free_s, sent_s) + serial_s
            if link.burst is None:
                lost = draw.random() < link.loss
            else:
                lost = draw.random() < (1 - 1 / link.burst if lost else link.loss / link.burst / (1 - link.loss))
            arrived_s = last_s = max(last_s, free_s + link.delay_s + jitter(draw, link.jitter_s))
            times[stream.first + number, 1] = 0 if lost else arrived_s * 1e9
    return times


def entry_for(
    real: LinkParameters,
    asked: LinkParameters = ASKED,
    *,
    thorough: bool = False,
    jitter: Jitter = uniform,
    tolerance: Tolerance = Tolerance(),  # noqa: B008
    seed: int = 1,
) -> CertificateEntry:
    direction = Direction(asked)
    (probing,), _ = plan([direction], thorough=thorough)
    found = measure(times_over(real, probing, seed, jitter), probing, direction, tolerance, ALPHA)
    return judge(("dev1", "ap1"), "up", direction, found, tolerance, thorough)


def test_a_link_as_asked_holds() -> None:
    entry = entry_for(ASKED)
    assert (entry.ok, entry.reason) == (True, None)
    measured = entry.measured
    assert measured.bandwidth_bps and measured.bandwidth_bps.value == pytest.approx(10e6, rel=0.02)
    assert measured.delay_ms and measured.delay_ms.value == pytest.approx(5, abs=0.2)
    assert measured.jitter_ms and measured.jitter_ms.low <= 1 <= measured.jitter_ms.high
    assert measured.loss and measured.loss.low <= 0.01 <= measured.loss.high


@pytest.mark.parametrize(
    ("real", "what"),
    [
        (LinkParameters(9.5e6, 0.005, 0.001, 0.01), "bandwidth"),
        (LinkParameters(10.6e6, 0.005, 0.001, 0.01), "bandwidth"),
        (LinkParameters(10e6, 0.006, 0.001, 0.01), "delay"),
        (LinkParameters(10e6, 0.010, 0.001, 0.01), "delay"),  # the round trip taken for one way
        (LinkParameters(10e6, 0.005, 0.001, 0.08), "loss"),
        (LinkParameters(10e6, 0.005, 0.001, 0.004), None),  # so few packets cannot tell
        (LinkParameters(10e6, 0.005, 0.004, 0.01), "jitter"),
    ],
)
def test_a_link_that_differs_is_found_out(real: LinkParameters, what: str | None) -> None:
    entry = entry_for(real)
    assert entry.ok is (what is None)
    assert what is None or str(entry.reason).startswith(what)


def test_lost_packets_do_not_pass_for_a_slow_link() -> None:
    lossy = LinkParameters(10e6, 0.005, 0.0, 0.3)
    entry = entry_for(lossy, lossy)
    assert entry.ok and entry.measured.bandwidth_bps
    assert entry.measured.bandwidth_bps.value == pytest.approx(10e6, rel=0.01)


def test_a_lone_packets_own_serialisation_is_not_delay() -> None:
    slow = LinkParameters(0.1e6, 0.005)
    entry = entry_for(slow, slow)
    assert LONE_SIZE * 8 / slow.bandwidth_bps > 0.003
    assert entry.ok and entry.measured.delay_ms and entry.measured.delay_ms.value == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize("rate_bps", [0.25e6, 1e6, 10e6, 100e6])
@pytest.mark.parametrize("jitter_s", [0.0, 0.002])
def test_the_bandwidth_measured_is_not_biased(rate_bps: float, jitter_s: float) -> None:
    link = LinkParameters(rate_bps, 0.010, jitter_s)
    direction = Direction(link)
    (probing,), _ = plan([direction])
    found = [
        measure(times_over(link, probing, seed), probing, direction, Tolerance(), ALPHA).measured.bandwidth_bps
        for seed in range(10)
    ]
    values = [each.value for each in found if each]
    assert len(values) == 10 and sum(values) / 10 == pytest.approx(rate_bps, rel=0.004)
    assert sum(each.low <= rate_bps * 1.0001 and each.high >= rate_bps * 0.9999 for each in found if each) == 10


def test_a_late_prober_does_not_pass_for_a_slow_link() -> None:
    direction = Direction(LinkParameters(10e6, 0.005))
    (probing,), _ = plan([direction])
    times = times_over(direction.link, probing)
    for train in probing.trains[:4]:  # their later half was sent late, and came late
        times[train.first + train.count // 2 : train.first + train.count] += 50_000_000
    bandwidth = measure(times, probing, direction, Tolerance(), ALPHA).measured.bandwidth_bps
    assert bandwidth and bandwidth.value == pytest.approx(10e6, rel=0.001)


def test_a_prober_that_is_always_late_proves_nothing() -> None:
    direction = Direction(LinkParameters(10e6, 0.005))
    (probing,), _ = plan([direction])
    times = times_over(direction.link, probing)
    for number, train in enumerate(probing.trains):
        times[train.first + train.count // 2 : train.first + train.count] += 5_000_000 * (number + 1)
    found = measure(times, probing, direction, Tolerance(), ALPHA)
    entry = judge(("dev1", "ap1"), "up", direction, found, Tolerance(), False)
    assert not entry.ok and str(entry.reason).startswith("bandwidth")


def test_thoroughly_a_loss_of_a_thousandth_is_told_and_its_half_is_not() -> None:
    asked = LinkParameters(10e6, 0.005, 0.001, 0.001)
    entry = entry_for(asked, asked, thorough=True)
    assert (entry.ok, entry.reason) == (True, None)
    loss = entry.measured.loss
    assert loss and loss.high - loss.low < 0.0011
    faulty = entry_for(LinkParameters(10e6, 0.005, 0.001, 0.0003), asked, thorough=True)
    assert not faulty.ok and str(faulty.reason).startswith("loss")


@pytest.mark.parametrize("burst", [1.5, 5.0, 20.0])
def test_bursts_of_losses_are_measured(burst: float) -> None:
    asked = LinkParameters(10e6, 0.005, 0.0, 0.02, burst=burst)
    entry = entry_for(asked, asked, thorough=True)
    measured = entry.measured.burst
    assert entry.ok and measured and measured.low <= burst <= measured.high
    assert measured.value == pytest.approx(burst, rel=0.25)
    independent = entry_for(LinkParameters(10e6, 0.005, 0.0, 0.02), asked, thorough=True)
    assert not independent.ok and "in a row" in str(independent.reason)


def test_bursts_do_not_make_a_quick_certificate_miss() -> None:
    asked = LinkParameters(10e6, 0.005, 0.0, 0.05, burst=20)
    assert all(entry_for(asked, asked, seed=seed).ok for seed in range(40))


def test_jitter_that_is_not_uniform_is_found_out_thoroughly() -> None:
    asked = LinkParameters(10e6, 0.050, 0.010)
    assert entry_for(asked, asked, thorough=True).ok

    def two_valued(draw: random.Random, jitter_s: float) -> float:
        """Of the same mean and variance."""
        return draw.choice((-1, 1)) * jitter_s / 3**0.5

    other = entry_for(asked, asked, thorough=True, jitter=two_valued)
    assert not other.ok and "not uniform" in str(other.reason)


@pytest.mark.parametrize("queue", [30_000, 200_000, None])
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_the_queue_is_measured_by_what_it_holds(queue: int | None, loss: float) -> None:
    asked = LinkParameters(10e6, 0.020, 0.001, loss, queue)
    entry = entry_for(asked, asked, thorough=True)
    measured = entry.measured.queue_bytes
    assert entry.ok and measured and measured.low <= queue_bytes(asked) <= measured.high
    assert measured.value == pytest.approx(queue_bytes(asked), abs=3000 if loss else 1500)
    half = entry_for(msgspec.structs.replace(asked, queue_bytes=queue_bytes(asked) // 2), asked, thorough=True)
    assert not half.ok and "queue" in str(half.reason)


def test_a_lone_packet_over_a_shared_air_is_served_twice() -> None:
    direction = Direction(LinkParameters(1e6, 0.005), Air("ap1", 1, 0.5e6, 2))
    (probing,), _ = plan([direction])
    times = times_over(LinkParameters(0.5e6, 0.005 + LONE_SIZE * 8 / 1e6), probing)
    entry = judge(
        ("dev1", "ap1"), "up", direction, measure(times, probing, direction, Tolerance(), ALPHA), Tolerance(), False
    )
    assert entry.ok and entry.asked.bandwidth_bps == 0.5e6
    assert entry.measured.delay_ms and entry.measured.delay_ms.value == pytest.approx(5, abs=0.01)


def test_the_tolerance_is_the_topologys() -> None:
    slower = LinkParameters(9.5e6, 0.006, 0.001, 0.01)
    assert not entry_for(slower).ok
    assert entry_for(slower, tolerance=Tolerance(bandwidth=0.1, delay_ms=2)).ok
    assert not entry_for(LinkParameters(9.9e6, 0.005, 0, 0.01), tolerance=Tolerance(bandwidth=0.005)).ok


def test_a_cut_link_has_no_measures_but_its_loss() -> None:
    entry = entry_for(LinkParameters(10e6, 0.005, 0, 1.0))
    assert not entry.ok
    assert entry.measured.bandwidth_bps is None and entry.measured.delay_ms is None
    assert entry.measured.loss and entry.measured.loss.value == 1.0
    assert "could not be measured" in str(entry.reason)


def test_a_queue_too_small_for_a_train_leaves_bandwidth_null_with_a_reason() -> None:
    tiny = LinkParameters(10e6, 0.005, queue_bytes=300)
    entry = entry_for(tiny, tiny)
    assert entry.ok and entry.measured.bandwidth_bps is None
    assert "queue is too small" in str(entry.reason)


def test_entries_are_json_as_documented() -> None:
    entry = msgspec.json.decode(msgspec.json.encode(entry_for(ASKED)))
    assert entry["link"] == ["dev1", "ap1"] and entry["direction"] == "up"
    assert set(entry) == {"link", "direction", "asked", "measured", "tolerance", "ok", "reason"}
    quantities = {"bandwidth_bps", "delay_ms", "jitter_ms", "loss", "burst", "queue_bytes"}
    assert set(entry["asked"]) == set(entry["measured"]) == quantities
    assert set(entry["measured"]["loss"]) == {"value", "low", "high"}
