"""Which packets measure a link: trains fill it without overfilling it, bursts overfill it, sharers take turns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.documents.resolved import LinkParameters
from testbed.network.links import Air
from testbed.network.probing import LONE_SIZE, Direction, Probing, plan
from testbed.network.shape import queue_bytes

links = st.builds(
    LinkParameters,
    bandwidth_bps=st.floats(5e4, 1e9),
    delay_s=st.floats(0, 0.5),
    jitter_s=st.floats(0, 0.1),
    loss=st.floats(0, 0.2),
    queue_bytes=st.none() | st.integers(100, 10**6),
)
airs = st.none() | st.builds(Air, st.just("ap1"), st.just(1), st.floats(1e5, 1e9), st.just(6))
DENSE = LinkParameters(2e6, 0.005)


@settings(max_examples=60)
@given(st.lists(st.builds(Direction, links, airs), min_size=1, max_size=6), st.booleans())
def test_no_train_overfills_a_queue_and_each_comes_after_the_last_is_through(
    asked: list[Direction], thorough: bool
) -> None:
    probings, listen_s = plan(asked, thorough=thorough)
    for each, probing in zip(asked, probings, strict=True):
        link, free_s = each.link, probing.lone.start_s + probing.lone.count * probing.lone.gap_s
        assert each.serial_s(LONE_SIZE) < probing.lone.gap_s  # lone packets meet an empty link
        for train in probing.trains:
            assert train.start_s >= free_s
            serial_s = train.size * 8 / each.bandwidth_bps
            assert (train.at_once + train.together) * train.size <= queue_bytes(link)
            last_sent_s = train.start_s + (train.count - train.at_once) * train.gap_s
            free_s = max(last_sent_s, train.start_s + train.count * serial_s)
        if loss := probing.loss:
            assert loss.start_s >= free_s
            assert loss.together * LONE_SIZE <= max(LONE_SIZE, queue_bytes(link) / 2)
            assert LONE_SIZE * 8 / each.bandwidth_bps <= 0.51 * loss.gap_s
            free_s = loss.start_s + loss.count * loss.gap_s
        for burst in probing.bursts:
            assert burst.start_s >= free_s
            assert burst.count * burst.size > 1.4 * queue_bytes(link)
            free_s = burst.start_s + queue_bytes(link) * 8 / each.bandwidth_bps
        assert free_s + link.delay_s + link.jitter_s < listen_s


def test_packet_numbers_are_used_once() -> None:
    (probing,), _ = plan([Direction(LinkParameters(10e6, 0.005))], thorough=True)
    numbers = [n for stream in probing.streams for n in range(stream.first, stream.first + stream.count)]
    assert numbers == list(range(probing.packets))
    assert probing.bursts and probing.within_queue == probing.bursts[0].first


def test_eight_devices_take_a_few_seconds_and_thoroughly_a_few_minutes() -> None:
    star = [Direction(LinkParameters(10e6, 0.005, 0.001, 0.005))] * 16 + [Direction(LinkParameters(100e6, 0.0002))] * 2
    assert plan(star)[1] < 15
    assert 60 < plan(star, thorough=True)[1] < 180


def test_a_loss_of_a_thousandth_is_told_to_half_of_it() -> None:
    star = [Direction(LinkParameters(10e6, 0.005, 0.0, 0.001))] * 18
    for probing in plan(star, thorough=True)[0]:
        assert 4.2 * (0.001 / probing.within_queue) ** 0.5 < 0.00055  # 4.2: the quantile of 18 directions together


def saturated_bps(probings: list[Probing], at_s: float) -> float:
    """What the trains under way at an instant would carry together, at 2 Mbit/s each."""
    trains = [train for probing in probings for train in probing.trains]
    return sum(2e6 for t in trains if t.start_s <= at_s < t.start_s + t.count * t.gap_s)


def test_links_that_share_an_air_do_not_compete_beyond_it() -> None:
    total_bps = 20e6
    sharing = [Direction(DENSE, Air("ap1", 1, total_bps, 64))] * 128
    probings, listen_s = plan(sharing)
    alone, alone_s = plan([Direction(DENSE)] * 128)
    instants = [train.start_s for probing in probings for train in probing.trains]
    assert max(saturated_bps(probings, at_s) for at_s in instants[:200]) <= total_bps
    assert max(saturated_bps(alone, p.trains[0].start_s) for p in alone) > total_bps
    assert alone_s < listen_s < 45


def test_a_link_faster_than_what_it_shares_is_measured_at_that() -> None:
    each = Direction(LinkParameters(100e6), Air("ap1", 1, 10e6, 4))
    assert each.bandwidth_bps == 10e6 and each.share_bps == 10e6 / 8
    assert each.serial_s(1000) == pytest.approx(0.00088)
    (probing,), _ = plan([each], thorough=True)
    assert probing.trains[0].gap_s == probing.trains[0].size * 8 / 10e6
    assert probing.bursts == ()  # its own queue is not the one that fills
