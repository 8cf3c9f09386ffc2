"""A line gives every packet its size over the bandwidth, the delay, and nothing else; it forgets none that it owes."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from testbed.documents.resolved import LinkParameters
from testbed.simulation.air import Air
from testbed.simulation.line import Line, Packet
from testbed.simulation.overheads import LINK_S


class Sink:
    """Keeps what arrives, and when."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self.at_s: list[float] = []
        self.sizes: list[int] = []

    def receive(self, packet: Packet) -> None:
        self.at_s.append(self._env.now)
        self.sizes.append(packet.size)


def after(env: simpy.Environment, at_s: float, do: object, *arguments: object) -> None:
    env.timeout(at_s).callbacks.append(lambda _: do(*arguments))  # type: ignore[operator]


def send_all(env: simpy.Environment, line: Line, sink: Sink, packets: list[tuple[float, int]]) -> None:
    for at_s, size in packets:
        after(env, at_s, Packet(size, (line,), sink).send)


def test_a_lone_packet_takes_its_size_over_the_bandwidth_and_the_delay() -> None:
    env = simpy.Environment()
    sink = Sink(env)
    line = Line(env, LinkParameters(1e6, 0.02), "lone")
    send_all(env, line, sink, [(1.0, 1500), (2.0, 100)])
    env.run()
    assert sink.at_s == pytest.approx([1.0 + 0.012 + 0.02 + LINK_S, 2.0 + 0.0008 + 0.02 + LINK_S])


def test_packets_wait_for_each_other_and_what_overfills_the_queue_is_dropped() -> None:
    env = simpy.Environment()
    sink = Sink(env)
    line = Line(env, LinkParameters(1e6, 0.0, queue_bytes=3000), "queue")
    send_all(env, line, sink, [(0.0, 1000)] * 5 + [(0.009, 1000)])
    env.run()
    assert sink.at_s == pytest.approx([0.008 + LINK_S, 0.016 + LINK_S, 0.024 + LINK_S, 0.032 + LINK_S])
    assert line.dropped == 2


@given(
    rates=st.lists(st.tuples(st.floats(1e5, 1e8), st.floats(0.0, 0.05)), min_size=1, max_size=5),
    sizes=st.lists(st.integers(40, 1500), min_size=1, max_size=12),
)
def test_changes_neither_lose_nor_give_bits(rates: list[tuple[float, float]], sizes: list[int]) -> None:
    env = simpy.Environment()
    sink = Sink(env)
    line = Line(env, LinkParameters(1e6, 0.0, queue_bytes=10**6), "changes")
    send_all(env, line, sink, [(0.0, size) for size in sizes])
    at_s, steps = 0.0, [(0.0, 1e6)]
    for bandwidth_bps, gap_s in rates:
        at_s += gap_s
        steps.append((at_s, bandwidth_bps))
        after(env, at_s, line.change, LinkParameters(bandwidth_bps, 0.0, queue_bytes=10**6))
    env.run()
    assert sink.sizes == sizes
    sent_bits = 0
    for size, arrived_s in zip(sizes, sink.at_s, strict=True):
        sent_bits += 8 * size
        assert _carried_bits(steps, arrived_s - LINK_S) == pytest.approx(sent_bits, rel=1e-6)


def _carried_bits(steps: list[tuple[float, float]], until_s: float) -> float:
    ends = [*(at_s for at_s, _ in steps[1:]), float("inf")]
    return sum(
        max(0.0, min(end_s, until_s) - at_s) * bandwidth_bps
        for (at_s, bandwidth_bps), end_s in zip(steps, ends, strict=True)
    )


def test_jitter_spreads_the_delay_and_reorders_nothing() -> None:
    env = simpy.Environment()
    sink = Sink(env)
    line = Line(env, LinkParameters(1e9, 0.01, jitter_s=0.005), "jitter")
    send_all(env, line, sink, [(0.1 * number, 100 + number) for number in range(400)])
    send_all(env, line, sink, [(100 + 0.0001 * number, 600) for number in range(400)])
    env.run()
    delays_s = [at_s - 0.1 * number for number, at_s in enumerate(sink.at_s[:400])]
    assert min(delays_s) == pytest.approx(0.005, abs=0.001) and max(delays_s) == pytest.approx(0.015, abs=0.001)
    assert sink.sizes[:400] == list(range(100, 500)) and all(a <= b for a, b in pairwise(sink.at_s))


@pytest.mark.parametrize("burst", [None, 5.0])
def test_losses_are_as_many_and_as_long_as_asked_and_the_same_each_time(burst: float | None) -> None:
    def lost() -> list[bool]:
        env = simpy.Environment()
        sink = Sink(env)
        line = Line(env, LinkParameters(1e9, 0.0, loss=0.1, burst=burst), "losses")
        send_all(env, line, sink, [(0.001 * number, 40 + number) for number in range(20_000)])
        env.run()
        came = set(sink.sizes)
        assert line.lost == 20_000 - len(came)
        return [40 + number not in came for number in range(20_000)]

    found = lost()
    assert sum(found) / len(found) == pytest.approx(0.1, abs=0.02)
    bursts = sum(not before and now for before, now in pairwise([False, *found]))
    assert sum(found) / bursts == pytest.approx(burst or 1 / 0.9, rel=0.15)
    assert lost() == found


def test_a_cut_loses_what_departs_during_it_and_nothing_else() -> None:
    env = simpy.Environment()
    sink = Sink(env)
    line = Line(env, LinkParameters(1e6, 0.05), "cut")
    send_all(env, line, sink, [(0.0, 125), (0.1, 126), (0.2, 127)])
    after(env, 0.02, line.change, LinkParameters(1e6, 0.05, loss=1.0))  # the first is in flight
    after(env, 0.15, line.change, LinkParameters(1e6, 0.05))
    env.run()
    assert sink.sizes == [125, 127]


def test_the_air_is_shared_by_bytes_and_leaves_a_lone_line_its_rate() -> None:
    env = simpy.Environment()
    air = Air(env, 2e6)
    sinks = [Sink(env), Sink(env)]
    is_ = LinkParameters(10e6, 0.0, queue_bytes=10**6)
    lines = [Line(env, is_, "air 1", air), Line(env, is_, "air 2", air)]
    draw = random.Random(1)
    for line, sink, most in zip(lines, sinks, (1500, 300), strict=True):
        send_all(env, line, sink, [(0.0, draw.randint(most // 2, most)) for _ in range(300_000 // most)])
    after(env, 10.0, Packet(1000, (lines[0],), sinks[0]).send)
    env.run(until=0.5)
    shares = [sum(sink.sizes) for sink in sinks]
    assert sum(shares) == pytest.approx(125_000, rel=0.03) and shares[0] == pytest.approx(shares[1], rel=0.05)
    env.run()
    assert sinks[0].at_s[-1] == pytest.approx(10.0 + 0.0008 + 0.004 + LINK_S)
