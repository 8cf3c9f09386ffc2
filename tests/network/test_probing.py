"""Which packets measure a link: trains fill it without overfilling it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.documents.resolved import LinkParameters
from testbed.network.probing import LONE_SIZE, plan
from testbed.network.shape import queue_bytes

links = st.builds(
    LinkParameters,
    bandwidth_bps=st.floats(5e4, 1e9),
    delay_s=st.floats(0, 0.5),
    jitter_s=st.floats(0, 0.1),
    loss=st.floats(0, 0.2),
    queue_bytes=st.none() | st.integers(100, 10**6),
)


@settings(max_examples=60)
@given(st.lists(links, min_size=1, max_size=6))
def test_no_train_overfills_a_queue_and_each_comes_after_the_last_is_through(asked: list[LinkParameters]) -> None:
    probings, listen_s = plan(asked)
    for link, probing in zip(asked, probings, strict=True):
        free_s = probing.lone.start_s + probing.lone.count * probing.lone.gap_s
        assert LONE_SIZE * 8 / link.bandwidth_bps < probing.lone.gap_s  # lone packets meet an empty link
        for train in probing.trains:
            assert train.start_s >= free_s
            serial_s = train.size * 8 / link.bandwidth_bps
            assert (train.at_once + train.together) * train.size <= queue_bytes(link)
            last_sent_s = train.start_s + (train.count - train.at_once) * train.gap_s
            free_s = max(last_sent_s, train.start_s + train.count * serial_s)
        assert free_s + link.delay_s + link.jitter_s < listen_s


def test_packet_numbers_are_used_once() -> None:
    (probing,), _ = plan([LinkParameters(10e6, 0.005)])
    numbers = [
        n for stream in (probing.lone, *probing.trains) for n in range(stream.first, stream.first + stream.count)
    ]
    assert numbers == list(range(probing.packets))


def test_eight_devices_take_a_few_seconds() -> None:
    star = [LinkParameters(10e6, 0.005, 0.001, 0.005)] * 16 + [LinkParameters(100e6, 0.0002)] * 2
    assert plan(star)[1] < 15
