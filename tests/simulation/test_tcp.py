"""Messages over simulated TCP: all of them, once and in order; and what a loss costs."""

from __future__ import annotations

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.documents.resolved import LinkParameters
from testbed.offloading.prediction import HEADER_BYTES, SEGMENT_BYTES
from testbed.simulation.line import Line, Packet
from testbed.simulation.round_trip import LEAST_TIMEOUT_S
from testbed.simulation.tcp import Endpoint
from testbed.simulation.warm_up import opened_window

ROUND_TRIP_S = 0.021


class Dropping(Line):
    """Loses the packets whose places it is given, and counts them."""

    def __init__(self, env: simpy.Environment, is_: LinkParameters, name: str, drops: set[int]) -> None:
        super().__init__(env, is_, name)
        self.drops, self.sent = drops, 0

    def send(self, packet: Packet) -> None:
        self.sent += 1
        if self.sent - 1 not in self.drops:
            super().send(packet)


class Pair:
    """A connection over one line each way."""

    def __init__(
        self, up: LinkParameters, drops: tuple[int, ...] = (), window: float = 60.0, down_loss: float = 0.0
    ) -> None:
        env = self.env = simpy.Environment()
        self.up = Dropping(env, up, "up", set(drops))
        self.down = Line(env, LinkParameters(10e6, 0.01, loss=down_loss), "down")
        self.received: list[tuple[object, float]] = []
        self.ended: list[str] = []
        self.near = Endpoint(env, (self.up,), lambda message: None, self.ended.append, window, ROUND_TRIP_S)
        self.far = Endpoint(
            env, (self.down,), lambda message: self.received.append((message, env.now)), self.ended.append, window, 0.02
        )
        self.near.peer, self.far.peer = self.far, self.near

    def send_at(self, at_s: float, message: object, size: int) -> None:
        self.env.timeout(at_s).callbacks.append(lambda _: self.near.send(message, size))


CLEAN = LinkParameters(10e6, 0.01)


def test_a_message_takes_its_packets_over_the_rate_and_the_delay() -> None:
    pair = Pair(CLEAN)
    pair.send_at(0.0, "one", 5000)
    pair.env.run(until=1.0)
    ((message, at_s),) = pair.received
    assert message == "one" and at_s == pytest.approx(8 * (5000 + 4 * HEADER_BYTES) / 10e6 + 0.01, abs=2e-4)
    assert pair.near.unsent_bytes == 0 and pair.up.sent == 4


def test_a_lone_packet_that_is_lost_costs_a_timeout() -> None:
    pair = Pair(CLEAN, drops=(0,))
    pair.send_at(0.0, "one", 500)
    pair.env.run(until=2.0)
    ((_, at_s),) = pair.received
    assert LEAST_TIMEOUT_S < at_s < LEAST_TIMEOUT_S + 3 * ROUND_TRIP_S


@pytest.mark.parametrize(
    ("lost", "round_trips"),
    [
        pytest.param((0,), (0.7, 2), id="more behind it: a round trip"),
        pytest.param((2, 3), (3, 6), id="the last two: a probe, then what the probe shows"),
        pytest.param((3,), (9, 15), id="the last alone: a timeout, after its neighbour's delayed acknowledgement"),
    ],
)
def test_what_a_loss_costs_depends_on_what_comes_behind_it(
    lost: tuple[int, ...], round_trips: tuple[float, float]
) -> None:
    pair = Pair(CLEAN, drops=lost)
    pair.send_at(0.0, "one", 4 * SEGMENT_BYTES)
    pair.env.run(until=2.0)
    ((_, at_s),) = pair.received
    clean_s = 4 * 8 * (SEGMENT_BYTES + HEADER_BYTES) / 10e6 + 0.01
    least, most = round_trips
    assert least * ROUND_TRIP_S < at_s - clean_s < most * ROUND_TRIP_S


def test_nothing_passes_and_the_connection_is_given_up() -> None:
    pair = Pair(CLEAN)
    pair.send_at(0.0, "one", 500)
    pair.env.run(until=1.0)
    pair.up.change(LinkParameters(10e6, 0.01, loss=1.0))
    pair.send_at(0.0, "two", 500)
    pair.env.run(until=40.0)
    assert pair.ended == ["Connection timed out"] and len(pair.received) == 1
    assert pair.near.closed and not pair.far.closed


def test_an_end_that_was_closed_resets_the_other_when_it_hears_of_it() -> None:
    pair = Pair(CLEAN)
    pair.far.close()
    pair.send_at(0.5, "one", 500)
    pair.env.run(until=2.0)
    assert pair.ended == ["Connection reset by peer"] and not pair.received


def test_a_window_that_is_small_makes_a_long_message_wait_for_round_trips() -> None:
    took = {}
    for window in (10.0, 60.0):
        pair = Pair(LinkParameters(100e6, 0.01), window=window)
        pair.send_at(0.0, "one", 40 * SEGMENT_BYTES)
        pair.env.run(until=2.0)
        ((_, took[window]),) = pair.received
    assert took[60.0] < 0.02 < 0.03 < took[10.0]


def test_the_window_that_a_warm_up_opens() -> None:
    assert opened_window(96 * 1024, 1e9, 0.02) == pytest.approx(10 + 96 * 1024 / SEGMENT_BYTES)
    assert 16 < opened_window(96 * 1024, 10e6, 0.0117) < 40  # ends where the queue begins to grow
    assert opened_window(5000, 40e3, 0.3) < 14


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 20_000)), min_size=1, max_size=8),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    burst=st.sampled_from([None, 3.0]),
    bandwidth_bps=st.sampled_from([2e5, 2e6, 2e7]),
    jitter_s=st.sampled_from([0.0, 0.004]),
)
def test_all_messages_arrive_once_and_in_order_whatever_is_lost(
    messages: list[tuple[float, int]], loss: float, burst: float | None, bandwidth_bps: float, jitter_s: float
) -> None:
    pair = Pair(LinkParameters(bandwidth_bps, 0.01, jitter_s, loss, burst=burst), down_loss=loss / 3)
    for number, (at_s, size) in enumerate(sorted(messages)):
        pair.send_at(at_s, number, size)
    pair.env.run(until=200.0)
    if not pair.ended:  # a timeout of 10 s is possible at 30 %
        assert [message for message, _ in pair.received] == list(range(len(messages)))
        assert pair.near.unsent_bytes == 0
        least_s = [at_s + 8 * size / bandwidth_bps for at_s, size in sorted(messages)]
        assert all(at_s > least for (_, at_s), least in zip(pair.received, least_s, strict=True))
    else:
        assert loss > 0.2
